"""What the application costs on the screen: its first paint, keys while a trainer prints, bytes to the terminal, rest.

The real command runs in a terminal of 120 x 40 over a session that another process tells (engine/tools/bench_live.py).
A key counts as answered when what it brings to the screen has arrived: the keys, a held screen, the first trial.
"""

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from engine.tools.bench_figure import Figure, Say, median_and_p95
from tui.bench_terminal import Terminal, environment

PAST = 60
"""Trials that lie behind the session that is shown."""
TRIAL_SECONDS = 2.0
_DRAWN = " done,"
"""Part of a title that stands there once the session's own state is drawn."""
_KEYS = (("?", "Esc closes"), ("?", "5 Curve"), (" ", "HELD"), (" ", "alive"), ("g", "the baseline, "))
"""A key, and a text that only its answer brings. The last needs a way back."""
_BACK = "G"


@dataclass(frozen=True)
class Extent:
    """How much is measured: process starts, rounds through the keys, seconds of each rest and of each stream.

    `settling`: seconds after the first paint, before what goes on is measured.
    """

    starts: int = 10
    rounds: int = 40
    seconds: float = 20.0
    settling: float = 2.0


QUICK = Extent(starts=2, rounds=1, seconds=0.5, settling=0.2)


def screen_figures(say: Say, extent: Extent) -> list[Figure]:
    """All figures of the screen; about two minutes, as `Extent()` is."""
    figures: list[Figure] = []
    with _told(lines=20.0, trial_seconds=TRIAL_SECONDS) as folder:
        say(f"the first paint ({extent.starts} starts)")
        figures += _first_paint(folder, extent)
        say(f"bytes to the terminal ({extent.seconds:g} s)")
        figures += _stream(folder, extent)
    with _told(lines=1000.0, trial_seconds=TRIAL_SECONDS) as folder:
        say(f"keys ({extent.rounds * len(_KEYS)})")
        figures += _keys(folder, extent)
    say(f"at rest (twice {extent.seconds:g} s)")
    with _told() as folder:
        figures += _rest(folder, extent, "a running session without news")
    with _told(ended=True) as folder:
        figures += _rest(folder, extent, "a finished session")
    return figures


@contextmanager
def _told(**plan: float | bool) -> Iterator[Path]:
    """A directory with a session that is being told meanwhile."""
    from engine.tools.bench_live import READY  # here, since it loads what a writer of the record needs

    with tempfile.TemporaryDirectory(prefix="bilevel-bench-") as name:
        told = json.dumps({"db": str(Path(name) / "sessions.db"), "past": PAST, **plan})
        command = [sys.executable, "-m", "engine.tools.bench_live", told]
        with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) as teller:
            try:
                if teller.stdout is None or teller.stdout.readline().strip() != READY:
                    raise RuntimeError("the session that is to be shown cannot be told")
                yield Path(name)
            finally:
                teller.terminate()


@contextmanager
def _attached(folder: Path, extent: Extent) -> Iterator[Terminal]:
    """The application, once it has drawn the session and settled."""
    with Terminal(folder, "attach", "last") as terminal:
        terminal.wait_for(_DRAWN)
        terminal.read(extent.settling)
        yield terminal


def _first_paint(folder: Path, extent: Extent) -> list[Figure]:
    walls, cores = [], []
    for _ in range(extent.starts + 1):
        with Terminal(folder, "attach", "last") as terminal:
            terminal.wait_for(_DRAWN)
            walls.append(1000 * terminal.age())
            cores.append(1000 * terminal.cpu_seconds())
    # The first start may have compiled the modules.
    paints = median_and_p95("attach: from process start to the first paint", walls[1:], "ms", 400.0)
    return [*paints, median_and_p95("the same, time of a core", cores[1:], "ms")[0]]


def _stream(folder: Path, extent: Extent) -> list[Figure]:
    with _attached(folder, extent) as terminal:
        sent, core = _over(terminal, extent.seconds)
    return [
        Figure(f"20 lines/s, trials of {TRIAL_SECONDS:g} s: to the terminal", sent, "KiB/s", 30.0),
        Figure("the same, of a core", core, "%"),
    ]


def _keys(folder: Path, extent: Extent) -> list[Figure]:
    pauses = random.Random(0)
    answers = []
    with _attached(folder, extent) as terminal:
        for _ in range(extent.rounds):
            for key, text in _KEYS:
                terminal.read(pauses.uniform(0.15, 0.45))
                terminal.press(key)
                answers.append(1000 * terminal.wait_for(text))
            terminal.press(_BACK)
        core = _over(terminal, extent.seconds)[1]
    return [
        *median_and_p95("1,000 lines/s: from a key to its answer", answers, "ms", 100.0),
        Figure("the same, of a core", core, "%"),
    ]


def _rest(folder: Path, extent: Extent, what: str) -> list[Figure]:
    with _attached(folder, extent) as terminal:
        _, core = _over(terminal, extent.seconds)
        memory = terminal.resident_mb()
    return [Figure(f"{what}: of a core", core, "%", 2.0), Figure("the same, memory", memory, "MB")]


def _over(terminal: Terminal, seconds: float) -> tuple[float, float]:
    """KiB a second to the terminal and percent of a core, over so many seconds."""
    before, core = terminal.bytes, terminal.cpu_seconds()
    terminal.read(seconds)
    return (terminal.bytes - before) / 1024 / seconds, 100 * (terminal.cpu_seconds() - core) / seconds
