"""Small real training runs for the tests of the supervisor and the trainer.

Run as a program, it is an engine that can be paused and killed: `python training_runs.py FOLDER` starts the run whose
RunSpec `save()` put there, follows it, and leaves `spawned.json` and `outcome.json` beside it.
"""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from engine.training.outcome import Outcome
from engine.training.output import Progress
from engine.training.processes import Spawned
from engine.training.trainer import RunSpec, Trainer

PRELUDE = """
import os, signal, sys, time
FOLDER = {folder!r}
def note():
    descriptor = os.open(FOLDER + "/pids", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(descriptor, b"%d\\n" % os.getpid())
    os.close(descriptor)
def await_file(name):
    while not os.path.exists(FOLDER + "/" + name):
        time.sleep(0.01)
note()
"""

# Six ways of staying behind: plain (twice), own session, double fork, deaf to signals, and with another environment.
LEAVE_WORKERS = """
def stay(prepare):
    if os.fork() == 0:
        prepare()
        note()
        while True:
            time.sleep(60)
def plain(): pass
def double():
    if os.fork(): os._exit(0)
    os.setsid()
def deaf():
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)
def elsewhere():
    if os.fork(): os._exit(0)
    os.setsid()
    code = "import os,time; open(" + repr(FOLDER + "/pids") + ", 'a').write('%d\\\\n' % os.getpid()); time.sleep(600)"
    os.execve(sys.executable, [sys.executable, "-I", "-S", "-c", code], {})
for prepare in (plain, plain, os.setsid, double, deaf, elsewhere): stay(prepare)
while len(open(FOLDER + "/pids").readlines()) < 7: time.sleep(0.01)
"""
PROCESSES = 7  # that LEAVE_WORKERS makes, the trainer among them


def run_spec(folder: Path, body: str, **changes: Any) -> RunSpec:
    """A run of a Python script with generous limits; `changes` replaces fields."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "train.py"
    script.write_text(PRELUDE.format(folder=str(folder)) + body)
    spec = RunSpec(
        run="session-1/trial-3",
        attempt=1,
        token=os.urandom(8).hex(),
        command=(sys.executable, "-S", str(script)),
        cwd=folder,
        environment={"PATH": os.environ["PATH"]},
        folder=folder / "attempt-1",
        deadline=60.0,
        startup=0.0,
        stall=None,
        log_bytes=1 << 20,
        grace=10.0,
    )
    return replace(spec, **changes)


async def run(spec: RunSpec) -> Outcome:
    """The outcome of a whole run."""
    trainer = Trainer()
    await trainer.start(spec)
    return await asyncio.wait_for(trainer.wait(), 40)


async def until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for a condition; fail when it does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the awaited condition did not come true"
        await asyncio.sleep(0.01)


def noted(folder: Path) -> list[int]:
    """The process ids that a trainer and its workers wrote down."""
    path = folder / "pids"
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def alive(pid: int) -> bool:
    """Whether a process runs; remains that nobody reaped do not."""
    try:
        return state(pid) not in ("Z", "X")
    except FileNotFoundError:
        return False


def state(pid: int) -> str:
    """The letter of a process's state in /proc."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def save(spec: RunSpec, folder: Path) -> None:
    """Put a RunSpec where this program finds it."""
    (folder / "run.json").write_text(json.dumps(asdict(spec), default=str))


def load(folder: Path) -> RunSpec:
    fields = json.loads((folder / "run.json").read_text())
    paths = {name: Path(fields[name]) for name in ("cwd", "folder")}
    return RunSpec(**{**fields, **paths, "command": tuple(fields["command"])})


def spawned_of(folder: Path) -> Spawned:
    """Whom the engine of that folder started."""
    return Spawned(**json.loads((folder / "spawned.json").read_text()))


async def engine(folder: Path) -> None:
    """Start and follow the run, and leave what was learnt."""
    trainer = Trainer()
    seen: list[tuple[Progress, int]] = []

    async def note(progress: Progress, offset: int) -> None:
        seen.append((progress, offset))

    spawned = await trainer.start(load(folder))
    (folder / "spawned.part").write_text(json.dumps(asdict(spawned)))
    (folder / "spawned.part").rename(folder / "spawned.json")
    outcome = await trainer.wait(note)
    (folder / "outcome.part").write_text(json.dumps({**asdict(outcome), "progress": len(seen)}))
    (folder / "outcome.part").rename(folder / "outcome.json")


if __name__ == "__main__":
    asyncio.run(engine(Path(sys.argv[1])))
