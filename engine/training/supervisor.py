"""The process that owns one training run: ``python -I -S supervisor.py SPEC.json LIFELINE_FD``.

It promises:

- The trainer runs in a process group of its own with stdin from /dev/null and its output appended to a file, so that no
  reader can slow it down, and it dies if this process dies.
- It ends at its deadline, when its output stands still, when its output grows too large, or when a stop is asked for:
  SIGTERM to its group, then after `grace` SIGKILL. These limits read the monotonic clock alone.
- Whatever the trainer left running is killed and reaped, however it tried to escape: this process is a child subreaper,
  so every orphan among its descendants becomes its own child, and it kills its children until none is left.
- `result.json` appears whole or not at all, and is on disk before this process ends. Its end is the signal to look.

The lifeline is the read end of a pipe. A line on it means: stop now, for this reason. Its end means that the engine is
gone: the run then goes on to its end, and the result waits. SIGTERM stops the run as well, with the reason that the
file `stop` holds; that is how an engine which was started later asks for it.

A full disk: the block for the result is reserved while the trainer runs. Where that does not help (quota, copy-on-write
file systems), writing is tried again every second until there is space, for at most `patience` seconds.

It does not judge the run: whether there is a metric, and what an exit code means, is for the engine to say. It needs
Linux 5.4 and the standard library alone. Exit status: 0 the result is written (or the engine was gone before the start,
and nothing was started), 3 the result could not be written.
"""
# It works on descriptors and must start fast, so it does without pathlib.
# ruff: noqa: PTH104, PTH120, PTH123, PTH208

import ctypes
import errno
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, NoReturn

TICK = 0.5  # seconds between two looks at the size of the log
KILL_PATIENCE = 30.0  # seconds for which a killed process may hang in the kernel before it is given up
SWEEP_PATIENCE = 10.0  # the same for what the trainer left behind
MOST_DESCRIPTORS = 65_536
RESERVED = 4096  # bytes kept for the result
DISK_FULL = 1 << 20  # below so many free bytes, a failure may be the disk's
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

LIBC = ctypes.CDLL(None, use_errno=True)


class Spec(NamedTuple):
    """What SPEC.json holds: times in seconds, paths absolute."""

    run: str
    attempt: int
    token: str
    command: list[str]
    cwd: str
    environment: dict[str, str]
    log: str
    result: str
    stop: str
    deadline: float
    startup: float
    stall: float | None
    log_bytes: int
    grace: float
    patience: float


class Ending(NamedTuple):
    """Why the run was ended, and the sentence for a person; "" when the trainer ended by itself."""

    why: str
    reason: str


class Remains(NamedTuple):
    """What was there after the trainer. `exit_code` is negative for a signal, None for a trainer that would not die."""

    exit_code: int | None
    max_rss_mb: float
    killed: int
    left: int


class SpawnError(Exception):
    """The command could not be executed; the text says why."""


def start_trainer(spec: Spec, log: int) -> int:
    """Fork and execute the command; return its process id. Raises SpawnError with the reason."""
    supervisor = os.getpid()
    told, tell = os.pipe()  # closes at exec, so that an end without text means success
    pid = os.fork()
    if pid == 0:
        become_trainer(spec, log, supervisor, tell)
    os.close(tell)
    with open(told, "rb") as pipe:
        problem = pipe.read().decode(errors="replace")
    if problem:
        os.waitpid(pid, 0)
        raise SpawnError(problem)
    return pid


def become_trainer(spec: Spec, log: int, supervisor: int, tell: int) -> NoReturn:
    """In the forked child: leave nothing of the supervisor but the log, and execute the command."""
    try:
        os.setpgid(0, 0)
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != supervisor:
            os._exit(127)  # the supervisor died before the line above could take effect
        for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)  # ignored here, and exec keeps that
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core of a large model would fill the disk
        prefer_for_oom_killer()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(spec.cwd)
        os.execvpe(spec.command[0], spec.command, {**spec.environment, "PYTHONUNBUFFERED": "1"})
    except BaseException as error:
        problem = error.strerror if isinstance(error, OSError) else error
        os.write(tell, f"cannot start {spec.command[0]!r} in {spec.cwd}: {problem}".encode()[:1000])
    os._exit(127)


def prefer_for_oom_killer() -> None:
    """When memory runs out, the trainer shall go and not the engine. Some containers forbid the setting."""
    with suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("500")


