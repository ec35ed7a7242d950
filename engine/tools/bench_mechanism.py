"""What a mechanism costs: its host from spawn to ready, a call late in a long search, and a host that is replaced.

The hosts are real, in the sandbox that this machine gives. The history is made up: trials over a space like the
baseline's, each with a loss curve, as a search of that length would leave them.
"""

import asyncio
import contextlib
import os
import random
import signal
import statistics
import time
from pathlib import Path
from typing import Any

from engine.mechanism.client import MechanismHost
from engine.mechanism.contract import ViewState
from engine.mechanism.trust import shipped_sources
from engine.search.parameters import Config, Parameter, Space, space_to_json
from engine.tools.bench_figure import Figure, median_and_p95

SPAWNS = 20
RESPAWNS = 5
CALLS = 100
HISTORY = 200
"""Trials that a mechanism knows of when its calls are measured."""
CURVE = 100
"""Points of a trial's curve."""
READY_GOAL, CALL_GOAL = 100.0, 5.0
"""Milliseconds."""
SPACE = Space(
    {
        "TOTAL_BATCH_SIZE": Parameter("TOTAL_BATCH_SIZE", "int", 2**14, 512, 2**17, log=True),
        **{
            name: Parameter(name, "float", value, value / 100, value * 100, log=True)
            for name, value in (("EMBEDDING_LR", 0.6), ("UNEMBEDDING_LR", 0.004), ("MATRIX_LR", 0.04))
        },
        **{
            name: Parameter(name, "float", value, 0.0, 1.0)
            for name, value in (("WEIGHT_DECAY", 0.2), ("WARMUP_RATIO", 0.0), ("WARMDOWN_RATIO", 0.5))
        },
        "HEAD_DIM": Parameter("HEAD_DIM", "choice", 32, choices=(8, 16, 32, 64)),
        "ADAM_BETAS": Parameter("ADAM_BETAS", "tuple", [0.8, 0.95], [0.5, 0.8], [0.99, 0.999]),
    }
)
STATE = ViewState(
    incumbent=0,
    frozen={},
    noise=0.01,
    trials_left=100,
    strategy="explore",
    guidance="",
    refused=[],
    others=[],
)


def mechanism_figures(folder: Path) -> list[Figure]:
    """All figures; `folder` is where the hosts get theirs."""
    return asyncio.run(_figures(folder))


async def _figures(folder: Path) -> list[Figure]:
    shipped = shipped_sources()
    plain, bandit = shipped["tabu_search"], shipped["multi_scale_bandit"]
    figures = [
        Figure("host of a mechanism, spawn to ready, median", await _ready(folder, plain), "ms", READY_GOAL),
        Figure("the same with numpy, median", await _ready(folder, "import numpy\n" + plain), "ms", READY_GOAL),
    ]
    host = _host(folder, bandit)
    try:
        await host.start()
        for number in range(HISTORY):
            await host.observe(_trial(number), 0)
        calls = [await _timed_call(host) for _ in range(CALLS)]
        figures += median_and_p95(f"a call that knows {HISTORY} trials", calls, "ms", CALL_GOAL)
        replaced = [await _replaced(host) for _ in range(RESPAWNS)]
        name = f"a killed host replaced, {HISTORY} trials told again, median"
        return [*figures, Figure(name, statistics.median(replaced), "ms")]
    finally:
        await host.close()


def _host(folder: Path, source: str) -> MechanismHost:
    return MechanismHost(source, session="bench", space=space_to_json(SPACE), direction="minimize", folder=folder)


async def _ready(folder: Path, source: str) -> float:
    """Milliseconds from the spawn until the mechanism is loaded; the median of many."""
    spent = []
    for _ in range(SPAWNS):
        host = _host(folder, source)
        began = time.perf_counter()
        try:
            await host.start()
            spent.append(1000 * (time.perf_counter() - began))
        finally:
            await host.close()
    return statistics.median(spent)


async def _timed_call(host: MechanismHost) -> float:
    """Milliseconds of one call of a hook that goes through the whole history."""
    began = time.perf_counter()
    await host.call("suggest", STATE, {}, HISTORY)
    return 1000 * (time.perf_counter() - began)


async def _replaced(host: MechanismHost) -> float:
    """Milliseconds of a call whose host was killed before it: a fresh one is started, told everything, and answers."""
    before = host.outlived
    while True:
        assert host.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(host.pid, signal.SIGKILL)
        spent = await _timed_call(host)
        if host.outlived > before:  # else it answered before it was dead
            return spent


def _trial(number: int) -> dict[str, Any]:
    """A completed trial that changed one parameter of the baseline."""
    draw = random.Random(number)
    name = draw.choice(["EMBEDDING_LR", "UNEMBEDDING_LR", "MATRIX_LR"])
    initial = SPACE.parameters[name].value
    assert isinstance(initial, float)
    changes: Config = {name: initial * draw.uniform(0.1, 10)} if number else {}
    metric = draw.uniform(3.9, 4.2)
    return {
        "number": number,
        "base": 0 if number else None,
        "changes": changes,
        "config": {**SPACE.initial, **changes},
        "metric": metric,
        "runs": [metric],
        "status": "discard" if number else "keep",
        "verdict": "worse" if number else None,
        "hypothesis": "A step of this size should help, as the last one did.",
        "replicate": None,
        "proposed_by": "model" if number else "engine",
        "edited_by": [],
        "prediction": None,
        "seconds": 300.0,
        "steps": 950,
        "tokens_per_second": 1_000_000.0,
        "peak_memory_mb": 40_000.0,
        "curve": [[point / CURVE, 9 - 5 * point / CURVE] for point in range(CURVE)],
    }
