"""The supervisor: every way in which a training run can end, and that nothing stays behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from training_runs import LEAVE_WORKERS, PROCESSES, alive, noted, run, run_spec, until

from engine.training.outcome import Outcome
from engine.training.output import failure_reason, last_lines, read_log
from engine.training.trainer import SUPERVISOR, RunSpec, write_spec

SLEEP = "while True: time.sleep(60)\n"
IGNORE_TERM = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
MEMORY_ERROR = "bytearray(1 << 62)\n"
SEGFAULT = "import ctypes; ctypes.string_at(0)\n"
FLOOD = "while True: print('x' * 1000)\n"

# Each leaves six processes behind: what the script does then, the limits, and (why, status, exit code).
ENDINGS: dict[str, tuple[str, dict[str, Any], tuple[str, str, int]]] = {
    "ends": ("print('done')\n", {}, ("exit", "ended", 0)),
    "fails": ("sys.exit(3)\n", {}, ("exit", "crash", 3)),
    "hangs": (SLEEP, {"deadline": 1.0}, ("deadline", "stopped", -signal.SIGTERM)),
    "stalls": ("print('step 1')\n" + SLEEP, {"stall": 0.3}, ("stall", "stopped", -signal.SIGTERM)),
    "runs out of memory": (MEMORY_ERROR, {}, ("exit", "crash", 1)),
    "is killed": ("os.kill(os.getpid(), signal.SIGKILL)\n", {}, ("exit", "crash", -signal.SIGKILL)),
    "segfaults": (SEGFAULT, {}, ("exit", "crash", -signal.SIGSEGV)),
    "ignores TERM": (IGNORE_TERM + SLEEP, {"deadline": 1.0, "grace": 0.2}, ("deadline", "stopped", -signal.SIGKILL)),
    "stands still": (
        "os.kill(os.getpid(), signal.SIGSTOP)\n",
        {"deadline": 1.0, "grace": 0.2},
        ("deadline", "stopped", -signal.SIGKILL),
    ),
    "floods": (FLOOD, {"log_bytes": 100_000}, ("log-flood", "stopped", -signal.SIGTERM)),
}


@pytest.mark.parametrize("ending", ENDINGS)
async def test_each_ending_is_classified_and_leaves_no_process(tmp_path: Path, ending: str) -> None:
    body, limits, expected = ENDINGS[ending]
    spec = run_spec(tmp_path, LEAVE_WORKERS + body, **limits)
    outcome = await run(spec)
    assert (outcome.why, outcome.status, outcome.exit_code) == expected
    assert len(noted(tmp_path)) == PROCESSES
    assert [pid for pid in noted(tmp_path) if alive(pid)] == []
    assert outcome.leftovers_killed >= PROCESSES - 1 - 2 and outcome.leftovers_left == 0  # two may die of SIGTERM
    assert outcome.oom_suspected == (ending == "is killed")
    assert spec.log.stat().st_size <= spec.log_bytes


async def test_a_failure_is_told_by_its_exception_or_its_signal(tmp_path: Path) -> None:
    spec = run_spec(tmp_path / "memory", MEMORY_ERROR)
    outcome = await run(spec)
    assert failure_reason(outcome.exit_code, last_lines(read_log(spec.log))) == "exit code 1: MemoryError"
    assert "SIGSEGV" in (await run(run_spec(tmp_path / "segfault", SEGFAULT))).reason


async def test_a_silent_start_is_no_stall(tmp_path: Path) -> None:
    outcome = await run(run_spec(tmp_path, "time.sleep(1.2)\nprint('step 1')\n", startup=30.0, stall=0.2))
    assert (outcome.why, outcome.exit_code) == ("exit", 0)


@pytest.mark.parametrize("change", [{"command": ("no-such-program",)}, {"cwd": Path("/no/such/folder")}])
async def test_a_command_that_cannot_start_is_a_crash_with_the_reason(tmp_path: Path, change: dict[str, Any]) -> None:
    outcome = await run(run_spec(tmp_path, "", **change))
    assert (outcome.why, outcome.status) == ("spawn-failed", "crash")
    assert "No such file or directory" in outcome.reason


async def test_the_trainer_has_no_input_no_foreign_descriptor_and_ordinary_signals(tmp_path: Path) -> None:
    body = """
