"""What a rehearsal finds in a record: a known effect, none where there is none, and when nothing can be said."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rehearsed_records import (
    HARMS,
    HELPS,
    IDLE,
    NOISE,
    REVIEW,
    RUINS,
    SPACE,
    SPARE,
    measured_before,
    mechanism,
    more,
    recorded,
    truth,
    view_of,
    written,
)

from engine.mechanism import process
from engine.mechanism.client import MechanismHost
from engine.mechanism.failures import MechanismError
from engine.record import events as ev
from engine.rehearsal import effect
from engine.rehearsal.effect import compared, expected_effect, mean_effect
from engine.rehearsal.evidence import Expected
from engine.rehearsal.proposing import habits_of
from engine.rehearsal.simulation import World, searched
from engine.search.parameters import Config, space_to_json

Rehearsed = Callable[..., Awaitable[Expected]]
BOTH_WAYS: dict[str, Any] = {"ways": (-1, 1), "spread": 0.92}
"""A record whose model goes both ways, and has only begun."""
UPWARDS: dict[str, Any] = {"count": 6, "spread": 0.0, "function": more, "settings": {"trials": 36}}
"""A search that has only begun, whose model goes the way on which everything is better: much is still to be lost."""
LATE = 205
"""A trial that only a rehearsed search of 200 recorded ones comes to."""


@pytest.fixture
async def rehearsed(tmp_path: Path) -> AsyncIterator[Rehearsed]:
    """Rehearses a source on a record, and leaves nothing behind."""

    async def rehearse(source: str, *events: ev.Event, imported: Any = (), **options: Any) -> Expected:
        view = view_of([*recorded(**options, sources=[source]), *events])
        [known] = view.mechanisms.values()
        return await expected_effect(view, known, source, tmp_path / "hosts", imported=imported)

    yield rehearse
    assert not (tmp_path / "hosts").exists() or not os.listdir(tmp_path / "hosts")  # noqa: PTH208


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer searches, where it is not the width of the interval that is asked about."""
    monkeypatch.setattr(effect, "FUNCTIONS", 4)


# --- known effects ----------------------------------------------------------------------------------------------------
async def test_what_helps_is_better_and_its_interval_excludes_zero(rehearsed: Rehearsed) -> None:
    told = await rehearsed(HELPS)
    assert told.interval is not None and told.effect is not None and told.skill is not None
    assert told.says == "better" and told.interval[0] <= told.effect <= told.interval[1] < 0
    assert (told.replications, told.horizon, told.data) == (32, 15, 203)
    assert told.skill > 0.9 and told.acted > 5
    assert told.reason == "the best after 15 more trials would be lower with it than without"


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in (1, 2))])
async def test_what_harms_is_worse_and_its_interval_excludes_zero(
    tmp_path: Path, rehearsed: Rehearsed, seed: int
) -> None:
    told = await rehearsed(RUINS, imported=measured_before(seed, more), seed=seed, **UPWARDS)
    assert told.interval is not None
    assert told.says == "worse" and told.interval[0] > 0
    assert told.reason == "the best after 30 more trials would be higher with it than without"
    lost, _ = await on_the_target(tmp_path, RUINS, told.horizon, seed=seed, **UPWARDS)
    assert lost > 10 * NOISE, "the case is meant to be one in which much is lost"


async def test_what_does_nothing_has_no_effect(rehearsed: Rehearsed) -> None:
    told = await rehearsed(IDLE, count=60)
    assert (told.says, told.effect, told.interval, told.acted) == ("no clear effect", 0.0, [0.0, 0.0], 0.0)
    assert told.reason == "it did not act in 32 searches of 15 trials"


async def test_what_the_same_source_did_when_it_was_active_before_is_no_act_of_the_rehearsal(
    rehearsed: Rehearsed, few: None
) -> None:
    known: dict[str, Any] = {"hash": written(IDLE).hash, "name": "idle", "trial": 30}
    acted = ev.MechanismActed(hook="suggest", **known)
    retired = ev.MechanismDeactivated(status="retired", by="model", **known)
    told = await rehearsed(IDLE, ev.MechanismActivated(**known), acted, retired, count=30)
    assert (told.acted, told.reason) == (0.0, "it did not act in 8 searches of 15 trials")


@pytest.mark.long
async def test_what_acts_on_what_decides_nothing_has_no_clear_effect(rehearsed: Rehearsed) -> None:
    told = await rehearsed(SPARE, **BOTH_WAYS)
    assert told.interval is not None
    assert told.says == "no clear effect" and told.interval[0] <= 0 <= told.interval[1] and told.acted > 10


