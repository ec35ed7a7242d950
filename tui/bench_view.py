"""`bilevel bench --view`: what looking at a session costs, on the screen and behind it.

Behind it: opening a long session, going to any of its events, asking whether there is more, on a record that is written
for it (engine/tools/bench_record.py). On the screen: tui/bench_screen.py. The figures are of this machine at this
moment; they are printed, never tested. A machine that does something else besides gives other ones: the load is said.
"""

import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from engine.tools.bench_figure import Figure, Say
from engine.tools.bench_record import SESSION, write_session
from tui.feed import Feed

EVENTS = 1_000_000
QUICK_EVENTS = 30_000
OPENINGS = 5
SEEKS = 300
POLLS = 2000


def run_view_bench(say: Say = print, *, quick: bool = False) -> list[Figure]:
    """All figures; `say` is told what is being measured, as it takes about three minutes. `quick`: a few seconds of it,
    which show that it can be measured and are no good as figures.
    """
    from tui.bench_screen import QUICK, Extent, screen_figures

    figures = screen_figures(say, QUICK if quick else Extent())
    events = QUICK_EVENTS if quick else EVENTS
    say(f"a session of {events:,} events")
    figures += view_figures(events, trials=events // 625)
    for figure in figures:
        say(figure.line())
    say("load of the machine: " + ", ".join(f"{load:.1f}" for load in os.getloadavg()))
    return figures


def view_figures(events: int, trials: int) -> list[Figure]:
    """Write a session of about so many events in a temporary directory (half a minute a million) and measure."""
    with tempfile.TemporaryDirectory(prefix="bilevel-bench-") as folder:
        db = Path(folder) / "sessions.db"
        write_session(db, events, trials)
        return measure_view(db, SESSION)


def measure_view(db: Path, session: str) -> list[Figure]:
    """The figures of a session that is there."""
    began = time.process_time()
    openings = [_milliseconds(lambda: Feed(db, session).close()) for _ in range(OPENINGS)]
    core = 1000 * (time.process_time() - began) / OPENINGS
    with Feed(db, session) as feed:
        chosen = random.Random(0)
        seeks = [_milliseconds(lambda: feed.seek(chosen.randint(1, feed.head))) for _ in range(SEEKS)]
        feed.follow()
        polls = [_milliseconds(feed.poll) for _ in range(POLLS)]
        what = f"a session of {feed.head:,} events"
    return [
        Figure(f"{what}: opening, median", statistics.median(openings), "ms", 150.0),
        Figure("the same, time of a core, mean", core, "ms"),
        Figure("the same: to any event, 95th percentile", statistics.quantiles(seeks, n=20)[-1], "ms", 50.0),
        Figure("the same: to any event, the slowest, at first", max(seeks), "ms"),
        Figure("the same: asking for more in vain, 95th percentile", statistics.quantiles(polls, n=20)[-1], "ms", 0.2),
    ]


def _milliseconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return 1000 * (time.perf_counter() - began)
