"""A stand-in engine under attack: it holds a secret, guards files and listens, and sees what hostile mechanisms do.

Run as a program, by the current user or another: `python cage_victim.py LEVEL ROOT`, LEVEL being the sandbox level to
come to at most (A+, A or B). It prints JSON: the level reached with its findings, and for each attack of cage_attacks
what came of every attempt, and the harm that the victim itself saw; then how each misbehaving mechanism ended.
"""

import asyncio
import contextlib
import ctypes
import hashlib
import json
import os
import signal
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy

from engine.mechanism import bubblewrap, process
from engine.mechanism.client import MechanismHost
from engine.mechanism.failures import MechanismError

HERE = Path(__file__).resolve().parent
SECRET = "sk-" + "victim" * 3
SPACE = {"parameters": {}, "constraints": [], "constants": {}}
UNHEARD = {signal.SIGCHLD, signal.SIGKILL, signal.SIGSTOP, signal.SIGPIPE}
"""Its own children's ends, broken pipes of its own, and what no process can hear."""


class Victim:
    """What is attacked, and what it notices."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.signals: list[int] = []
        self._secret = ctypes.create_string_buffer(SECRET.encode())
        ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # not dumpable, as the engine is
        for number in set(signal.valid_signals()) - UNHEARD:
            signal.signal(number, lambda got, frame: self.signals.append(got))
        self._lay_files()
        self._listen()
        self._before = self._look()

    def _lay_files(self) -> None:
        self.key = self._file(".ssh/id_rsa", "PRIVATE KEY")
        self.data = self._file("data/validation.bin", "held out")
        self.protected = [self._file(name, f"# {name}\n") for name in ("run/train.py", "run/prepare.py", "sessions.db")]

    def _file(self, name: str, text: str) -> str:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return str(path)

    def _listen(self) -> None:
        self.path, self.abstract = str(self.folder / "s"), f"victim-{os.getpid()}"
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", 0))
        self.unix, self.named = (socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2))
        self.unix.bind(self.path)
        self.named.bind("\0" + self.abstract)
        for server in (self.unix, self.named):
            server.listen()
        for server in (self.tcp, self.udp, self.unix, self.named):
            server.setblocking(False)

    def facts(self) -> str:
        """What an attacker may know."""
        return json.dumps(
            {
                "pid": os.getpid(),
                "group": os.getpgrp(),
                "address": ctypes.addressof(self._secret),
                "key": self.key,
                "data": self.data,
                "home": str(self.folder),
                "package": other_package(),
                "protected": self.protected,
                "tcp": self.tcp.getsockname()[1],
                "udp": self.udp.getsockname()[1],
                "path": self.path,
                "abstract": self.abstract,
                "backwards": SECRET[:8][::-1],
            }
        )

    def _look(self) -> dict[str, Any]:
        """All that an attack could change."""
        files = sorted(path for path in self.folder.rglob("*") if "hosts" not in path.parts and not path.is_socket())
        marks = [(str(path), path.lstat().st_mode, path.lstat().st_mtime_ns) for path in files]
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
        return {
            "files": marks,
            "contents": [hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()],
            "priority": os.getpriority(os.PRIO_PROCESS, 0),
            "affinity": sorted(os.sched_getaffinity(0)),
            "limits": Path("/proc/self/limits").read_text(),
            "children": len(children.read_text().split()) if children.exists() else None,
            "shared memory": sorted(str(path) for path in Path("/dev/shm").glob("[xdf]*")),
        }

    def started(self) -> None:
        """Take what is there now as what should be."""
        self._before = self._look()

    def harm(self) -> list[str]:
        """What has changed since, and who called; listeners and signals count anew."""
        now = self._look()
        seen = [f"{what}: {self._before[what]} -> {now[what]}"[:500] for what in now if now[what] != self._before[what]]
        for name, server in {"TCP": self.tcp, "path": self.unix, "abstract": self.named}.items():
            try:
                server.accept()
                seen.append(f"a connection by {name}")
            except BlockingIOError:
                continue
        with contextlib.suppress(BlockingIOError):
            seen.append(f"a packet {self.udp.recv(100)!r}")
        seen += [f"signal {number}" for number in self.signals]
        self.signals.clear()
        self._before = now
        return seen


def other_package() -> str:
    """A file of a package that lies beside numpy."""
    beside = Path(numpy.__file__).parents[1]
    return str(next(path for path in sorted(beside.glob("*/__init__.py")) if path.parent.name != "numpy"))


def weaken(level: str, root: str) -> None:
    """See to it that hosts come to this level at most, on a machine that has every layer."""
    if level == "A":
        bubblewrap._found = bubblewrap.Bubblewrap(None, "left out for this test", "")
    if level == "B":
        process.HOST = HERE / "weak_host.py"
        process.ENVIRONMENT = {**process.ENVIRONMENT, "WEAK": "no Landlock", "WEAK_ROOT": root}


async def attack(victim: Victim, source: str, attacks: list[str]) -> dict[str, Any]:
    """Have one hostile mechanism make every attack; what each led to."""
    host = host_of(source, victim.folder)
    hello = await host.start()
    victim.started()
    told: dict[str, Any] = {"level": hello.level, "findings": hello.findings, "attacks": {}}
    for name in attacks:
        try:
            outcomes = json.loads(await host.call("advise", state(name, victim.facts()), {}, trial=1))
        except MechanismError as error:
            outcomes = {"the call": f"{type(error).__name__}: {error}"}
        told["attacks"][name] = {"outcomes": outcomes, "harm": victim.harm()}
    await host.close()
    return told


async def misbehave(victim: Victim, sources: dict[str, str]) -> dict[str, list[str]]:
    """What a call came to in which each of these mechanisms misbehaves, and what two calls after it did."""
    ended = {}
    for name, source in sources.items():
        host = host_of(source, victim.folder, time_limit=0.5)
        await host.start()
        said = []
        for guidance in ("bad", "good", "good"):
            try:
                said.append(await host.call("advise", state(guidance), {}, trial=1))
            except MechanismError as error:
                said.append(f"{type(error).__name__}: {error}")
        await host.close()
        ended[name] = said
    return ended


def host_of(source: str, folder: Path, time_limit: float = 60.0) -> MechanismHost:
    return MechanismHost(
        source, session="s", space=SPACE, direction="minimize", folder=folder / "hosts", time_limit=time_limit
    )


def state(guidance: str, strategy: str = "") -> Any:
    texts = {"guidance": guidance, "strategy": strategy}
    return {"incumbent": None, "frozen": {}, "noise": None, "trials_left": 1, "refused": [], "others": [], **texts}


async def main(level: str, root: str) -> dict[str, Any]:
    os.environ["OPENAI_API_KEY"] = SECRET
    weaken(level, root)
    request = json.loads(sys.stdin.read())
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HOME"] = folder
        victim = Victim(Path(folder))
        told = await attack(victim, request["source"], request["attacks"])
        victim.started()
        told["ended"] = await misbehave(victim, request["misbehaviours"])
        told["harm"] = victim.harm()
    return told


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2]))))