async def test_for_a_maximised_metric_higher_is_better(rehearsed: Rehearsed, few: None) -> None:
    told = await rehearsed(HELPS, direction="maximize")
    assert told.interval is not None and told.interval[0] > 0
    assert told.says == "better" and "higher with it" in told.reason


@pytest.mark.long
@pytest.mark.parametrize(
    ("source", "options"),
    [(HELPS, {}), (HARMS, BOTH_WAYS), (SPARE, BOTH_WAYS)],
    ids=["helps", "harms", "spare"],
)
async def test_the_interval_covers_the_effect_on_the_target_itself(
    tmp_path: Path, rehearsed: Rehearsed, source: str, options: dict[str, Any]
) -> None:
    covered = []
    for seed in range(8):
        told = await rehearsed(source, seed=seed, **options)
        assert told.interval is not None
        mean, error = await on_the_target(tmp_path, source, told.horizon, seed=seed, **options)
        low, high = told.interval
        covered.append(low - 2 * error <= mean <= high + 2 * error)
        assert low <= 0 <= high or (told.effect or 0) * mean >= 0, "it is sure of the wrong side"
    assert sum(covered) >= 6, covered  # of eight 95 % intervals fewer hold it with a chance of 0.6 %


async def on_the_target(folder: Path, source: str, horizon: int, **options: Any) -> tuple[float, float]:
    """The effect in searches on the function that the record is of: the mean of 16, and its standard error."""
    view = view_of(recorded(**options, sources=[source]))
    [known] = view.mechanisms.values()

    async def open_host(_: object) -> MechanismHost:
        space = space_to_json(view.space)
        return MechanismHost(source, session="s1", space=space, direction="minimize", folder=folder / "hosts")

    function = options.get("function", truth)
    worlds = [[World(function, lambda config: 0.0, NOISE, (99, index)) for index in range(16)]]
    [pairs] = await compared(view, worlds, habits_of(view), horizon, known.hash, open_host)
    gaps = np.array([after.value - before.value for before, after in pairs])
    return float(gaps.mean()), float(gaps.std(ddof=1)) / 4


# --- nothing can be said ----------------------------------------------------------------------------------------------
async def test_too_few_trials_say_nothing(rehearsed: Rehearsed) -> None:
    told = await rehearsed(HELPS, count=6)
    assert (told.says, told.effect, told.interval) == ("too few data", None, None)
    assert "configurations have a valid metric, and 10 are needed" in told.reason


async def test_a_model_that_has_proposed_little_says_nothing(rehearsed: Rehearsed) -> None:
    told = await rehearsed(HELPS, count=40, spread=0.95)
    assert (told.says, told.reason) == ("too few data", "the model made 2 proposals, and 5 show how it proposes")


async def test_a_metric_that_cannot_be_predicted_says_nothing(rehearsed: Rehearsed) -> None:
    told = await rehearsed(HELPS, count=40, function=lambda config: 1.0)
    assert told.says == "too few data" and told.skill is not None and told.skill <= 0
    assert "predicts no better than their mean" in told.reason


async def test_what_only_watches_is_not_simulated(rehearsed: Rehearsed) -> None:
    told = await rehearsed(mechanism("watcher", "def watch(self, view, progress):\n    return 'enough'"), count=40)
    assert (told.says, told.replications) == ("not simulated", 0)
    assert told.reason == "it acts on running trials alone, and no training is simulated"


async def test_hooks_that_are_not_simulated_are_said(rehearsed: Rehearsed, few: None) -> None:
    body = "def watch(self, view, progress):\n    return None\n\ndef suggest(self, view):\n    return None"
    told = await rehearsed(mechanism("both", body), count=30)
    assert told.reason.endswith("; what its watch would do is not simulated")


async def test_imported_trials_of_the_same_space_count_and_others_are_passed_over(
    rehearsed: Rehearsed, few: None
) -> None:
    rng = np.random.default_rng(1)
    configs = [
        {**SPACE.initial, "BATCH": int(2 ** rng.uniform(4, 16)), "RATE": 10 ** rng.uniform(-4, 0)} for _ in range(30)
    ]
    fitting: list[tuple[Config, float]] = [(config, truth(config)) for config in configs]
    strange: list[tuple[Config, float]] = [({"BATCH": 64}, 1.0), ({**SPACE.initial, "RATE": 7.0}, 1.0)]
    strange.append(({**SPACE.initial, "RATE": 0.5}, float("nan")))
    told = await rehearsed(IDLE, count=8, spread=0.3, imported=[*fitting, *strange])
    assert told.data == 8 + 3 + 30 and told.says == "no clear effect"