for name in os.listdir("/proc/self/fd"):
    try: print(os.readlink("/proc/self/fd/" + name))
    except FileNotFoundError: pass
print("ignored", [line.split()[1] for line in open("/proc/self/status") if line.startswith("SigIgn")])
print("group", os.getpgid(0) == os.getpid(), "unbuffered", os.environ["PYTHONUNBUFFERED"])
"""
    spec = run_spec(tmp_path, body)
    forgotten = os.dup(1)
    os.set_inheritable(forgotten, True)
    await run(spec)
    os.close(forgotten)
    lines = spec.log.read_text().splitlines()
    assert set(lines[:-2]) == {"/dev/null", str(spec.log)} and len(lines[:-2]) == 3
    assert int(lines[-2].split("'")[1], 16) & 1 << (signal.SIGHUP - 1) == 0
    assert lines[-1] == "group True unbuffered 1"


def start_supervisor(spec: RunSpec, *, code: str = "", engine: bool = True) -> tuple[subprocess.Popen[bytes], int]:
    """A supervisor alone, and the write end of its lifeline (closed without an engine); `code` runs it."""
    spec.folder.mkdir(exist_ok=True)
    held, lifeline = os.pipe()
    if not engine:
        os.close(lifeline)
    start = ["-c", code] if code else [str(SUPERVISOR)]
    arguments = [sys.executable, "-I", "-S", *start, str(write_spec(spec)), str(held)]
    process = subprocess.Popen(arguments, pass_fds=(held,))
    os.close(held)
    return process, lifeline


async def ended(process: subprocess.Popen[bytes], spec: RunSpec) -> dict[str, Any]:
    await until(lambda: process.poll() is not None)
    assert process.returncode == 0
    result: dict[str, Any] = json.loads(spec.result.read_text())
    return result


async def test_the_end_of_the_lifeline_ends_nothing(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, "await_file('finish')\n")
    process, lifeline = start_supervisor(spec)
    await until(lambda: noted(tmp_path))
    os.close(lifeline)
    assert process.poll() is None and alive(noted(tmp_path)[0])
    (tmp_path / "finish").touch()
    assert (await ended(process, spec))["exit_code"] == 0


async def test_without_an_engine_nothing_is_started(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, "")
    process, _ = start_supervisor(spec, engine=False)
    await until(lambda: process.poll() is not None)
    assert process.returncode == 0
    assert noted(tmp_path) == [] and not spec.result.exists()


async def test_text_on_the_lifeline_stops_the_run_with_that_reason(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, SLEEP)
    process, lifeline = start_supervisor(spec)
    await until(lambda: noted(tmp_path))
    os.write(lifeline, "loss is diverging — stopped".encode())
    result = await ended(process, spec)
    os.close(lifeline)
    assert (result["why"], result["reason"]) == ("stopped", "loss is diverging — stopped")


async def test_a_terminated_supervisor_stops_its_run(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, SLEEP)
    process, lifeline = start_supervisor(spec)
    await until(lambda: noted(tmp_path))
    process.send_signal(signal.SIGHUP)
    process.terminate()
    result = await ended(process, spec)
    os.close(lifeline)
    assert (result["why"], result["reason"]) == ("stopped", "the supervisor received SIGTERM")


# The supervisor with a wall clock that jumps three years forth and back at each look.
JUMPING = """
import time
real, looks = time.time, [0]
def jumping():
    looks[0] += 1
    return real() + (1e8 if looks[0] % 2 else -1e8)
