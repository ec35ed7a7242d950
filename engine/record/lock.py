"""Which engine runs on a database: a lock of the operating system on a file beside it.

The lock ends with the process that holds it, however that ends; the file stays, and its presence says nothing. It holds
for processes of one machine. Viewers take no lock; they ask `holder`.
"""

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.errors import BilevelError, InputError

PROBE_SECONDS = 0.5
"""A probe by `holder` holds the lock for a moment; an engine that starts just then tries again for this long."""


@dataclass(frozen=True)
class Holder:
    """The engine that runs on a database: its process, session, control socket, and start (Unix seconds).

    One that does not write itself down is known by pid 0 alone.
    """

    pid: int
    session: str
    socket: str
    started: float


UNNAMED = Holder(0, "", "", 0.0)


def lock_path(db_path: Path) -> Path:
    """The file that is locked for the database at `db_path`."""
    path = Path(db_path).absolute()
    return path.with_name(path.name + ".lock")


class EngineLock:
    """The right to write a database. Descriptors are not inherited by programs that the engine starts."""

    def __init__(self, db_path: Path) -> None:
        self.db_path = Path(db_path).absolute()
        self._descriptor: int | None = None

    def acquire(self, session: str, socket: str | Path) -> None:
        """Take the lock and write down who holds it. Taken already by this object, only the writing is renewed.

        Raises InputError naming the session that runs there, BilevelError if the file cannot be opened.
        """
        if self._descriptor is None:
            self._descriptor = self._take()
        text = json.dumps(asdict(Holder(os.getpid(), session, str(socket), time.time()))).encode()
        os.pwrite(self._descriptor, text, 0)
        os.ftruncate(self._descriptor, len(text))

    def release(self) -> None:
        """Give the lock back. May be called twice."""
        if self._descriptor is not None:
            # The file stays: removing it would let two engines lock two files of one name.
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, 0)
            # Said to the system, since a program that is just being started may have a copy of the descriptor still.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None

    def _take(self) -> int:
        path = lock_path(self.db_path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise BilevelError(f"the lock {path} cannot be opened: {error.strerror}") from error
        deadline = time.monotonic() + PROBE_SECONDS
        while not _try(descriptor, fcntl.LOCK_EX):
            if time.monotonic() >= deadline:
                os.close(descriptor)
                raise InputError(_refusal(holder(self.db_path)))
            time.sleep(0.01)
        return descriptor

    def __enter__(self) -> "EngineLock":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def holder(db_path: Path) -> Holder | None:
    """The engine that runs on the database, found by trying its lock; None if there is none."""
    path = lock_path(db_path)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BilevelError(f"the lock {path} cannot be opened: {error.strerror}") from error
    deadline = time.monotonic() + PROBE_SECONDS
    try:
        # Shared, so that viewers who ask at the same time do not take each other for the engine.
        while not _try(descriptor, fcntl.LOCK_SH):
            if found := _read(path):
                return found
            if time.monotonic() >= deadline:
                return UNNAMED
            time.sleep(0.01)
        return None
    finally:
        os.close(descriptor)


def _refusal(found: Holder | None) -> str:
    if not found or not found.pid:
        return "another engine is running on this database: use another with --db"
    return (
        f"session {found.session} is running on this database (process {found.pid}): "
        f"use another with --db, or `bilevel stop {found.session}`"
    )


def _try(descriptor: int, operation: int) -> bool:
    try:
        fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(path: Path) -> Holder | None:
    """What the holder wrote down; None in the instant before it has."""
    try:
        return Holder(**json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None
