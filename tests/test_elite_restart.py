"""Restarts from elites: when the search is stuck, where it is led, and that this helps one out of a valley."""

from pathlib import Path

import pytest
from mechanism_hosts import SPACE, HostMaker, Json, host_of, state, trial
from searches import Runs, proposing, search
from shipped import SOURCES, activate, told

from engine.levels.protocols import Watch
from engine.mechanism.client import MechanismHost
from engine.mechanism.validation import validate
from engine.record.events import TrialStarted
from engine.training.judging import RunResult

__all__ = ["host_of"]

SOURCE = SOURCES["elite_restart"]
FAR: Json = {"TOTAL_BATCH_SIZE": 2**10, "MATRIX_LR": 0.01, "ADAM_BETAS": [0.6, 0.95]}
OTHER: Json = {"HEAD_DIM": 64, "WEIGHT_DECAY": 0.9}
"""Two good places: the incumbent is the baseline, at 4.0."""


def history(idle: int, sign: int = 1, **fields: object) -> list[Json]:
    """A baseline, two good places, and poor trials near the incumbent until it has led for so many trials."""
    known = [trial(0, metric=sign * 4.0), trial(1, FAR, sign * 4.1), trial(2, OTHER, sign * 4.2)]
    return known + [
        trial(n, {"WEIGHT_DECAY": 0.2 + n / 1000}, sign * (4.3 + n / 10), **fields) for n in range(3, idle + 1)
    ]


async def base_of(host: MechanismHost, number: int, incumbent: int = 0) -> int | None:
    answer = await host.call("steer", state(incumbent=incumbent), {}, trial=number)
    return None if answer is None else answer["base"]  # type: ignore[no-any-return]


async def led(host: MechanismHost, trials: list[Json]) -> list[int | None]:
    """The base that the model is led to before each trial."""
    await host.start()
    bases = []
    for known in trials:
        await host.observe(known, 0)
        bases.append(await base_of(host, known["number"] + 1))
    return bases


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
async def test_a_stuck_search_is_led_to_elites_in_turn_and_back_to_the_incumbent(
    host_of: HostMaker, direction: str
) -> None:
    sign = 1 if direction == "minimize" else -1
    bases = await led(host_of(SOURCE, direction=direction), history(28, sign))
    assert bases[:6] == [None] * 6  # its patience
    assert bases[6:10] == [1] * 4
    assert bases[10:16] == [None] * 6
    assert bases[16:20] == [2] * 4
    assert bases[20:26] == [None] * 6
    assert bases[26:] == [1] * 3


async def test_a_new_incumbent_ends_the_excursion(host_of: HostMaker) -> None:
    host = await told(host_of(SOURCE), *history(7))
    assert await base_of(host, 8) == 1
    await host.observe(trial(10, {**FAR, "HEAD_DIM": 16}, 3.9, base=1, status="keep"), 10)
    assert await base_of(host, 11, incumbent=10) is None


async def test_a_confirmed_incumbent_is_no_new_one(host_of: HostMaker) -> None:
    again = trial(9, {}, 4.0, base=0, replicate=0, status="keep")
    assert await base_of(await told(host_of(SOURCE), *history(8), again), 10) == 1


async def test_an_excursion_follows_what_betters_its_elite(host_of: HostMaker) -> None:
    host = await told(host_of(SOURCE), *history(6))
    line = [
        trial(7, {"HEAD_DIM": 16}, 4.05, base=1, config={**SPACE.initial, **FAR, "HEAD_DIM": 16}),
        trial(8, {"HEAD_DIM": 8}, 4.5, base=7, config={**SPACE.initial, **FAR, "HEAD_DIM": 8}),
        trial(9, {"HEAD_DIM": 64}, None, base=7, status="crash", config={**SPACE.initial, **FAR, "HEAD_DIM": 64}),
    ]
    bases = [await base_of(host, 7)]
    for known in line:
        await host.observe(known, 0)
        bases.append(await base_of(host, known["number"] + 1))
    assert bases == [1, 7, 7, 7]


