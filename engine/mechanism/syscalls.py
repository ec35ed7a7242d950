"""The few system calls that Python does not offer, through libc, and the numbers of the processors that are known.

Numbers are those of the kernel's own tables (arch/x86/entry/syscalls/syscall_64.tbl, asm-generic/unistd.h). On another
processor `numbers` raises OSError, and what rests on it is reported as missing. Standard library alone.
"""

import ctypes
import errno
import os
from typing import Any, NamedTuple

_LIBC = ctypes.CDLL(None, use_errno=True)


class Processor(NamedTuple):
    """A kind of processor: what seccomp calls it, and its system calls by name."""

    audit: int
    calls: dict[str, int]


def call(number: int, *arguments: Any) -> int:
    """Make a system call; integers are passed at full width. Raises OSError."""
    wide = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    _LIBC.syscall.restype = ctypes.c_long
    result: int = _LIBC.syscall(ctypes.c_long(number), *wide)
    if result < 0:
        raise _last_error()
    return result


def prctl(option: int, first: int, second: Any = 0) -> None:
    """prctl(2). Raises OSError; AttributeError where the system has none."""
    wide = second if second else ctypes.c_ulong(0)
    if _LIBC.prctl(option, ctypes.c_ulong(first), wide, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise _last_error()


def processor(machine: str = "") -> Processor:
    """What is known of this processor, or of the one named. Raises OSError for one that is not known."""
    machine = machine or os.uname().machine
    if machine not in PROCESSORS:
        raise OSError(errno.ENOSYS, f"no table of system calls for {machine or 'this processor'}")
    return PROCESSORS[machine]


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


_X86_64 = {
    "read": 0,
    "write": 1,
    "open": 2,
    "close": 3,
    "stat": 4,
    "fstat": 5,
    "lstat": 6,
    "lseek": 8,
    "mmap": 9,
    "mprotect": 10,
    "munmap": 11,
    "brk": 12,
    "rt_sigaction": 13,
    "rt_sigprocmask": 14,
    "rt_sigreturn": 15,
    "ioctl": 16,
    "pread64": 17,
    "readv": 19,
    "writev": 20,
    "access": 21,
    "sched_yield": 24,
    "mremap": 25,
    "madvise": 28,
    "dup": 32,
    "dup2": 33,
    "nanosleep": 35,
    "getpid": 39,
    "exit": 60,
    "kill": 62,
    "uname": 63,
    "fcntl": 72,
    "getcwd": 79,
    "readlink": 89,
    "gettimeofday": 96,
    "getrlimit": 97,
    "getrusage": 98,
    "sysinfo": 99,
    "times": 100,
    "getuid": 102,
    "getgid": 104,
    "geteuid": 107,
    "getegid": 108,
    "getppid": 110,
    "capget": 125,
    "capset": 126,
    "sigaltstack": 131,
    "gettid": 186,
    "time": 201,
    "futex": 202,
    "sched_getaffinity": 204,
    "getdents64": 217,
    "set_tid_address": 218,
    "restart_syscall": 219,
    "clock_gettime": 228,
    "clock_getres": 229,
    "clock_nanosleep": 230,
    "exit_group": 231,
    "tgkill": 234,
    "openat": 257,
    "newfstatat": 262,
    "readlinkat": 267,
    "faccessat": 269,
    "unshare": 272,
    "set_robust_list": 273,
    "dup3": 292,
    "prlimit64": 302,
    "getrandom": 318,
    "statx": 332,
    "rseq": 334,
    "clone3": 435,
    "close_range": 436,
    "faccessat2": 439,
}
_AARCH64 = {
    "getcwd": 17,
    "dup": 23,
    "dup3": 24,
    "fcntl": 25,
    "ioctl": 29,
    "faccessat": 48,
    "openat": 56,
    "close": 57,
    "getdents64": 61,
    "lseek": 62,
    "read": 63,
    "write": 64,
    "readv": 65,
    "writev": 66,
    "pread64": 67,
    "readlinkat": 78,
    "newfstatat": 79,
    "fstat": 80,
    "capget": 90,
    "capset": 91,
    "exit": 93,
    "exit_group": 94,
    "set_tid_address": 96,
    "unshare": 97,
    "futex": 98,
    "set_robust_list": 99,
    "nanosleep": 101,
    "clock_gettime": 113,
    "clock_getres": 114,
    "clock_nanosleep": 115,
    "sched_getaffinity": 123,
    "sched_yield": 124,
    "restart_syscall": 128,
    "kill": 129,
    "tgkill": 131,
    "sigaltstack": 132,
    "rt_sigaction": 134,
    "rt_sigprocmask": 135,
    "rt_sigreturn": 139,
    "times": 153,
    "uname": 160,
    "getrlimit": 163,
    "getrusage": 165,
    "gettimeofday": 169,
    "getpid": 172,
    "getppid": 173,
    "getuid": 174,
    "geteuid": 175,
    "getgid": 176,
    "getegid": 177,
    "gettid": 178,
    "sysinfo": 179,
    "brk": 214,
    "munmap": 215,
    "mremap": 216,
    "mmap": 222,
    "mprotect": 226,
    "madvise": 233,
    "prlimit64": 261,
    "getrandom": 278,
    "statx": 291,
    "rseq": 293,
    "clone3": 435,
    "close_range": 436,
    "faccessat2": 439,
}
PROCESSORS = {"x86_64": Processor(0xC000003E, _X86_64), "aarch64": Processor(0xC00000B7, _AARCH64)}
