"""One host process: spawned with nothing but a socket, drained of what it prints, killed with its group.

It is given an environment of three variables, a private folder, /dev/null to read and a pipe for what it prints, of
which the last 64 KB are kept. A host that prints more than 8 MB between two answers is broken off. Where bubblewrap
works, the process is bubblewrap's, with the host within, and they end together.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

from engine.mechanism.bubblewrap import PYTHON, Bubblewrap
from engine.mechanism.cage import BAIT
from engine.mechanism.wire import Wire

HOST = Path(__file__).with_name("host.py")
SOURCES = Path(__file__).resolve().parents[1]
KEPT_OUTPUT = 2**16
FLOOD = 8 * 2**20
# -s -P -S with an environment of our own shuts out what -I -S does, but -I would also ignore PYTHONHASHSEED: without it
# the order of sets changes from process to process, and with it a mechanism's decisions.
COMMAND = (PYTHON, "-s", "-P", "-S")
ENVIRONMENT = {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C.UTF-8"}


class HostProcess:
    """A process that runs host.py. Made by `spawn`, ended by `bury`."""

    def __init__(self, process: asyncio.subprocess.Process, wire: Wire, folder: Path) -> None:
        self.wire = wire
        self._process = process
        self._folder = folder
        self._output = bytearray()
        self._unanswered = 0
        self._drain = asyncio.create_task(self._read_output())

    @classmethod
    async def spawn(cls, folder: Path, outside: Bubblewrap, libraries: Sequence[str]) -> "HostProcess":
        """Start a host in a fresh folder below `folder`. Raises OSError when it cannot be started.

        Within `outside`, where that works, it can read `libraries` and its own source beside what Python needs.
        """
        home = _fresh_folder(folder)
        room = home / "room"
        ours, theirs = socket.socketpair()
        process = None
        try:
            with theirs:
                command = [*COMMAND, str(HOST), str(theirs.fileno())]
                if outside.program is not None:
                    command = outside.around(command, room, ENVIRONMENT, [*libraries, str(SOURCES), str(HOST)])
                process = await asyncio.create_subprocess_exec(
                    *command,
                    cwd=room,
                    env=ENVIRONMENT,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.STDOUT,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            group = process.pid
            wire = Wire(on_fault=lambda: _kill_group(group) if process.returncode is None else None)
            await asyncio.get_running_loop().create_connection(lambda: wire, sock=ours)
        except BaseException:
            ours.close()
            if process is not None:
                _kill_group(process.pid)
                await process.wait()
            shutil.rmtree(home, ignore_errors=True)
            raise
        return cls(process, wire, home)

    @property
    def pid(self) -> int:
        """The process id, which is its group's and its session's too."""
        return self._process.pid

    @property
    def output(self) -> str:
        """The last of what it printed."""
        return self._output.decode(errors="replace")

    def answered(self) -> None:
        """Count what it prints from here anew."""
        self._unanswered = 0

    def kill(self) -> None:
        """Kill the process and its group at once; `bury` cleans up."""
        if self._process.returncode is None:
            _kill_group(self._process.pid)

    async def bury(self, grace: float = 0.0) -> str:
        """End the process (after `grace` seconds for it to end by itself), clean up, and say how it ended."""
        try:
            async with asyncio.timeout(grace):
                await self._process.wait()
        except TimeoutError:
            self.kill()
        self.wire.close()
        code = await self._process.wait()
        # A group's number is not given away while anything lives in it: this reaches what the host left, or nobody.
        _kill_group(self._process.pid)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.shield(self._drain)
        self._drain.cancel()
        await asyncio.gather(self._drain, return_exceptions=True)
        shutil.rmtree(self._folder, ignore_errors=True)
        return _ending(code)

    async def _read_output(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None
        while chunk := await stdout.read(2**16):
            self._output += chunk
            del self._output[:-KEPT_OUTPUT]
            self._unanswered += len(chunk)
            if self._unanswered > FLOOD:
                self.wire.break_off(f"it printed more than {FLOOD // 2**20} MB in one call")


def _fresh_folder(parent: Path) -> Path:
    """A folder with a room in it, where the host will be, and in each a file for the host to try its cage on."""
    parent.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="host-", dir=parent.resolve()))
    (home / "room").mkdir()
    for folder in (home, home / "room"):
        (folder / BAIT).write_text("a file for the host to try its cage on\n")
    return home


def _kill_group(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _ending(code: int) -> str:
    if code > 128:  # how bubblewrap passes on a signal
        code = 128 - code
    if code >= 0 or -code not in set(signal.Signals):
        return f"it exited with code {abs(code)}"
    if -code == signal.SIGXCPU:
        return "it used up its processor time"
    return f"it was ended by {signal.Signals(-code).name}"
