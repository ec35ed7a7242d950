"""Landlock: from here on this process reads the files that it is let read, and no other; it writes none.

The rules hold for the calling thread and what it starts, which is why a process must put them on while it has one
thread. Where the kernel offers more, connections over TCP, and signals and abstract sockets to processes outside, are
refused too. What Landlock does not stop, looking at files (`stat`), UDP, chmod, sockets with a path, io_uring, is the
system call filter's part. Standard library alone.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Sequence

from engine.mechanism.syscalls import call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every processor
_ASK_VERSION, _PATH_BENEATH = 1, 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_HANDLED_FILES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16, 6: 16}
"""By version, how many kinds of access to files there are; all are handled, so all but reading is refused."""
_NETWORK_SINCE, _SCOPES_SINCE = 4, 6
_TCP, _SCOPES = 0b11, 0b11  # bind and connect; abstract sockets and signals


def version() -> int:
    """The kernel's Landlock version, at least 1. Raises OSError where there is none."""
    return call(_CREATE_RULESET, None, 0, _ASK_VERSION)


def allow_reading(paths: Sequence[str]) -> int:
    """Restrict this process to reading these files, and what lies in these folders; the version used.

    Paths that do not exist are left out. Raises OSError, and then nothing is restricted.
    """
    used, ruleset = _create(min(version(), max(_HANDLED_FILES)))
    try:
        for path in paths:
            _allow(ruleset, path)
        call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return used


def _create(newest: int) -> tuple[int, int]:
    """A ruleset of the newest version that the kernel takes: (version, descriptor)."""
    for used in range(newest, 0, -1):
        handled = struct.pack("=Q", (1 << _HANDLED_FILES[used]) - 1)
        if used >= _NETWORK_SINCE:
            handled += struct.pack("=Q", _TCP)
        if used >= _SCOPES_SINCE:
            handled += struct.pack("=Q", _SCOPES)
        try:
            return used, call(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
        except OSError:
            if used == 1:
                raise
    raise OSError("no version of Landlock was asked for")


def _allow(ruleset: int, path: str) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        access = _READ_FILE | _READ_DIR if folder else _READ_FILE
        call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", access, descriptor), 0)
    finally:
        os.close(descriptor)
