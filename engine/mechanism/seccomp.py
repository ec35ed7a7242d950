"""A filter on system calls: a mechanism may compute, read files that it is let read, and answer; nothing else.

What is named in ALLOWED passes, some calls only with arguments that are harmless; everything else fails with EPERM, and
so does every call that a later kernel may add. In particular there is no call that makes a process or a thread, runs a
program, opens a socket, writes or changes a file, looks into or signals another process, makes memory without a limit,
or takes a protection off this process again. Another processor mode (32 bits, x32) ends the process.

    open, openat    for reading
    fcntl, ioctl    for what Python does with its own descriptors; not to have signals sent (F_SETOWN), no TIOCSTI
    kill, tgkill    itself
    prlimit64       reading its own limits

Files can still be looked at (`stat`), as far as the other layers let them be seen. Standard library alone.
"""

import ctypes
import os
import struct

from engine.mechanism.syscalls import PROCESSORS, prctl, processor

_ITSELF = """
    brk mmap munmap mprotect mremap madvise futex set_robust_list set_tid_address rseq
    restart_syscall rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack exit exit_group getrandom sched_yield
    sched_getaffinity clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time times getrusage
    getrlimit uname sysinfo getpid getppid gettid getuid geteuid getgid getegid capget
"""
_FILES = """
    read readv pread64 write writev lseek close close_range dup dup2 dup3 getdents64 getcwd stat fstat lstat
    statx newfstatat access faccessat faccessat2 readlink readlinkat
"""
ALLOWED = (*_ITSELF.split(), *_FILES.split())
"""Calls about memory, time and the process itself; and about descriptors, and files that it may read."""
_OPENS_TO_WRITE = os.O_ACCMODE | 0x40 | 0x200  # O_CREAT and O_TRUNC have these values on every processor in the table
_FCNTL = (0, 1, 2, 3, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC
_IOCTL = (0x5401, 0x5450, 0x5451)  # TCGETS (is it a terminal?), FIONCLEX, FIOCLEX
_EPERM, _ENOSYS = 1, 38

_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _PROCESSOR, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; arguments have 8 bytes, low half first
_X32_BIT = 0x40000000
_PR_SET_SECCOMP, _FILTER_MODE = 22, 2

Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def install() -> None:
    """Put the filter on this process, for good. "No new privileges" must be set. Raises OSError."""
    program = build(processor().calls, processor().audit, os.getpid())
    raw = b"".join(struct.pack("=HBBI", *instruction) for instruction in program)
    buffer = ctypes.create_string_buffer(raw, len(raw))
    prctl(_PR_SET_SECCOMP, _FILTER_MODE, ctypes.byref(_Program(len(program), ctypes.addressof(buffer))))


def build(calls: dict[str, int], audit: int, pid: int) -> list[Instruction]:
    """The filter's instructions for a processor, for the process `pid`."""
    program = [
        (_LOAD, 0, 0, _PROCESSOR),
        (_EQUAL, 1, 0, audit),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if audit == PROCESSORS["x86_64"].audit:
        program += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL_PROCESS)]
    for name in ALLOWED:
        program += _when(calls, name, [(_RETURN, 0, 0, _ALLOW)])
    program += _when(calls, "open", _unless_bits(1, _OPENS_TO_WRITE))
    program += _when(calls, "openat", _unless_bits(2, _OPENS_TO_WRITE))
    program += _when(calls, "fcntl", _if_one_of(1, _FCNTL))
    program += _when(calls, "ioctl", _if_one_of(1, _IOCTL))
    program += _when(calls, "kill", _if_one_of(0, (pid,)))
    program += _when(calls, "tgkill", _if_one_of(0, (pid,)))
    program += _when(calls, "prlimit64", _if_own_and_null(0, pid, 2))
    program += _when(calls, "clone3", [(_RETURN, 0, 0, _ERRNO | _ENOSYS)])  # libc then asks for clone, and is refused
    return [*program, (_RETURN, 0, 0, _ERRNO | _EPERM)]


def _when(calls: dict[str, int], name: str, answer: list[Instruction]) -> list[Instruction]:
    """The answer for one call; none for a call that this processor does not have. Every answer ends in a return."""
    return [(_EQUAL, 0, len(answer), calls[name]), *answer] if name in calls else []


def _if_one_of(argument: int, values: tuple[int, ...]) -> list[Instruction]:
    """Allowed when the argument, an int to the kernel, is one of these."""
    tests = [(_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [_low(argument), *tests, (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)]


def _unless_bits(argument: int, bits: int) -> list[Instruction]:
    return [_low(argument), (_ANY_BIT, 0, 1, bits), (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)]


def _if_own_and_null(process: int, pid: int, pointer: int) -> list[Instruction]:
    """Allowed when one argument is this process and the other a null pointer, all 64 bits of it."""
    low, high = _low(pointer), (_LOAD, 0, 0, _low(pointer)[3] + 4)
    own = [_low(process), (_EQUAL, 1, 0, 0), (_EQUAL, 0, 4, pid)]
    refuse, allow = (_RETURN, 0, 0, _ERRNO | _EPERM), (_RETURN, 0, 0, _ALLOW)
    return [*own, low, (_EQUAL, 0, 2, 0), high, (_EQUAL, 1, 0, 0), refuse, allow]


def _low(argument: int) -> Instruction:
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * argument)
