"""What confines a mechanism host: the layers that the process puts on itself before it sees generated code.

Each layer is a row: it is put on, then tried, by doing what it has to prevent. A layer that cannot be had, or that was
accepted and does not hold, is named with the reason and with what would give it, never left out in silence. What was
reached is a level:

    A+  every layer          A  Landlock and seccomp          B  bubblewrap and seccomp
    C   the process and its limits: they contain accidents, and do not keep hostile code from files or the network

bubblewrap is put around the process by the engine; from in here it can only be tried. Level C is what remains where any
of the process's own limits is missing, too. Standard library alone; Linux.
"""

import _socket
import _thread
import ctypes
import errno
import os
import resource
import signal
import struct
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TypedDict

from engine.mechanism import landlock, seccomp
from engine.mechanism.syscalls import call, prctl, processor

LEVELS = ("C", "B", "A", "A+")
"""From the weakest to the strongest."""
BUBBLEWRAP, LANDLOCK, SECCOMP = "bubblewrap", "Landlock", "seccomp"
STANDARD_LIBRARY = Path(os.__file__).parent
BAIT = "bait"
"""A file in the working folder and one in the folder above it, which the engine lays there for a host to try."""
_PR_SET_PDEATHSIG, _PR_GET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 21, 38
_CAPABILITIES_VERSION = 0x20080522
_CLONE_THREAD = 0x10000
_ORDINARY_FIX = "use a kernel or a container that allows it"
_NO_PROCESSES_FIX = "run as an ordinary user, whom the limit binds, or get the seccomp layer"
_LANDLOCK_FIX = (
    "use Linux 5.13 or newer with Landlock among its security modules (lsm=landlock,... on the kernel's command line; "
    "/sys/kernel/security/lsm lists them), and in a container a profile that allows the landlock system calls"
)
_SECCOMP_FIX = (
    "use Linux with CONFIG_SECCOMP_FILTER on x86-64 or aarch64, and in a container a profile that allows prctl(2) to "
    "set filters"
)


class Finding(TypedDict):
    """One layer: whether it holds, what was tried or why it does not, and what would give it."""

    layer: str
    ok: bool
    detail: str
    fix: str


class Setup(TypedDict):
    """What the engine tells a host about itself. `hail`: an abstract socket that the engine listens on."""

    parent: int
    memory_mb: int
    cpu_seconds: int
    wrapped: bool
    hail: str
    readable: list[str]
    private: list[str]


Row = tuple[str, Callable[[], str], str]


def level_of(findings: Collection[Finding]) -> str:
    """The level that these layers make."""
    held = {finding["layer"] for finding in findings if finding["ok"]}
    others = {finding["layer"] for finding in findings} - {LANDLOCK, SECCOMP, BUBBLEWRAP}
    if SECCOMP not in held or not others or not others <= held:
        return "C"
    if LANDLOCK in held:
        return "A+" if BUBBLEWRAP in held else "A"
    return "B" if BUBBLEWRAP in held else "C"


def reaches(level: str, asked: str) -> bool:
    """Whether a level is at least the one asked for. Raises ValueError for what is no level."""
    return LEVELS.index(level) >= LEVELS.index(asked)


def missing(findings: Collection[Finding]) -> list[str]:
    """For each layer that does not hold, a line with the reason and with what would give it."""
    return [f"{found['layer']}: {found['detail']} ({found['fix']})" for found in findings if not found["ok"]]


def readable(libraries: Sequence[str] = ()) -> list[str]:
    """What Python needs to read while it runs: its standard library, shared libraries, and `libraries`.

    Never a whole home folder: of an interpreter that lies in one, its own lib folder alone.
    """
    system = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/nix/store", "/gnu/store", "/etc/ld.so.cache"]
    ours = [str(Path(sys.base_prefix, name)) for name in ("lib", "lib64")]
    paths = [str(STANDARD_LIBRARY), *ours, *system, "/dev/null", "/dev/urandom", *libraries]
    return [path for path in dict.fromkeys(paths) if Path(path).exists()]


def confine(setup: Setup) -> list[Finding]:
    """Put every layer on this process, for good, and try each."""
    limits = (
        (f"{setup['memory_mb']} MB of memory", resource.RLIMIT_AS, setup["memory_mb"] * 2**20),
        (f"{setup['cpu_seconds']} s of processor time", resource.RLIMIT_CPU, setup["cpu_seconds"]),
        ("files of 1 MB", resource.RLIMIT_FSIZE, 2**20),
        ("64 descriptors", resource.RLIMIT_NOFILE, 64),
        ("no core dumps", resource.RLIMIT_CORE, 0),
        ("a limit of no processes", resource.RLIMIT_NPROC, 0),
    )
    rows: list[Row] = [
        ("dies with the engine", lambda: _die_with(None if setup["wrapped"] else setup["parent"]), _ORDINARY_FIX),
        *([(BUBBLEWRAP, lambda: _try_bubblewrap(setup), "see the reason")] if setup["wrapped"] else []),
        ("no new privileges", _no_new_privileges, _ORDINARY_FIX),
        ("no capabilities", _no_capabilities, "use x86-64 or aarch64"),
        *((name, _limiter(what, value), _ORDINARY_FIX) for name, what, value in limits),
        (LANDLOCK, lambda: _landlock(setup), _LANDLOCK_FIX),
        (SECCOMP, _seccomp, _SECCOMP_FIX),
        ("no further processes or threads", _no_processes, _NO_PROCESSES_FIX),
    ]
    return [_put_on(*row) for row in rows]


