"""Which process is which, and killing what a dead supervisor left behind.

A process id alone names nobody: the kernel gives it out again. Here a process is its id, its start time and the boot in
which both hold, and no signal is sent before a pidfd is open and the start time was read again behind it. Linux only.

The sweep finds the processes of one attempt by the token in their environment, and the descendants of those. A process
that replaced its environment and whose parents are all dead is not found; a supervisor that lives does find it.
"""

import os
import select
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from engine.errors import BilevelError

TOKEN = "BILEVEL_TOKEN"
ROLE = "BILEVEL_ROLE"  # "supervisor" in the environment of a supervisor; a trainer has none
SHORTEST_TOKEN = 8
SWEEP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Spawned:
    """The supervisor of an attempt: process id, start time in clock ticks since boot, id of that boot."""

    pid: int
    start_time: int
    boot_id: str


class Found(NamedTuple):
    """A process as /proc showed it."""

    pid: int
    parent: int
    start_time: int


def boot_id() -> str:
    """The id that the kernel drew at this boot."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def look_up(pid: int) -> Found | None:
    """The live process with this id; None when there is none, or only its unreaped remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else Found(pid, int(fields[1]), int(fields[19]))


def describe(pid: int) -> Spawned:
    """The identity of a child of this process, dead or alive."""
    fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return Spawned(pid, int(fields[19]), boot_id())


def open_process(pid: int, start_time: int) -> int | None:
    """A pidfd of exactly that process, or None when it is gone and the number perhaps somebody else's."""
    try:
        descriptor = os.pidfd_open(pid)
    except (ProcessLookupError, ValueError, OverflowError):
        return None
    # Read after the pidfd was opened: the same start time now means that it was this process then.
    found = look_up(pid)
    if found is not None and found.start_time == start_time:
        return descriptor
    os.close(descriptor)
    return None


def open_spawned(spawned: Spawned) -> int | None:
    """A pidfd of the supervisor that was recorded; None when it is gone, also by a reboot."""
    return open_process(spawned.pid, spawned.start_time) if spawned.boot_id == boot_id() else None


def environment_of(pid: int) -> list[bytes]:
    """`NAME=value` of each variable that the process was started with; empty where it may not be read."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def find_supervisor(token: str) -> Spawned | None:
    """The running supervisor of an attempt whose engine died before it could record whom it had started."""
    for process in _running():
        variables = environment_of(process.pid)
        if _carries(variables, token) and f"{ROLE}=supervisor".encode() in variables:
            return Spawned(process.pid, process.start_time, boot_id())
    return None


def sweep(token: str) -> int:
    """Kill every process of the attempt with this token, its supervisor first; return how many were killed.

    Returns when none is left. Raises BilevelError when some are still there after ten seconds (a process that hangs in
    a device driver cannot be killed), and ValueError for a token too short to name one attempt.
    """
    if len(token) < SHORTEST_TOKEN:
        raise ValueError(f"a token of {len(token)} characters does not name one attempt")
    killed: set[Found] = set()
    until = time.monotonic() + SWEEP_SECONDS
    while left := _of_attempt(token):
        if time.monotonic() > until:
            numbers = ", ".join(str(process.pid) for process in left)
            raise BilevelError(f"these processes of a trial do not die of SIGKILL: {numbers}; end them by hand")
        killed.update(_kill(left))
    return len(killed)


def _kill(processes: list[Found]) -> list[Found]:
    """SIGKILL to each that is still the one that was found; wait a moment for their ends."""
    ends = select.poll()
    killed: list[tuple[int, Found]] = []
    try:
        for process in processes:
            descriptor = open_process(process.pid, process.start_time)
            if descriptor is None:
                continue
            killed.append((descriptor, process))
            ends.register(descriptor, select.POLLIN)
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        ends.poll(20)  # the next look into /proc finds who is left
    finally:
        for descriptor, _ in killed:
            os.close(descriptor)
    return [process for _, process in killed]


def _of_attempt(token: str) -> list[Found]:
    """The processes that carry the token and their descendants, never this process or init; supervisors first."""
    running = {process.pid: process for process in _running()}
    members: dict[int, bool] = {}
    for pid in running:
        variables = environment_of(pid)
        if _carries(variables, token):
            members[pid] = f"{ROLE}=supervisor".encode() in variables
    grown = True
    while grown:
        grown = False
        for process in running.values():
            if process.parent in members and process.pid not in members:
                members[process.pid] = False
                grown = True
    spared = (os.getpid(), 1)
    return [running[pid] for pid in sorted(members, key=lambda pid: not members[pid]) if pid not in spared]


def _running() -> list[Found]:
    numbers = (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
    return [found for number in numbers if (found := look_up(number)) is not None]


def _carries(variables: list[bytes], token: str) -> bool:
    return f"{TOKEN}={token}".encode() in variables
