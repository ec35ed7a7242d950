"""`bilevel bench`: what the engine costs while a trial trains and between two trials, and what mechanisms cost.

A session runs in a temporary directory with the offline stand-in, over the baseline's real script and parameters, but
with a trainer that computes nothing and prints progress like the real one: what is measured is the engine. The figures
are of this machine at this moment; they are printed, never tested.
"""

import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from engine.record.events import TrialFinished
from engine.record.reader import Reader
from engine.record.settings import Settings
from engine.record.view import View, fold
from engine.tools.bench_figure import Figure, Say, cpu_seconds, resident_mb
from engine.tools.bench_mechanism import mechanism_figures
from engine.tools.launch import start_engine

TRAINER = """\
import re, sys, time
began = time.time()
batch = eval(re.search(r"^TOTAL_BATCH_SIZE = ([0-9* ]+)", open("train.py").read(), re.M)[1])
seconds = float(sys.argv[1])
steps = max(1, int(seconds / 0.05))
for step in range(steps):
    line = f"step {step:05d} ({100 * step / steps:.1f}%) | loss: {9 - 4 * step / steps:.6f} | lrm: 1.00 | dt: 50ms"
    print(line + " | tok/sec: 50,000 | mfu: 0.0% | epoch: 1 | remaining: 1s", end="\\\\r", flush=True)
    time.sleep(0.05)
print("\\\\n---")
print(f"val_bpb:          {2 + batch / 100_000:.6f}")
print(f"training_seconds: {seconds}")
print(f"num_steps:        {steps}")
print(f"began:            {began:.6f}")
print(f"ended:            {time.time():.6f}")
"""
WATCHED_SECONDS = 8.0
TRIALS = 12


def run_bench(say: Say = print) -> list[Figure]:
    """All figures; `say` is told what is being measured, as it takes about half a minute."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="bilevel-bench-") as folder:
        say(f"1 of 3: the engine while a trial trains ({WATCHED_SECONDS:.0f} s)")
        figures += _while_training(Path(folder) / "cost")
        say(f"2 of 3: from the end of a trial to the next process ({TRIALS} trials)")
        figures += _between_trials(Path(folder) / "gap")
        say("3 of 3: mechanisms and their hosts")
        figures += mechanism_figures(Path(folder) / "hosts")
    for figure in figures:
        say(figure.line())
    return figures


def _while_training(folder: Path) -> list[Figure]:
    db = folder / "sessions.db"
    pid = _start(folder, seconds=WATCHED_SECONDS + 4, trials=1)
    _wait(lambda: (view := _view(db)).running is not None and view.running.progress is not None)
    before, began = cpu_seconds(pid), time.monotonic()
    resident = 0.0
    while time.monotonic() - began < WATCHED_SECONDS:
        time.sleep(0.5)
        resident = max(resident, resident_mb(pid))
    cost = (cpu_seconds(pid) - before) / (time.monotonic() - began)
    _stop(db, pid)
    return [
        Figure("engine while a trial trains, part of a core", 100 * cost, "%", 2.0),
        Figure("engine while a trial trains, resident", resident, "MB", 120.0),
    ]


def _between_trials(folder: Path) -> list[Figure]:
    db = folder / "sessions.db"
    pid = _start(folder, seconds=0.3, trials=TRIALS)
    _wait(lambda: _view(db).status in ("finished", "failed"))
    with Reader(db) as reader:
        rows = [row.event for row in reader.events("bench", kinds=["trial_finished"])]
    runs = [event for event in rows if isinstance(event, TrialFinished) and event.role == "search"]
    gaps = [
        1000 * (later.values["began"] - earlier.values["ended"])
        for earlier, later in pairwise(runs)
        if "ended" in earlier.values and "began" in later.values
    ]
    _wait(lambda: not Path(f"/proc/{pid}/cmdline").exists() or _is_zombie(pid))
    return [
        Figure("end of a trial to the next script's first line, median", statistics.median(gaps), "ms", 100.0),
        Figure("the same, largest, rehearsals and injections included", max(gaps), "ms", 100.0),
    ]


def _start(folder: Path, seconds: float, trials: int) -> int:
    target = folder / "target"
    shutil.copytree(Path(__file__).parents[2] / "baseline", target, ignore=shutil.ignore_patterns("__pycache__"))
    (target / "bench.py").write_text(TRAINER.replace("\\\\", "\\"))
    text = (target / "target.toml").read_text()
    command = f'command = ["{{python}}", "-I", "-S", "bench.py", "{seconds}"]'
    lines = [command if line.startswith("command =") else line for line in text.splitlines()]
    (target / "target.toml").write_text("\n".join(lines) + "\n")
    settings = Settings(
        target=str(target),
        profile="cpu",
        seconds=seconds,
        trials=trials,
        baseline_runs=2,
        confirm=False,
        approval="auto",
    )
    plan: dict[str, Any] = {
        "new": {name: getattr(settings, name) for name in settings.__struct_fields__},
        "session": "bench",
    }
    return start_engine(folder / "sessions.db", plan).pid


def _stop(db: Path, pid: int) -> None:
    from engine.control import send
    from engine.record.lock import holder

    running = holder(db)
    if running is not None:
        send(Path(running.socket), "stop", {"now": True})
    _wait(lambda: not Path(f"/proc/{pid}").exists() or _is_zombie(pid))


def _view(db: Path) -> View:
    with Reader(db) as reader:
        return fold((row.seq, row.time, row.event) for row in reader.events("bench"))


def _wait(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the session that is measured does not get on")
        time.sleep(0.1)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True
