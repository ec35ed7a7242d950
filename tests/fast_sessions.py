"""Whole sessions over a target that answers at once: a real process, real files, a surface with a known best.

The target's metric is lowest at BATCH = 64, LR = 0.01, WD = 0.1; its baseline starts at BATCH = 1024, and the larger
the batch the worse: the trap of the published task in miniature. The noise has a standard deviation of 0.005.
"""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.record.reader import Reader
from engine.record.schema import RecordError
from engine.record.view import View, fold
from engine.session.startup import Opened, Startup

IMPATIENT = str(Path(__file__).with_name("engine_impatient.py"))
"""The script of an engine with short waits."""

SCRIPT = """\
import math, os, random, sys, time
BATCH = 1024  # tokens in a step; fewer tokens mean more steps
LR = 0.1  # step size
WD = 0.2  # weight decay
MODE = "a"  # one of two kinds
DEPTH = 4  # layers
SECONDS = 0.0  # how long a run takes
CRASHES = 0  # above this batch the run fails
random.seed(int(os.environ["SEED"]))
if CRASHES and BATCH > CRASHES:
    raise MemoryError("out of memory")
loss = 1 + 0.05 * (math.log2(BATCH) - 6) ** 2 + 0.1 * (math.log10(LR) + 2) ** 2 + abs(WD - 0.1)
loss += random.gauss(0, 0.005)
for step in range(4):
    line = f"step {step:05d} ({25 * step}.0%) | loss: {loss + 1 / (step + 1):.6f} | tok/sec: 1,000"
    print(line, end="\\r", flush=True)
    time.sleep(SECONDS / 4)
print("\\n---")
print(f"val_bpb: {loss:.6f}")
print("num_steps: 4")
if os.environ.get("HELD_OUT"):
    print(f"held_out_bpb: {loss + 0.1:.6f}")
"""

TARGET = """\
name = "fast"
command = ["{python}", "-I", "-S", "train.py"]
searched = "train.py"
fixed = ["fixed.py"]
[metric]
name = "val_bpb"
direction = "minimize"
held_out = "held_out_bpb"
[seed]
env = "SEED"
[held_out]
env = "HELD_OUT"
[budget]
seconds_env = "BUDGET"
[limits]
startup = 60
[parameters.BATCH]
kind = "int"
low = 16
high = 65536
log = true
[parameters.LR]
kind = "float"
low = 0.0001
high = 1.0
log = true
[parameters.WD]
kind = "float"
low = 0.0
high = 1.0
[parameters.MODE]
kind = "choice"
choices = ["a", "b"]
[parameters.DEPTH]
kind = "int"
low = 1
high = 8
locked = true
[profile.cpu]
seconds = 0.001
"""


def write_target(folder: Path, seconds: float = 0.0, crashes: int = 0, script: str = SCRIPT) -> Path:
    """A directory with the target; `seconds` is how long a run takes, above the batch `crashes` it fails."""
    folder.mkdir(parents=True, exist_ok=True)
    script = script.replace("SECONDS = 0.0", f"SECONDS = {seconds}").replace("CRASHES = 0", f"CRASHES = {crashes}")
    (folder / "train.py").write_text(script)
    (folder / "fixed.py").write_text("EVALUATION = 'fixed'\n")
    (folder / "target.toml").write_text(TARGET)
    return folder


def plan(target: Path, session: str = "s1", **settings: Any) -> dict[str, Any]:
    """The plan of a new session on the target, approval `auto`, without rehearsals (they cost seconds)."""
    new = {"target": str(target), "profile": "cpu", "approval": "auto", "rehearsal": False, **settings}
    return {"new": new, "session": session}


@contextlib.asynccontextmanager
async def opened(db: Path, what: dict[str, Any], environ: dict[str, str] | None = None) -> AsyncIterator[Opened]:
    """A session opened in this process, closed again at the end."""
    async with contextlib.AsyncExitStack() as stack:
        yield await Startup(db, what, environ or {}, stack).open()


async def run_session(db: Path, what: dict[str, Any], environ: dict[str, str] | None = None) -> View:
    """A session from its start to its end in this process."""
    async with opened(db, what, environ) as session:
        await session.session.run()
        return session.journal.view


def read_view(db: Path, session: str = "s1") -> View:
    """The view as a viewer folds it from the database."""
    with Reader(db) as reader:
        return fold((row.seq, row.time, row.event) for row in reader.events(session))


def events(db: Path, session: str = "s1", *kinds: str) -> list[Any]:
    """The events of a session, of these kinds if any are named."""
    with Reader(db) as reader:
        return [row.event for row in reader.events(session, kinds=list(kinds) or None)]


def start_engine(db: Path, what: dict[str, Any], script: str = "-m engine", **environ: str) -> subprocess.Popen[bytes]:
    """An engine as a process of its own, as the launcher starts it."""
    with (db.parent / "engine.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *script.split(), "--db", str(db)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=log,
            cwd=Path(__file__).parents[1],
            env={**os.environ, **environ},
            start_new_session=True,
        )
    assert process.stdin is not None
    process.stdin.write(json.dumps(what).encode())
    process.stdin.close()
    return process


async def until(condition: Any, seconds: float = 30.0) -> None:
    """Wait for a condition, asked every 10 ms; an AssertionError after so many seconds."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not met within {seconds} s: {condition}") from None


def left_behind(folder: Path = Path("/")) -> list[int]:
    """Processes of trials whose files lie in `folder`: other sessions of this machine have theirs elsewhere."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and b"BILEVEL_TOKEN=" in (entry / "environ").read_bytes():
                where = (entry / "cmdline").read_bytes() + os.fsencode((entry / "cwd").readlink())
                if os.fsencode(folder) in where:
                    found.append(int(entry.name))
    return found


@contextlib.contextmanager
def engine_of(db: Path, what: dict[str, Any]) -> Iterator[subprocess.Popen[bytes]]:
    """An engine with short waits; it is killed if the test leaves it running."""
    db.parent.mkdir(exist_ok=True)
    process = start_engine(db, what, IMPATIENT)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def completed(db: Path) -> int:
    """Trials that the record knows as done."""
    try:
        return read_view(db).completed
    except (InputError, RecordError):
        return -1


async def ended(process: subprocess.Popen[bytes], db: Path) -> None:
    assert await asyncio.to_thread(process.wait, 60) == 0, (db.parent / "engine.log").read_text()[-3000:]


def check_whole(db: Path, trials: int) -> None:
    """A full session: one result a run, an unbroken chain, no process left."""
    view = read_view(db)
    assert (view.status, view.completed) == ("finished", trials)
    results = Counter(event.run for event in events(db, "s1", "trial_finished"))
    assert set(results.values()) == {1} and len(results) == 3 + trials
    with Reader(db) as reader:
        assert reader.verify("s1") == view.seq
    assert left_behind(db.parent) == []
