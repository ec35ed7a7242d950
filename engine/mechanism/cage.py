"""What confines a mechanism host: the layers that the process puts on itself before it sees generated code.

These are the layers of level C: the process dies with the engine, gains no privileges and is bounded in memory,
processor time, processes, file size, descriptors and core dumps. They contain accidents. They do not keep hostile code
from the user's files or the network, and a process of root may start others: `confine` tries that and reports it as
missing. So at level C generated code needs a person (see trust). Further layers are further rows of the table.

Standard library alone. A layer that cannot be had is named with the reason, never left out in silence.
"""

import ctypes
import os
import resource
import signal
from collections.abc import Callable
from typing import TypedDict

LEVEL = "C"
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


class Report(TypedDict):
    """The level reached, the layers that hold, and those that do not, each with the reason."""

    level: str
    layers: list[str]
    missing: list[str]


def confine(parent: int, memory_mb: int, cpu_seconds: int) -> Report:
    """Put every layer on this process, for good. `parent`: the engine's process id, with which this one dies."""
    table: tuple[tuple[str, Callable[[], None]], ...] = (
        ("dies with the engine", lambda: _die_with(parent)),
        ("no new privileges", lambda: _prctl(_PR_SET_NO_NEW_PRIVS, 1)),
        (f"{memory_mb} MB of memory", lambda: _limit(resource.RLIMIT_AS, memory_mb * 2**20)),
        (f"{cpu_seconds} s of processor time", lambda: _limit(resource.RLIMIT_CPU, cpu_seconds)),
        ("files of 1 MB", lambda: _limit(resource.RLIMIT_FSIZE, 2**20)),
        ("64 descriptors", lambda: _limit(resource.RLIMIT_NOFILE, 64)),
        ("no core dumps", lambda: _limit(resource.RLIMIT_CORE, 0)),
        ("no further processes", _no_processes),
    )
    report = Report(level=LEVEL, layers=[], missing=[])
    for name, layer in table:
        try:
            layer()
        except (OSError, ValueError, AttributeError) as error:
            report["missing"].append(f"{name}: {error}")
        else:
            report["layers"].append(name)
    return report


def _die_with(parent: int) -> None:
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # the engine died before the signal was asked for
        os._exit(1)


def _prctl(option: int, argument: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(argument), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _limit(what: int, wanted: int) -> None:
    hard = resource.getrlimit(what)[1]
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(what, (value, value))


def _no_processes() -> None:
    """Forbid processes and threads, and try: the limit does not bind root, which the system call does not say."""
    _limit(resource.RLIMIT_NPROC, 0)
    try:
        child = os.fork()
    except OSError:
        return
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    raise OSError("the limit does not bind this user")