# --- the search that is rehearsed is the engine's ---------------------------------------------------------------------
async def test_a_persons_freeze_binds_the_mechanism_in_the_rehearsal_too(rehearsed: Rehearsed, few: None) -> None:
    told = await rehearsed(HELPS, ev.ParameterFrozen(name="BATCH"), count=60)
    assert (told.acted, told.effect) == (0.0, 0.0)


async def test_a_mechanism_that_fails_late_is_taken_out_as_in_a_session(rehearsed: Rehearsed, few: None) -> None:
    body = f"def review(self, view, proposal):\n    if len(view.trials) > {LATE}:\n        raise ValueError('late')"
    told = await rehearsed(mechanism("late", body))
    assert told.says == "no clear effect" and told.reason.endswith("; it failed in 8 of 8 searches")


async def test_a_mechanism_whose_process_dies_ends_no_rehearsal(rehearsed: Rehearsed, few: None) -> None:
    body = f"def review(self, view, proposal):\n    if len(view.trials) > {LATE}:\n        [0] * 10**10"
    told = await rehearsed(mechanism("greedy", body))
    assert told.says == "no clear effect" and "it failed in 8 of 8 searches" in told.reason


async def test_it_runs_in_no_weaker_sandbox_than_it_was_tested_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "HOST", Path(__file__).with_name("weak_host.py"))
    weak = {"WEAK": "no seccomp", "WEAK_ROOT": str(Path(__file__).parent.parent)}
    monkeypatch.setattr(process, "ENVIRONMENT", {**process.ENVIRONMENT, **weak})
    view = view_of(recorded(40, sources=[HELPS]))
    [known] = view.mechanisms.values()
    with pytest.raises(MechanismError, match="A is asked for"):
        await expected_effect(view, known, HELPS, tmp_path, "A")


async def test_both_searches_of_a_pair_see_the_same_world_until_the_mechanism_acts(tmp_path: Path) -> None:
    body = REVIEW.format(changes="{'BATCH': 512}").replace("not proposal.changes", "len(view.trials) < 66")
    view = view_of(recorded(60, sources=[mechanism("late", body)]))
    [known] = view.mechanisms.values()
    tried: list[Config] = []

    def value(config: Config) -> float:
        tried.append(config)
        return truth(config)

    async def open_host(_: object) -> MechanismHost:
        space, source = space_to_json(view.space), mechanism("late", body)
        return MechanismHost(source, session="s1", space=space, direction="minimize", folder=tmp_path)

    world = World(value, lambda config: 0.0, NOISE, (7,))
    await searched(view, world, habits_of(view), 12, None, open_host)
    alone = tried.copy()
    tried.clear()
    ended = await searched(view, world, habits_of(view), 12, known.hash, open_host)
    assert tried[:5] == alone[:5] and tried[5] != alone[5] and tried[5]["BATCH"] == 512
    assert ended.acts > 0 and (view.completed, view.active, known.acted) == (60, [], 0)  # the view is left as it was


# --- the interval -----------------------------------------------------------------------------------------------------
def test_the_interval_of_equal_differences_is_the_difference() -> None:
    assert mean_effect(np.zeros((16, 2))) == (0.0, 0.0, 0.0)
    assert mean_effect(np.full((16, 2), -0.25)) == (-0.25, -0.25, -0.25)


def test_more_searches_make_luck_cancel_out_and_not_what_is_unknown_of_the_target() -> None:
    rng = np.random.default_rng(0)

    def width(of_function: float, luck: float, searches: int) -> float:
        widths = []
        for _ in range(200):
            functions = rng.standard_normal((16, 1)) * of_function
            _, low, high = mean_effect(functions + luck * rng.standard_normal((16, searches)))
            widths.append(high - low)
        return float(np.mean(widths))

    assert width(0.0, 1.0, 32) < 0.4 * width(0.0, 1.0, 2)
    assert width(1.0, 0.1, 32) > 0.9 * width(1.0, 0.1, 2)


@pytest.mark.parametrize(("of_function", "luck"), [(0.0, 1.0), (1.0, 0.0), (1.0, 1.0), (0.3, 1.0)])
def test_the_interval_holds_the_effect_on_one_more_function(of_function: float, luck: float) -> None:
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        effects = rng.standard_normal(17) * of_function
        _, low, high = mean_effect(effects[:16, None] + luck * rng.standard_normal((16, 2)))
        held += low <= effects[16] <= high
    assert held / 2000 > 0.92
