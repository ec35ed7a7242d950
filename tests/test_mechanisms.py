"""The shipped mechanisms, each in its host: that they do what they claim, and change what the search tries."""

import re
from typing import Any

import pytest
from mechanism_hosts import SPACE, HostMaker, Json, host_of, proposal, state, trial

from engine.mechanism.client import MechanismHost
from engine.mechanism.trust import shipped_sources

__all__ = ["host_of"]

SOURCES = shipped_sources()
UP, DOWN = {"TOTAL_BATCH_SIZE": 2**15}, {"TOTAL_BATCH_SIZE": 2**13}


async def started(host: MechanismHost, *trials: Json) -> MechanismHost:
    """The host, told of the baseline and of these trials."""
    await host.start()
    for told in (trial(0), *trials):
        await host.observe(told, incumbent=0)
    return host


async def suggested(host: MechanismHost, number: int, **fields: Any) -> list[Json]:
    suggestions = await host.call("suggest", state(**fields), {}, trial=number)
    assert all(SPACE.check(suggestion["changes"]) is None for suggestion in suggestions or ())
    return suggestions or []


@pytest.mark.parametrize("name", sorted(SOURCES))
async def test_each_has_a_name_a_purpose_and_its_literature(host_of: HostMaker, name: str) -> None:
    hello = await host_of(SOURCES[name]).start()
    assert hello.name == name
    assert re.search(r"\b(19|20)\d\d\b", hello.source)


# ---------------------------------------------------------------- tabu search


async def review(host: MechanismHost, changes: Json, number: int = 5, **fields: Any) -> Json | None:
    answer: Json | None = await host.call("review", state(**fields), {"proposal": proposal(changes)}, trial=number)
    return answer


async def test_tabu_turns_a_failed_move_round(host_of: HostMaker) -> None:
    host = await started(host_of(SOURCES["tabu_search"]), trial(1, UP, 4.4))
    answer = await review(host, {"TOTAL_BATCH_SIZE": 2**16})
    assert answer is not None
    assert answer["changes"] == {"TOTAL_BATCH_SIZE": 2**12}
    assert "failed in trial 1" in answer["why"]


async def test_tabu_has_nothing_against_other_moves(host_of: HostMaker) -> None:
    host = await started(host_of(SOURCES["tabu_search"]), trial(1, UP, 4.4))
    for changes in (DOWN, {"MATRIX_LR": 0.08}, {"HEAD_DIM": 64}, {"ADAM_BETAS": [0.9, 0.95]}):
        assert await review(host, changes) is None


async def test_tabu_keeps_the_rest_of_a_proposal(host_of: HostMaker) -> None:
    failed = (trial(1, {"HEAD_DIM": 64}, 4.4), trial(2, {"ADAM_BETAS": [0.9, 0.99]}, 4.1))
    host = await started(host_of(SOURCES["tabu_search"]), *failed)
    answer = await review(host, {"HEAD_DIM": 64, "MATRIX_LR": 0.08})
    assert answer is not None
    assert answer["changes"] == {"MATRIX_LR": 0.08}
    assert await review(host, {"ADAM_BETAS": [0.9, 0.95]}) is None


async def test_tabu_blocks_what_has_no_other_way(host_of: HostMaker) -> None:
    failed = (trial(1, UP, 4.4), trial(2, DOWN, None, status="crash", verdict=None), trial(3, {"HEAD_DIM": 64}, 4.4))
    host = await started(host_of(SOURCES["tabu_search"]), *failed)
    for changes in (UP, DOWN, {"HEAD_DIM": 64}):
        assert set(await review(host, changes) or {}) == {"block"}


async def test_tabu_respects_a_persons_freeze_when_it_turns_a_move_round(host_of: HostMaker) -> None:
    host = await started(host_of(SOURCES["tabu_search"]), trial(1, UP, 4.4))
    assert "block" in (await review(host, UP, frozen={"TOTAL_BATCH_SIZE": "person"}) or {})


async def test_tabu_forgets_after_its_tenure_and_after_a_success(host_of: HostMaker) -> None:
    others = [trial(number, {"WEIGHT_DECAY": 0.2 + number / 100}, 4.4) for number in range(2, 9)]
    host = await started(host_of(SOURCES["tabu_search"]), trial(1, UP, 4.4), *others)
    assert await review(host, UP, number=9) is None
    host = await started(host_of(SOURCES["tabu_search"]), trial(1, UP, 4.4), trial(2, UP, 3.9, status="keep"))
    assert await review(host, UP) is None


async def test_tabu_holds_only_near_where_the_move_failed(host_of: HostMaker) -> None:
    far = trial(1, {"TOTAL_BATCH_SIZE": 2**10}, 3.0, status="keep")
    failed = trial(2, {"TOTAL_BATCH_SIZE": 2**11}, 3.5, base=1)
    host = await started(host_of(SOURCES["tabu_search"]), far, failed)
    assert await review(host, UP) is None


# ---------------------------------------------------------------- the two that suggest


@pytest.mark.parametrize("name", ["multi_scale_bandit", "orthogonal_exploration"])
async def test_after_failed_increases_the_decrease_is_suggested(host_of: HostMaker, name: str) -> None:
    failed = (trial(1, UP, 4.4), trial(2, {"TOTAL_BATCH_SIZE": 2**16}, 4.6))
    host = await started(host_of(SOURCES[name]), *failed)
    assert (await suggested(host, 3))[0]["changes"]["TOTAL_BATCH_SIZE"] < 2**14