class Supervisor:
    """The wait for one trainer: sleeps in poll() until a child ends, a stop is asked for, or a limit is due."""

    def __init__(self, spec: Spec, lifeline: int) -> None:
        self.spec = spec
        self.log = -1
        self.lifeline = lifeline
        self.asked: str | None = None
        self.signalled = False
        self.started = time.monotonic()
        self.size = 0
        self.grown = self.started + spec.startup  # the stall clock does not run before that
        self.poll = select.poll()
        self.poll.register(lifeline, select.POLLIN)
        self.wake, wake_write = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(wake_write, False)
        self.poll.register(self.wake, select.POLLIN)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # its byte on the wake pipe is what counts
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)

    def _on_signal(self, *_: object) -> None:
        self.signalled = True

    def start(self) -> int:
        """Open the log and start the trainer; return its process id. Raises SpawnError with the reason."""
        try:
            self.log = os.open(self.spec.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise SpawnError(f"cannot open the log: {error}") from error
        return start_trainer(self.spec, self.log)

    def engine_is_gone(self) -> bool:
        """True when the lifeline has ended. Asked before the start: a run that nobody could record must not begin."""
        self.sleep(0.0)
        return self.lifeline < 0

    def sleep(self, seconds: float) -> None:
        """Wait until something happens, at most so long, and take in what the lifeline says."""
        for descriptor, _ in self.poll.poll(max(0.0, seconds) * 1000):
            if descriptor == self.wake:
                os.read(self.wake, 4096)
            elif text := os.read(self.lifeline, 4096):
                self.asked = self.asked or text.decode(errors="replace").partition("\n")[0]
            else:
                self.poll.unregister(self.lifeline)
                self.lifeline = -1

    def watch(self, pid: int) -> Ending:
        """Until the trainer has ended (or is given up): apply the limits. The trainer is not reaped here."""
        ending: Ending | None = None
        kill_at = 0.0
        while not has_ended(pid):
            now = time.monotonic()
            if ending is None:
                ending = self.reason_to_stop(now)
                if ending is not None:
                    send(os.killpg, pid, signal.SIGTERM)
                    kill_at = now + self.spec.grace
            elif now >= kill_at:
                send(os.killpg, pid, signal.SIGKILL)
                if now >= kill_at + KILL_PATIENCE:
                    return Ending(
                        ending.why, f"{ending.reason}; it did not die of SIGKILL within {KILL_PATIENCE:.0f} s"
                    )
            due = self.started + self.spec.deadline if ending is None else kill_at
            self.sleep(min(TICK, due - now) if due > now else TICK)
        return ending or Ending("exit", "")

    def reason_to_stop(self, now: float) -> Ending | None:
        """The first of the limits that is reached, or None."""
        spec = self.spec
        size = os.fstat(self.log).st_size
        if size != self.size:  # its size and not its time: that one follows the wall clock
            self.size, self.grown = size, max(self.grown, now)
        if self.signalled and self.asked is None:
            self.asked = read_stop_reason(spec.stop)
        if self.asked is not None:
            return Ending("stopped", self.asked)
        if now >= self.started + spec.deadline:
            return Ending("deadline", f"ran longer than {spec.deadline:g} s")
        if size > spec.log_bytes:
            return Ending("log-flood", f"printed more than {spec.log_bytes:,} bytes")
        if spec.stall is not None and now - self.grown > spec.stall:
            return Ending("stall", f"printed nothing for {spec.stall:g} s")
        return None

    def clear(self, pid: int) -> Remains:
        """Reap the trainer and kill everything that it left, until this process has no child."""
        send(os.killpg, pid, signal.SIGKILL)  # before it is reaped: so long its number cannot belong to anybody else
        reaped, status, usage = os.wait4(pid, os.WNOHANG)
        exit_code = os.waitstatus_to_exitcode(status) if reaped else None
        killed = 0
        until = time.monotonic() + SWEEP_PATIENCE
        while True:
            try:
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    killed += os.waitstatus_to_exitcode(ended[1]) == -signal.SIGKILL
            except ChildProcessError:
                return Remains(exit_code, usage.ru_maxrss / 1024, killed, 0)
            # Only direct children: their numbers stay theirs until they are reaped above. Deeper ones move up.
            remaining = children_of(os.getpid())
            if time.monotonic() >= until:
                return Remains(exit_code, usage.ru_maxrss / 1024, killed, len(remaining))
            for child in remaining:
                send(os.kill, child, signal.SIGKILL)
            self.sleep(0.01)


def has_ended(pid: int) -> bool:
    """True once `pid` has ended; it stays unreaped. Orphans that ended in the meantime are reaped on the way."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while (ended := os.waitid(os.P_ALL, 0, flags)) is not None:
        if ended.si_pid == pid:
            return True
        os.waitpid(ended.si_pid, 0)
    return False


def send(how: Callable[[int, int], None], target: int, number: int) -> None:
    """`os.kill` or `os.killpg`. A group may just have become empty, and a set-user-id child may be another user's."""
    with suppress(ProcessLookupError, PermissionError):
        how(target, number)


def children_of(parent: int) -> list[int]:
    """The process ids whose parent is `parent`, from /proc."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:  # it may end in between
            fields = file.read().rpartition(b")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(name))
    return found


def read_stop_reason(path: str) -> str:
    """What the engine wrote before it sent SIGTERM; without that, the signal itself is the reason."""
    with suppress(OSError), open(path, "rb") as file:
        if text := file.read(1000).decode(errors="replace"):
            return text
    return "the supervisor received SIGTERM"


def reserve(path: str) -> None:
    """Keep a block for the result while there is space. Failing is no harm: writing waits for space then."""
    with suppress(OSError), open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, RESERVED)


def write_result(path: str, body: bytes, patience: float) -> None:
    """Write, sync and rename into place; on a full disk again each second, for at most `patience` seconds.

    Raises OSError when the time is over, or at once for what waiting does not heal.
    """
    until = time.monotonic() + patience
    while True:
        try:
            return write_once(path, body)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or time.monotonic() >= until:
                raise
        time.sleep(1.0)


def write_once(path: str, body: bytes) -> None:
    """One attempt. The reserved block is written over, not truncated: giving it back would lose it."""
    with open(os.open(path + ".part", os.O_WRONLY | os.O_CREAT, 0o600), "wb", buffering=0) as file:
        if file.write(body) != len(body):
            raise OSError(errno.ENOSPC, "the result was written in part")
        file.truncate()
        os.fsync(file.fileno())
    os.rename(path + ".part", path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


def disk_is_full(path: str) -> bool:
    """True when the file system of `path` has next to no space."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize < DISK_FULL


def supervise(spec: Spec, supervisor: Supervisor) -> dict[str, object]:
    """Run the trainer from start to swept; return the content of result.json."""
    remains = Remains(None, 0.0, 0, 0)
    seconds = 0.0
    try:
        pid = supervisor.start()
    except SpawnError as error:
        ending = Ending("spawn-failed", str(error))
    else:
        reserve(spec.result + ".part")
        ending = supervisor.watch(pid)
        seconds = time.monotonic() - supervisor.started
        remains = supervisor.clear(pid)
        if ending.why == "log-flood":
            os.ftruncate(supervisor.log, spec.log_bytes)  # the log is kept, so it must stay within its limit
    return {
        "run": spec.run,
        "attempt": spec.attempt,
        "token": spec.token,
        "why": ending.why,
        "reason": ending.reason,
        "exit_code": remains.exit_code,
        "seconds": round(seconds, 3),
        "max_rss_mb": round(remains.max_rss_mb, 1),
        "leftovers_killed": remains.killed,
        "leftovers_left": remains.left,
        # Nobody here sent this SIGKILL; the kernel's out-of-memory killer does.
        "oom_suspected": ending.why == "exit" and remains.exit_code == -signal.SIGKILL,
        "disk_full": disk_is_full(os.path.dirname(spec.result)),
    }


def main(spec_path: str, lifeline: int) -> int:
    os.set_inheritable(lifeline, False)
    os.closerange(3, lifeline)  # whatever the engine's own parents forgot to close
    os.closerange(lifeline + 1, MOST_DESCRIPTORS)
    with open(spec_path, encoding="utf-8") as file:
        spec = Spec(**json.load(file))
    if LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "this kernel has no child subreapers")
    supervisor = Supervisor(spec, lifeline)
    if supervisor.engine_is_gone():
        return 0
    body = json.dumps(supervise(spec, supervisor), ensure_ascii=True).encode()
    try:
        write_result(spec.result, body, spec.patience)
    except OSError as error:
        print(f"cannot write {spec.result}: {error}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    status = main(sys.argv[1], int(sys.argv[2]))
    sys.stderr.flush()
    os._exit(status)  # nothing is left to tidy up, and the engine waits for this process to end