def _put_on(layer: str, act: Callable[[], str], fix: str) -> Finding:
    try:
        return Finding(layer=layer, ok=True, detail=act(), fix="")
    except (OSError, ValueError, AttributeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Finding(layer=layer, ok=False, detail=reason, fix=fix)


def _die_with(parent: int | None) -> str:
    """`parent`: the engine, where it is the parent; bubblewrap's own process does the same for the engine."""
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if parent is not None and os.getppid() != parent:  # the engine died before the signal was asked for
        os._exit(1)
    return "it is killed when its parent ends"


def _no_new_privileges() -> str:
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    return "set-user-id programs give it nothing"


def _no_capabilities() -> str:
    """A process of root keeps its user, and loses what root may do beyond the owner of files."""
    calls = processor().calls
    header = struct.pack("=Ii", _CAPABILITIES_VERSION, 0)
    call(calls["capset"], header, bytes(24))
    left = ctypes.create_string_buffer(24)
    call(calls["capget"], header, left)
    if any(left.raw):
        raise OSError("capabilities are left after they were dropped")
    return "none is left"


def _limiter(what: int, wanted: int) -> Callable[[], str]:
    def limit() -> str:
        hard = resource.getrlimit(what)[1]
        value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        # The second more is for the signal that tells the engine why a host ended; at the hard limit it is SIGKILL.
        last = value + 1 if what == resource.RLIMIT_CPU and value != hard else value
        resource.setrlimit(what, (value, last))
        if resource.getrlimit(what) != (value, last):
            raise OSError("the limit was set and is another")
        return f"limit {value:,}"

    return limit


def _try_bubblewrap(setup: Setup) -> str:
    """From within: what the engine laid outside is not there, its sockets are not, its process is not."""
    if _can_read(Path("..", BAIT)):
        raise OSError("a file outside can be read")
    caller = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    reached = caller.connect_ex("\0" + setup["hail"]) == 0
    caller.close()
    if reached:
        raise OSError("a socket outside can be reached")
    if os.getppid() != 1 or (setup["parent"] > 2 and _exists(setup["parent"])):
        raise OSError("processes outside can be seen")
    return "no file, socket or process outside could be reached"


def _landlock(setup: Setup) -> str:
    for private in setup["private"]:
        around = next((path for path in setup["readable"] if _lies_in(private, path)), None)
        if around is not None:
            raise OSError(f"{private} lies within {around}, which Python itself needs to read")
    if _threads():
        raise OSError("other threads run already, and it would not bind them")
    if not _can_read(Path(BAIT)):
        raise OSError("the file to try it on cannot be read")
    used = landlock.allow_reading(setup["readable"])
    if _can_read(Path(BAIT)):
        raise OSError("it was accepted, and a forbidden file can be read all the same")
    if not _can_read(STANDARD_LIBRARY / "os.py"):
        raise OSError("it was accepted, and the standard library cannot be read any more")
    return f"version {used}: a file that could be read before cannot be read after"


def _seccomp() -> str:
    if _threads():
        raise OSError("other threads run already, and it would not bind them")
    seccomp.install()
    attempts: dict[str, Callable[[], object]] = {
        "open a socket": lambda: _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM).close(),
        "open a file to write": lambda: os.close(os.open("/dev/null", os.O_WRONLY)),
        "run a program": lambda: os.execv("/nonexistent", ["nonexistent"]),
        "signal another process": lambda: os.kill(os.getppid(), 0),
        "ask for a protection to be changed": lambda: prctl(_PR_GET_SECCOMP, 0),
    }
    for what, attempt in attempts.items():
        try:
            attempt()
        except OSError as error:
            if error.errno == errno.EPERM:
                continue
        raise OSError(f"it was accepted, and does not refuse to {what}")
    return f"refused to {', '.join(attempts)}"


def _no_processes() -> str:
    """Start a process and a thread: the limit does not bind root, which the system call does not say."""
    with_thread = _thread.allocate_lock()
    with_thread.acquire()
    try:
        _thread.start_new_thread(with_thread.release, ())
    except RuntimeError:
        pass
    else:
        with_thread.acquire()
        raise OSError("a thread could be started")
    try:
        child = os.fork()
    except OSError:
        return "neither a process nor a thread could be started"
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    raise OSError("a process could be started")


def _threads() -> bool:
    """Whether this process has other threads; "unshare" refuses what asks a process of several for a new group."""
    try:
        call(processor().calls["unshare"], _CLONE_THREAD)
    except OSError as error:
        if error.errno == errno.EINVAL:
            return True
        try:
            return len(list(Path("/proc/self/task").iterdir())) > 1
        except OSError:
            return _thread._count() > 0
    return False


def _can_read(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return bool(file.read(1))
    except OSError:
        return False


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _lies_in(path: str, folder: str) -> bool:
    return Path(path).resolve().is_relative_to(Path(folder).resolve())