async def test_what_lies_near_failed_or_did_badly_is_no_elite(host_of: HostMaker) -> None:
    crash = trial(1, FAR, None, status="crash")
    near = [trial(n, {"WEIGHT_DECAY": 0.2 + n / 100}, 4.0 + n / 100) for n in range(2, 10)]
    bad = trial(10, OTHER, 9.0)
    host = await told(host_of(SOURCE), trial(0), crash, *near, bad)
    assert await base_of(host, 11) is None
    assert await host.call("suggest", state(), {}, trial=11) is None


async def test_it_suggests_the_incumbent_with_half_of_what_an_elite_has_different(host_of: HostMaker) -> None:
    host = await told(host_of(SOURCE), *history(9))
    frozen = {"TOTAL_BATCH_SIZE": "person", "MATRIX_LR": "level 1.5"}
    for number, fields in ((10, {}), (11, {"frozen": frozen}), (12, {})):
        for suggestion in await host.call("suggest", state(**fields), {}, trial=number):
            changes = suggestion["changes"]
            parent = FAR if set(changes) <= set(FAR) else OTHER
            assert changes == {name: parent[name] for name in changes} and len(changes) == len(parent) // 2
            assert SPACE.check(changes) is None and not set(changes) & set(fields.get("frozen", {})) - {"MATRIX_LR"}
    young = await told(host_of(SOURCE), *history(5))
    assert await young.call("suggest", state(), {}, trial=6) is None


def valleys(config: Json) -> float:
    """Two valleys: down by LR alone where BATCH is small, to 3.5; down by WD where it is large, from 4.2 to 3.2."""
    if config["BATCH"] < 8192:
        return 3.5 + abs(config["LR"] - 0.4) + 10 * abs(config["WD"] - 0.2)  # type: ignore[no-any-return]
    return 3.2 + 11 * (config["WD"] - 0.5) ** 2  # type: ignore[no-any-return]


class Valleys(Runs):
    """Runs whose metric is the height at their configuration."""

    async def execute(self, started: TrialStarted, watch: Watch | None = None) -> RunResult:
        self.metrics = [valleys(started.config)]
        return await super().execute(started, watch)


async def reached(folder: Path, helped: bool) -> tuple[float, set[int | None]]:
    """The best metric of a model that tries BATCH once, goes down by LR and then tries WD, and its trials' bases."""
    steps: list[Json] = [{"BATCH": 16384}, {"LR": 0.2}, {"LR": 0.3}, {"LR": 0.4}]
    steps += [{"WD": 0.3 + n / 50} for n in range(14)]
    async with search(folder, trials=40) as s:
        s.inner.runs = Valleys(s.journal)
        s.model.by_purpose["propose"] = [proposing({"changes": step}) for step in steps]
        await s.go(8)
        if helped:
            await activate(s, "elite_restart")
        await s.go(len(steps) - 8)
        best = s.view.history.best
        assert best is not None and best.metric is not None
        return best.metric, {known.base for known in s.view.history}


async def test_it_leads_a_stuck_search_out_of_its_valley(tmp_path: Path) -> None:
    (tmp_path / "alone").mkdir()
    metric, bases = await reached(tmp_path / "alone", helped=False)
    assert metric == pytest.approx(3.5) and 1 not in bases
    (tmp_path / "helped").mkdir()
    metric, bases = await reached(tmp_path / "helped", helped=True)
    assert metric < 3.4 and 1 in bases


async def test_it_is_valid_over_a_recorded_search_that_was_stuck(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        changes = [{"BATCH": 16384, "LR": 0.01}, *({"WD": 0.2 + n / 100} for n in range(1, 13))]
        s.model.by_purpose["propose"] = [proposing({"changes": change}) for change in changes]
        s.runs.metrics = [4.1, *(4.2 + n / 10 for n in range(1, 13))]
        await s.go(len(changes))
        problems, evidence = await validate("elite_restart", SOURCE, s.view, s.workshop.host_of)
        assert problems == [] and evidence.steered == 4 and evidence.suggested >= 4
