"""The writer's hold on the file of the database: no second writer, no lost log, and word when the file is gone.

An operating system's ordinary (POSIX) locks, which SQLite uses, end as soon as their process closes any descriptor of
the file: somebody who merely reads the file within the engine would take the engine's locks away. The next program that
opens the record and closes it would then believe itself the last one and delete the WAL, in which the newest events
lie. The locks here belong to an open file description (OFD) and end with it alone. They are two, both among the
addresses that SQLite keeps free of data:

    the claim      one byte, exclusive: one writer for one file, whatever name or link it was opened by
    SQLite's own   the bytes that a program must lock exclusively before it may delete the WAL, shared

Who starts an engine is asked of lock.py; this is what holds where its files were removed or do not meet.
"""

import errno
import fcntl
import os
import struct
from pathlib import Path

from engine.record.schema import RecordError, RecordInUse, RecordMissing, beside

CLAIM = (0x40000000 + 1024, 1)
"""Start and length of the claim: in SQLite's page for locks, behind the 512 bytes that it uses of it."""
SHARED = (0x40000002, 510)
"""SQLite's SHARED_FIRST and SHARED_SIZE: an open WAL database is locked here by every connection to it."""


class Hold:
    """A hold on an existing file, until `close`. It changes nothing in the file."""

    def __init__(self, path: Path) -> None:
        """Claim the file. Raises RecordInUse if another writer has it, RecordError if it cannot be opened for writing.

        `path` has no links in it.
        """
        self.path = path
        self._log_path = beside(path, "-wal")
        self._log: tuple[int, int] | None = None
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise RecordError(f"the record {path} cannot be opened for writing: {error.strerror}") from error
        try:
            if not self._lock(fcntl.F_WRLCK, CLAIM):
                raise RecordInUse(
                    f"another engine writes the record {path} already, perhaps under another name: "
                    "let it end, or use another file with --db"
                )
        except RecordError:
            os.close(self._descriptor)
            raise

    def keep_log(self) -> None:
        """From now on nobody deletes the WAL by closing the record. Call it when SQLite has opened the WAL."""
        self._lock(fcntl.F_RDLCK, SHARED)
        self._log = _identity(self._log_path)

    def free_log(self) -> None:
        """Let SQLite delete the WAL again, as it does when the last connection is closed."""
        self._lock(fcntl.F_UNLCK, SHARED)

    def check(self) -> None:
        """Raise RecordMissing unless the file is still there under its name. Costs a few microseconds."""
        ours = os.fstat(self._descriptor)
        found = _identity(self.path)
        if found == (ours.st_dev, ours.st_ino):
            return
        deleted = ours.st_nlink == 0
        if deleted:
            sentence = f"the record {self.path} was deleted while its session runs"
        elif found is None:
            sentence = f"the record is no longer at {self.path}: put it back there, and the session goes on"
        else:
            sentence = (
                f"another file lies at {self.path} in the place of this session's record: "
                "move it away and put the record back, and the session goes on"
            )
        raise RecordMissing(sentence, deleted=deleted)

    def log_is_lost(self) -> bool:
        """Whether the WAL that is written to can no longer be found by its name, so that it ends with this process."""
        return self._log is not None and _identity(self._log_path) != self._log

    def close(self) -> None:
        """Let go. Call it after SQLite's connections of this process were closed, since it ends their locks."""
        os.close(self._descriptor)

    def _lock(self, kind: int, place: tuple[int, int]) -> bool:
        start, length = place
        try:
            fcntl.fcntl(
                self._descriptor, fcntl.F_OFD_SETLK, struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
            )
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                return False
            if error.errno == errno.EINVAL:
                return True  # A system without such locks: what lock.py holds has to do.
            raise RecordError(f"the record {self.path} cannot be locked: {error.strerror}") from error
        return True


def _identity(path: Path) -> tuple[int, int] | None:
    """The device and inode of the file of this name; None if there is none to be found."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