time.time = jumping
time.time_ns = lambda: int(jumping() * 1e9)
import runpy
"""
JUMPING += f"runpy.run_path({str(SUPERVISOR)!r}, run_name='__main__')"
# And the same for the times of files: what a jump does to the log's, its trainer does here.
JUMP_LOG = """
def jump(look=[0]):
    look[0] += 1
    os.utime(FOLDER + "/attempt-1/trainer.log", (0, 0) if look[0] % 2 else (4e9, 4e9))
    time.sleep(0.05)
"""


@pytest.mark.parametrize(
    ("body", "limits", "why"),
    [
        ("for n in range(40): print('step', n); jump()\n", {"stall": 1.5}, "exit"),
        ("while True: jump()\n", {"stall": 0.5}, "stall"),
        ("jump()\nprint('alive')\nwhile True: jump()\n", {"deadline": 1.0}, "deadline"),
    ],
)
async def test_jumps_of_the_wall_clock_move_no_limit(
    tmp_path: Path, body: str, limits: dict[str, Any], why: str
) -> None:
    spec = run_spec(tmp_path, JUMP_LOG + body, **limits)
    process, lifeline = start_supervisor(spec, code=JUMPING)
    result = await ended(process, spec)
    os.close(lifeline)
    assert result["why"] == why
    assert 0 < result["seconds"] < 40
    assert why != "deadline" or "alive" in spec.log.read_text()


async def test_a_result_waits_for_space(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, "print('x')\n")
    spec.folder.mkdir()
    part = spec.folder / "result.json.part"
    for path in (spec.log, part):
        path.symlink_to("/dev/full")  # every write fails as on a full disk
    process, lifeline = start_supervisor(spec)
    await until(lambda: noted(tmp_path) and not alive(noted(tmp_path)[0]))
    assert process.poll() is None and not spec.result.exists()
    part.unlink()
    result = await ended(process, spec)
    os.close(lifeline)
    assert result["why"] == "exit" and result["exit_code"] > 0


FULL_DISK = """
import errno, json, subprocess, sys, threading
from pathlib import Path
sys.path.insert(0, {tests!r})
import asyncio
from training_runs import run, run_spec
from engine.training import supervisor

disk = Path(sys.argv[1])
# A trainer whose log fills the disk fails of it, and its result is written all the same.
spec = run_spec(disk / "run", "while True: print('x' * 1000)", log_bytes=1 << 30)
outcome = asyncio.run(run(spec))
assert (outcome.why, outcome.status, outcome.disk_full) == ("exit", "crash", True), outcome
# Without a reserved block, writing waits until there is space.
result = str(disk / "result.json")
try:
    supervisor.write_result(result, b"x" * 5000, patience=0)
except OSError as error:
    assert error.errno == errno.ENOSPC
else:
    raise AssertionError("the disk was not full")
assert not Path(result).exists()
waiting = threading.Thread(target=supervisor.write_result, args=(result, b"x" * 5000, 60.0))
waiting.start()
spec.log.unlink()
waiting.join()
assert Path(result).read_bytes() == b"x" * 5000
print("recovered")
"""


def test_a_full_disk_is_waited_for(tmp_path: Path) -> None:
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"], check=False).returncode != 0:
        pytest.skip("a small disk needs user and mount namespaces, which this user does not get here")
    script = tmp_path / "driver.py"
    script.write_text(FULL_DISK.format(tests=str(Path(__file__).parent)))
    (tmp_path / "disk").mkdir()
    mount = 'mount -t tmpfs -o size=512k small "$1" && exec "$2" "$3" "$1"'
    done = subprocess.run(
        [*namespace, "sh", "-c", mount, "sh", str(tmp_path / "disk"), sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "recovered\n", done.stderr


def test_the_supervisor_imports_the_standard_library_alone() -> None:
    code = f"import runpy, sys; runpy.run_path({str(SUPERVISOR)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    outside = {name.partition(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names) - {"__main__"}
    assert {name for name in outside if not name.startswith("_")} == set()


def test_an_outcome_says_how_the_run_stands() -> None:
    assert Outcome("lost", "").status == "lost"
    assert Outcome("stopped", "by a person").status == "stopped"