@pytest.mark.parametrize("name", ["multi_scale_bandit", "orthogonal_exploration"])
async def test_locked_and_frozen_parameters_are_left_alone(host_of: HostMaker, name: str) -> None:
    frozen = {"TOTAL_BATCH_SIZE": "person", "MATRIX_LR": "level 1.5"}
    host = await started(host_of(SOURCES[name]), trial(1, UP, 4.4), trial(2, {"MATRIX_LR": 0.08}, 4.4))
    names = {key for s in await suggested(host, 3, frozen=frozen) for key in s["changes"]}
    assert names
    assert not names & {"TOTAL_BATCH_SIZE", "DEPTH"}
    assert "MATRIX_LR" in names  # Level 1.5 binds the model alone


@pytest.mark.parametrize("name", sorted(SOURCES))
async def test_the_same_history_gives_the_same_decisions(host_of: HostMaker, name: str) -> None:
    told = [trial(1, UP, 4.4), trial(2, {"HEAD_DIM": 64}, 3.9), trial(3, {"MATRIX_LR": 0.01}, None, status="crash")]
    first, second = await started(host_of(SOURCES[name]), *told), await started(host_of(SOURCES[name]), *told)
    for hook, args in (("suggest", {}), ("review", {"proposal": proposal(UP)})):
        answers = [await host.call(hook, state(), args, trial=4) for host in (first, first, second)]
        assert answers[0] == answers[1] == answers[2]


def metric(config: Json) -> float:
    """Bits per byte, as the CPU baseline's depend on the batch; a little on the rest."""
    by_batch = {17: 4.4, 16: 4.2, 15: 3.7, 14: 3.3, 13: 2.8, 12: 2.5, 11: 2.4, 10: 2.4, 9: 2.4}
    doublings = config["TOTAL_BATCH_SIZE"].bit_length() - 1
    return by_batch[doublings] + abs(config["MATRIX_LR"] - 0.05) + 0.1 * config["WEIGHT_DECAY"]


async def search(host: MechanismHost, trials: int, direction: str = "minimize") -> tuple[Json, int]:
    """Try what is suggested, keep what is better; the last incumbent's configuration and the trials it took."""
    sign = 1 if direction == "minimize" else -1
    await host.start()
    known = [trial(0, metric=sign * metric(SPACE.initial))]
    known += [
        trial(
            n, {"TOTAL_BATCH_SIZE": 2 ** (14 + n)}, sign * metric({**SPACE.initial, "TOTAL_BATCH_SIZE": 2 ** (14 + n)})
        )
        for n in (1, 2)
    ]
    for told in known:
        await host.observe(told, 0)
    best = known[0]
    for number in range(3, 3 + trials):
        suggestions = await host.call("suggest", state(incumbent=best["number"]), {}, trial=number)
        if not suggestions:
            return best["config"], number - 3
        changes = suggestions[0]["changes"]
        assert SPACE.check(changes, best["config"]) is None
        config = {**best["config"], **changes}
        value = sign * metric(config)
        kept = sign * value < sign * best["metric"]
        told = trial(
            number,
            changes,
            value,
            base=best["number"],
            config=config,
            proposed_by=host.hello.name if host.hello else "",
            status="keep" if kept else "discard",
        )
        best = told if kept else best
        await host.observe(told, best["number"])
    return best["config"], trials


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
async def test_the_bandit_finds_the_small_batch_and_goes_on(host_of: HostMaker, direction: str) -> None:
    config, _ = await search(host_of(SOURCES["multi_scale_bandit"], direction=direction), 6, direction)
    assert config["TOTAL_BATCH_SIZE"] <= 2**11


async def test_the_bandit_goes_through_all_steps_from_an_optimum_and_then_falls_silent(host_of: HostMaker) -> None:
    config, trials = await search(host_of(SOURCES["multi_scale_bandit"]), 60)
    assert 10 < trials < 60  # it never repeats a configuration
    assert metric(config) < 2.5
    assert config["WEIGHT_DECAY"] < 0.2


async def test_exploration_covers_every_direction_and_then_falls_silent(host_of: HostMaker) -> None:
    host = host_of(SOURCES["orthogonal_exploration"])
    config, trials = await search(host, 30)
    assert 4 <= trials <= 15
    assert config["TOTAL_BATCH_SIZE"] < 2**14


async def test_exploration_changes_three_at_a_time_the_way_nobody_went_first(host_of: HostMaker) -> None:
    tried = (trial(1, UP, 4.4), trial(2, {"MATRIX_LR": 0.02}, 4.4), trial(3, {"WEIGHT_DECAY": 0.3}, 4.4))
    host = await started(host_of(SOURCES["orthogonal_exploration"]), *tried)
    (suggestion,) = await suggested(host, 4)
    changes = suggestion["changes"]
    assert set(changes) == {"TOTAL_BATCH_SIZE", "MATRIX_LR", "WEIGHT_DECAY"}
    assert changes["TOTAL_BATCH_SIZE"] < 2**14
    assert changes["MATRIX_LR"] > 0.04
    assert changes["WEIGHT_DECAY"] < 0.2


async def test_exploration_runs_the_rows_of_an_orthogonal_array_over_untouched_parameters(host_of: HostMaker) -> None:
    host = await started(host_of(SOURCES["orthogonal_exploration"]))
    rows: list[Json] = []
    for number in range(1, 4):
        rows.append((await suggested(host, number, frozen={"WARMUP_RATIO": "person"}))[0]["changes"])
        await host.observe(trial(number, rows[-1], 4.4, proposed_by="orthogonal_exploration"), 0)
    names = list(rows[0])
    assert len(names) == 3
    assert all(list(row) == names for row in rows)
    signs = [tuple(row[name] > SPACE.initial[name] for name in names) for row in rows]  # type: ignore[operator]
    assert len(set(signs)) == 3
    assert all(
        sum(a != b for a, b in zip(first, second, strict=True)) == 2
        for first in signs
        for second in signs
        if first != second
    )
