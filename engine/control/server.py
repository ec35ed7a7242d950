"""The engine's half of the control socket: it listens, checks what comes, and has the session answer.

A request may say until when its sender waits. One that comes later is not begun; one that is begun and cannot be done
until then, since the record cannot be written, is answered with just that, and done as soon as it can be.
"""

import asyncio
import contextlib
import json
import logging
import socket
import stat
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from engine.control.directives import DIRECTIVES, LONGEST_LINE, Answer, Argument, Command, check, check_argument
from engine.errors import BilevelError

log = logging.getLogger(__name__)
MOST_CLIENTS = 32
IDLE_SECONDS = 60.0
"""A client that sends nothing for this long is let go."""
ANSWER_SECONDS = 10.0
"""A client that does not take its answer within this time is let go."""


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    id: int | str
    command: str
    args: dict[str, bool | int | float | str | None] = {}
    by: str = "person"
    dry_run: bool = False
    until: float | None = None
    """Seconds of the machine's CLOCK_BOOTTIME; None waits for as long as it takes."""


class ControlServer:
    """Listens on `path` from `start` to `close`, and hands each checked command to `handle`, one at a time a client."""

    def __init__(self, path: str | Path, handle: Callable[[Command], Awaitable[Answer]]) -> None:
        self.path = Path(path)
        self._handle = handle
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._late: set[asyncio.Task[Answer]] = set()
        """Commands that were begun, and that nobody waits for any more."""

    async def start(self) -> None:
        """Begin to listen. A socket that nobody listens on is replaced.

        Raises BilevelError when another engine listens there, or the socket cannot be made.
        """
        _remove_stale(self.path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self.path))
            self.path.chmod(0o600)  # before it listens, so that nobody else could connect meanwhile
            self._server = await asyncio.start_unix_server(self._serve, sock=listener, limit=LONGEST_LINE)
        except OSError as error:
            listener.close()
            raise BilevelError(f"the control socket {self.path} cannot be opened: {error.strerror}") from error

    async def close(self) -> None:
        """Stop listening, let every client go, remove the socket. May be called twice."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        tasks = [*self._clients, *self._late]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(OSError):
            self.path.unlink()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        try:
            if len(self._clients) > MOST_CLIENTS:
                await _reply(writer, None, Answer(False, f"{MOST_CLIENTS} clients are connected: try again"))
                return
            await self._converse(reader, writer)
        except (ConnectionError, TimeoutError):
            log.debug("a client of the control socket went away")
        except asyncio.CancelledError:
            if self._server is not None:  # not our own close
                raise
        finally:
            self._clients.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            try:
                async with asyncio.timeout(IDLE_SECONDS):
                    line = await reader.readuntil(b"\n")
            except asyncio.IncompleteReadError:
                return
            except asyncio.LimitOverrunError:
                await _reply(writer, None, Answer(False, f"a command is a line of at most {LONGEST_LINE} bytes"))
                return
            number, answer = await self._answer(line)
            await _reply(writer, number, answer)

    async def _answer(self, line: bytes) -> tuple[int | str | None, Answer]:
        """The answer to a line, with the id that it belongs to (None where there was none to read)."""
        try:
            request = msgspec.json.decode(line, type=_Request)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            return None, Answer(False, f"this is no command: {error}")
        try:
            args = check(request.command, request.args)
            by = str(check_argument("a command", Argument("by", "text", "who sends it", required=True), request.by))
            if request.dry_run:
                return request.id, Answer(True, f"{request.command} can be sent: {DIRECTIVES[request.command].help}")
            return request.id, await self._in_time(Command(request.command, args, by), request.until)
        except BilevelError as error:
            return request.id, Answer(False, str(error))
        except Exception:
            # A defect in one command must not take the control of the session from its person.
            log.exception("the command %s failed", request.command)
            return request.id, Answer(False, f"the engine failed on {request.command}: its log says how")

    async def _in_time(self, command: Command, until: float | None) -> Answer:
        """The session's answer to a command whose sender waits until that time."""
        left = None if until is None else until - time.clock_gettime(time.CLOCK_BOOTTIME)
        if left is not None and left <= 0:
            log.warning("%s came too late: whoever sent it had given up, so it does nothing", command.command)
            return Answer(False, f"{command.command} came too late, and nothing was done")
        task = asyncio.ensure_future(self._handle(command))
        try:
            await asyncio.wait([task], timeout=left)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.done():
            return task.result()
        self._late.add(task)
        task.add_done_callback(self._settle)
        return Answer(True, f"{command.command} is begun, and done as soon as the engine can write its record")

    def _settle(self, task: "asyncio.Task[Answer]") -> None:
        self._late.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a command failed after its sender had left", exc_info=task.exception())


async def _reply(writer: asyncio.StreamWriter, number: int | str | None, answer: Answer) -> None:
    reply: dict[str, Any] = {"id": number, "applied": answer.applied, "detail": answer.detail}
    writer.write(json.dumps(reply).encode() + b"\n")
    async with asyncio.timeout(ANSWER_SECONDS):
        await writer.drain()


def _remove_stale(path: Path) -> None:
    """Remove a socket that no process listens on. Raises BilevelError for one that lives, and for anything else."""
    try:
        is_socket = stat.S_ISSOCK(path.lstat().st_mode)
    except FileNotFoundError:
        return
    if not is_socket:
        raise BilevelError(f"{path} is in the way of the control socket, and is none: remove it")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise BilevelError(f"the control socket {path} cannot be replaced: {error.strerror or error}") from None
        else:
            raise BilevelError(f"another engine listens on {path}")
