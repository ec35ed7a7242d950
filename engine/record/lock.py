"""Which engine runs on a database: a lock of the operating system on two files of its name, beside it and in .bilevel.

The lock ends with the process that holds it, however that ends; the files stay, and their presence says nothing. They
are two, so that whoever removes one while an engine runs neither lets a second one start nor hides the first. A link to
a database has the locks of the database. It holds for processes of one machine; what two engines do that meet in one
file all the same, hold.py prevents. Viewers take no lock; they ask `holder`.
"""

import contextlib
import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from engine.errors import BilevelError, InputError
from engine.record.head import located, run_directory

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
    """The file beside the database at `db_path` that is locked for it."""
    path = located(db_path)
    return path.with_name(path.name + ".lock")


def lock_paths(db_path: Path) -> tuple[Path, Path]:
    """Both files that are locked for the database."""
    path = lock_path(db_path)
    return path, run_directory(db_path) / path.name


class EngineLock:
    """The right to write a database. Descriptors are not inherited by programs that the engine starts."""

    def __init__(self, db_path: Path) -> None:
        self.db_path = located(db_path)
        self._descriptors: list[int] = []

    def acquire(self, session: str, socket: str | Path) -> None:
        """Take the lock and write down who holds it. Taken already by this object, only the writing is renewed.

        Raises InputError naming the session that runs there, BilevelError if a file cannot be opened.
        """
        if not self._descriptors:
            self._take()
        text = json.dumps(asdict(Holder(os.getpid(), session, str(socket), time.time()))).encode()
        for descriptor in self._descriptors:
            os.pwrite(descriptor, text, 0)
            os.ftruncate(descriptor, len(text))

    def release(self) -> None:
        """Give the lock back. May be called twice."""
        while self._descriptors:
            descriptor = self._descriptors.pop()
            # The file stays: removing it would let two engines lock two files of one name.
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)
            # Said to the system, since a program that is just being started may have a copy of the descriptor still.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)

    def _take(self) -> None:
        deadline = time.monotonic() + PROBE_SECONDS
        try:
            for path in lock_paths(self.db_path):
                while (descriptor := _locked(path)) is None:
                    if time.monotonic() >= deadline:
                        self.release()  # of the two, the one that was free would answer for this process
                        raise InputError(_refusal(holder(self.db_path)))
                    time.sleep(0.01)
                self._descriptors.append(descriptor)
        except BilevelError:
            self.release()
            raise

    def __enter__(self) -> "EngineLock":
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release()


def holder(db_path: Path) -> Holder | None:
    """The engine that runs on the database, found by trying its lock; None if there is none."""
    nameless = None
    for path in lock_paths(db_path):
        if (found := _holder(path)) and found.pid:
            return found
        nameless = nameless or found
    return nameless


def _holder(path: Path) -> Holder | None:
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


def _locked(path: Path) -> int | None:
    """A descriptor that holds the lock on the file that has this name now; None while somebody else holds it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise BilevelError(f"the lock {path} cannot be opened: {error.strerror}") from error
    # A file that was removed between these two steps keeps nobody else away.
    with contextlib.suppress(OSError):
        if _try(descriptor, fcntl.LOCK_EX) and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    os.close(descriptor)
    return None


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
