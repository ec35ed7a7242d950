"""Every shipped mechanism at every moment: it never fails, says nothing that may not run, and repeats itself."""

from typing import Any

import pytest
from mechanism_hosts import SPACE, HostMaker, Json, host_of, proposal, state, trial
from shipped import SOURCES

from engine.mechanism.client import MechanismHost
from engine.mechanism.contract import HOOKS

__all__ = ["host_of"]

CURVE = [[n / 10, 5.0 - n / 10] for n in range(1, 11)]
CHANGES: list[Json] = [
    {"TOTAL_BATCH_SIZE": 2**15, "MATRIX_LR": 0.002},
    {"DEVICE_BATCH_SIZE": 4},
    {"MATRIX_LR": 0.4},
    {"WEIGHT_DECAY": 0.0, "WARMUP_RATIO": 0.5},
    {"HEAD_DIM": 8},
    {"ADAM_BETAS": [0.99, 0.999]},
]
METRICS = [4.4, None, 3.9, 4.6, None, 3.8, 4.1, None, 4.2, 4.0, 4.3, 4.5]
MIXED = [
    trial(
        n,
        CHANGES[n % len(CHANGES)],
        metric,
        status="crash" if metric is None else "keep" if metric == 3.9 else "discard",
        verdict=None if metric is None else "better" if metric < 4.0 else "worse",
        curve=[[0.2, None]] if metric is None else [[f, loss + n / 50] for f, loss in CURVE],
    )
    for n, metric in enumerate(METRICS, 1)
]
HISTORIES: dict[str, list[Json]] = {
    "nothing": [],
    "the baseline alone": [trial(0, curve=CURVE)],
    "a baseline without a metric": [trial(0, metric=None, status="crash", curve=[])],
    "crashes alone": [trial(0, curve=CURVE), *(trial(n, c, None, status="crash") for n, c in enumerate(CHANGES, 1))],
    "everything": [trial(0, curve=CURVE), *MIXED],
    "a long one without a keep": [
        trial(0, curve=CURVE),
        *(trial(n, CHANGES[n % len(CHANGES)], 4.1 + n / 10, curve=CURVE) for n in range(1, 31)),
    ],
}
FREEZES: list[Json] = [
    {},
    {"MATRIX_LR": "person", "HEAD_DIM": "level 1.5"},
    dict.fromkeys([name for name in SPACE.parameters if name != "DEPTH"], "person"),
]


async def answers(host: MechanismHost, history: list[Json]) -> list[Any]:
    """What every hook says at this moment, in every state."""
    await host.start()
    incumbent = None
    for known in history:
        incumbent = known["number"] if known["status"] == "keep" or incumbent is None else incumbent
        await host.observe(known, incumbent)
    number = len(history)
    running = {"step": 3, "tokens_per_second": None, "changes": {"HEAD_DIM": 64}}
    arguments: dict[str, list[Json]] = {
        "choose": [{"proposals": [proposal({"HEAD_DIM": 64}), proposal({"WEIGHT_DECAY": 0.4})]}],
        "review": [{"proposal": proposal(changes)} for changes in CHANGES] if history else [],
        "accept": [{"trial": trial(number, {"HEAD_DIM": 64}, 4.05)}],
        "watch": [
            {"progress": {**running, "fraction": f, "loss": loss}}
            for f, loss in ((None, None), (0.5, None), (None, 4.0), (0.5, 4.5), (0.5, 40.0))
        ],
    }
    said = []
    for frozen in FREEZES:
        for fields in ({"noise": None, "trials_left": None}, {"noise": 0.0, "trials_left": 1}, {"noise": 0.02}):
            told = state(incumbent=incumbent, frozen=frozen, **fields)
            for hook in HOOKS:
                for args in arguments.get(hook, [{}]) if hook != "observe" else []:
                    answer = await host.call(hook, told, args, trial=number)
                    said.append(answer)
                    if hook == "suggest":
                        await check(answer or [], history, frozen, incumbent)
                    if hook == "steer" and answer and "base" in answer:
                        assert answer["base"] in {known["number"] for known in history}
    return said


async def check(suggestions: list[Json], history: list[Json], frozen: Json, incumbent: int | None) -> None:
    """Suggestions may run, have not run, and leave alone what a person froze."""
    bound = [name for name, who in frozen.items() if who == "person"]
    base = next(known["config"] for known in history if known["number"] == incumbent) if history else SPACE.initial
    for suggestion in suggestions:
        assert SPACE.check(suggestion["changes"], base, bound) is None
        assert all(known["config"] != {**base, **suggestion["changes"]} for known in history)


@pytest.mark.parametrize("direction", ["minimize", pytest.param("maximize", marks=pytest.mark.long)])
@pytest.mark.parametrize("name", sorted(SOURCES))
async def test_no_moment_makes_it_fail_and_the_same_one_gives_the_same_answers(
    host_of: HostMaker, name: str, direction: str
) -> None:
    for history in HISTORIES.values():
        first, second = (host_of(SOURCES[name], direction=direction) for _ in range(2))
        assert await answers(first, history) == await answers(second, history)
        await first.close()
        await second.close()
