"""The filter on system calls, run by hand on both processors: what it lets pass, and what it answers to the rest."""

import struct

import pytest

from engine.mechanism.seccomp import ALLOWED, build
from engine.mechanism.syscalls import PROCESSORS

PID = 4711
ALLOW, EPERM, ENOSYS, KILL = 0x7FFF0000, 0x00050001, 0x00050026, 0x80000000
UNKNOWN = {"socket": (41, 198), "ptrace": (101, 117), "clone": (56, 220), "execve": (59, 221), "unlinkat": (263, 35)}
"""Numbers on x86-64 and on aarch64 of calls that nothing in the engine names."""
BOTH = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])


def answer(machine: str, number: int, *arguments: int, audit: int = 0) -> int:
    """What the filter answers to a call, as the kernel would run it."""
    known = PROCESSORS[machine]
    wide = [*arguments, *[0] * (6 - len(arguments))]
    data = struct.pack("<iIQ6Q", number, audit or known.audit, 0, *wide)
    program, at, value = build(known.calls, known.audit, PID), 0, 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("<I", data, operand)
        elif code == 0x06:
            return operand
        else:
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[code]
            at += if_true if holds else if_false


@BOTH
def test_what_python_needs_passes(machine: str) -> None:
    calls = PROCESSORS[machine].calls
    assert {name for name in ALLOWED if name in calls and answer(machine, calls[name]) != ALLOW} == set()


@BOTH
def test_what_is_not_named_is_refused(machine: str) -> None:
    passed = {PROCESSORS[machine].calls.get(name) for name in ALLOWED}
    conditional = {"open", "openat", "fcntl", "ioctl", "kill", "tgkill", "prlimit64", "clone3"}
    passed |= {PROCESSORS[machine].calls.get(name) for name in conditional}
    others = [number for number in range(1000) if number not in passed]
    assert {answer(machine, number) for number in others} == {EPERM}
    for numbers in UNKNOWN.values():
        assert answer(machine, numbers[machine == "aarch64"]) == EPERM


@BOTH
def test_another_mode_of_the_processor_ends_the_process(machine: str) -> None:
    read = PROCESSORS[machine].calls["read"]
    assert answer(machine, read, audit=0x40000003) == KILL  # 32-bit x86
    other = PROCESSORS["aarch64" if machine == "x86_64" else "x86_64"].audit
    assert answer(machine, read, audit=other) == KILL


def test_x32_ends_the_process() -> None:
    assert answer("x86_64", 0x40000000) == KILL


@BOTH
@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("openat", (0, 0, 0o2000000), ALLOW),  # O_RDONLY, O_CLOEXEC
        ("openat", (0, 0, 1), EPERM),
        ("openat", (0, 0, 2), EPERM),
        ("openat", (0, 0, 0o100), EPERM),  # O_CREAT
        ("openat", (0, 0, 0o1000), EPERM),  # O_TRUNC
        ("fcntl", (3, 1), ALLOW),
        ("fcntl", (3, 1030), ALLOW),
        ("fcntl", (3, 4), EPERM),  # F_SETFL
        ("fcntl", (3, 8), EPERM),  # F_SETOWN
        ("fcntl", (3, 10), EPERM),  # F_SETSIG
        ("ioctl", (0, 0x5401), ALLOW),
        ("ioctl", (0, 0x5412), EPERM),  # TIOCSTI
        ("ioctl", (0, 0xFFFFFFFF00005412), EPERM),
        ("kill", (PID, 9), ALLOW),
        ("kill", (1, 9), EPERM),
        ("kill", (0, 9), EPERM),
        ("kill", (2**64 - 1, 9), EPERM),
        ("tgkill", (PID, PID, 6), ALLOW),
        ("tgkill", (1, 1, 6), EPERM),
        ("prlimit64", (0, 9, 0), ALLOW),
        ("prlimit64", (PID, 9, 0), ALLOW),
        ("prlimit64", (1, 9, 0), EPERM),
        ("prlimit64", (0, 9, 0x7F0000000000), EPERM),
        ("prlimit64", (0, 9, 0x1000), EPERM),
        ("clone3", (), ENOSYS),
    ],
)
def test_some_calls_pass_with_harmless_arguments(
    machine: str, name: str, arguments: tuple[int, ...], expected: int
) -> None:
    assert answer(machine, PROCESSORS[machine].calls[name], *arguments) == expected


@pytest.mark.parametrize(("flags", "expected"), [(0, ALLOW), (1, EPERM), (0o1100, EPERM)])
def test_the_older_open_is_for_reading_too(flags: int, expected: int) -> None:
    assert answer("x86_64", PROCESSORS["x86_64"].calls["open"], 0, flags) == expected
