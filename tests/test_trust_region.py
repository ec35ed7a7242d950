"""The surrogate in a trust region: that it finds what is better, knows how sure it is, and tells the model."""

from pathlib import Path
from typing import Any

import pytest
from mechanism_hosts import SPACE, HostMaker, Json, host_of, state, trial
from searches import search
from shipped import SOURCES, activate, told

from engine.mechanism.client import MechanismHost
from engine.mechanism.validation import validate

__all__ = ["host_of"]

SOURCE = SOURCES["trust_region"]
START: list[Json] = [
    {"TOTAL_BATCH_SIZE": 2**15},
    {"MATRIX_LR": 0.16},
    {"WEIGHT_DECAY": 0.6},
    {"WARMUP_RATIO": 0.4},
    {"HEAD_DIM": 64},
    {"ADAM_BETAS": [0.9, 0.95]},
]
"""Six trials on the baseline, one change each."""


def metric(config: Json) -> float:
    """Smooth on the parameters' own scales: 3.0 at its best, 3.95 at the baseline."""
    doublings = config["TOTAL_BATCH_SIZE"].bit_length() - 1
    rate = abs(config["MATRIX_LR"] / 0.01)
    height = 3.0 + 0.03 * (doublings - 11) ** 2 + 0.1 * (max(rate, 1 / rate) - 1) ** 0.5
    height += 0.5 * (config["WEIGHT_DECAY"] - 0.6) ** 2 + (config["WARMUP_RATIO"] - 0.2) ** 2
    return height + 2 * (config["ADAM_BETAS"][0] - 0.9) ** 2 + 0.2 * (config["HEAD_DIM"] != 16)  # type: ignore[no-any-return]


async def suggested(host: MechanismHost, number: int, **fields: Any) -> list[Json]:
    """Its suggestions, all of which may run."""
    suggestions = await host.call("suggest", state(**fields), {}, trial=number) or []
    bound = [name for name, who in fields.get("frozen", {}).items() if who == "person"]
    assert all(SPACE.check(known["changes"], frozen=bound) is None for known in suggestions)
    return suggestions


async def on_the_slope(host: MechanismHost, sign: int = 1) -> MechanismHost:
    """The host, told of the first trials on the smooth function."""
    tried = [trial(n, step, sign * metric({**SPACE.initial, **step})) for n, step in enumerate(START, 1)]
    return await told(host, trial(0, metric=sign * metric(SPACE.initial)), *tried)


async def descend(host: MechanismHost, trials: int, sign: int = 1) -> tuple[float, list[tuple[float, float, float]]]:
    """Run its best suggestions; the best metric, and (gain, predicted gain, deviation) of each."""
    await on_the_slope(host, sign)
    best = trial(0, metric=sign * metric(SPACE.initial))
    for n, step in enumerate(START, 1):
        if metric({**SPACE.initial, **step}) < sign * best["metric"]:
            best = trial(n, step, sign * metric({**SPACE.initial, **step}))
    seen, predictions = [], []
    for number in range(len(START) + 1, len(START) + 1 + trials):
        fields: Json = {"incumbent": best["number"], "noise": None}
        suggestion = (await host.call("suggest", state(**fields), {}, trial=number))[0]
        config = {**best["config"], **suggestion["changes"]}
        assert SPACE.check(suggestion["changes"], best["config"]) is None and config not in seen
        seen.append(config)
        value = sign * metric(config)
        predictions.append((sign * (best["metric"] - value), suggestion["gain"], suggestion["sd"]))
        kept = sign * value < sign * best["metric"]
        own: Json = {"config": config, "proposed_by": "trust_region", "status": "keep" if kept else "discard"}
        known = trial(number, suggestion["changes"], value, base=best["number"], **own)
        best = known if kept else best
        await host.observe(known, best["number"])
    return sign * best["metric"], predictions


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
async def test_in_few_trials_it_finds_what_is_far_better_than_the_start(host_of: HostMaker, direction: str) -> None:
    sign = 1 if direction == "minimize" else -1
    started = min(metric({**SPACE.initial, **step}) for step in START)
    found, predictions = await descend(host_of(SOURCE, direction=direction), 16, sign)
    assert found - 3.0 < 0.5 * (started - 3.0)
    off = [abs(gain - predicted) / deviation for gain, predicted, deviation in predictions]
    assert sum(z < 2 for z in off) >= 12  # most lie where it said, within two deviations
    assert sum(z > 0.1 for z in off) >= 8  # and it does not say so by being unsure of everything


async def test_it_goes_the_way_that_paid_and_states_what_it_expects(host_of: HostMaker) -> None:
    tried = [trial(n, {"TOTAL_BATCH_SIZE": 2**d}, 0.3 * d) for n, d in enumerate((17, 16, 15, 13, 12), 1)]
    tried[-1]["status"] = "keep"
    host = await told(host_of(SOURCE), trial(0, metric=4.2), *tried)
    best = (await suggested_from(host, 6, 5))[0]
    assert best["gain"] > 0 and best["sd"] > 0 and best["changes"]["TOTAL_BATCH_SIZE"] < 2**12
    assert best["why"].startswith(f"a gain of {best['gain']:.3g} +- {best['sd']:.2g} is predicted")


async def suggested_from(host: MechanismHost, number: int, incumbent: int) -> list[Json]:
    return await host.call("suggest", state(incumbent=incumbent), {}, trial=number) or []


async def test_the_region_doubles_after_its_successes_and_halves_after_its_failures(host_of: HostMaker) -> None:
    host = await on_the_slope(host_of(SOURCE))
    sides = []
    for number, status in enumerate(["discard"] * 3 + ["keep", "discard", "crash", "keep", "keep", "keep"], 7):
        sides.append((await suggested(host, number, trials_left=20))[0]["why"].split("region of ")[1].split()[0])
        value = None if status == "crash" else 3.9
        own: Json = {"proposed_by": "trust_region", "status": status}
        await host.observe(trial(number, {"WARMUP_RATIO": number / 50}, value, **own), 0)
    sides.append((await suggested(host, 16))[0]["why"].split("region of ")[1].split()[0])
    assert sides == ["0.8", "0.8", "0.8", "0.4", "0.4", "0.4", "0.4", "0.4", "0.8", "0.8"]


async def test_others_trials_leave_the_region_as_it_is(host_of: HostMaker) -> None:
    host = await on_the_slope(host_of(SOURCE))
    for number in range(7, 17):
        await host.observe(trial(number, {"WARMUP_RATIO": number / 50}, 3.9), 0)
    assert "region of 0.8 " in (await suggested(host, 17))[0]["why"]


async def test_it_keeps_off_where_trials_failed(host_of: HostMaker) -> None:
    crashes = [trial(n, {"MATRIX_LR": 0.04 * n / 5}, None, status="crash") for n in range(7, 17)]
    host = await on_the_slope(host_of(SOURCE))
    for crash in crashes:
        await host.observe(crash, 0)
    text = await host.call("advise", state(), {}, trial=17)
    line = next(line for line in text.splitlines() if line.startswith("MATRIX_LR"))
    assert float(line.split("-> ")[1].split(":")[0]) < 0.04
    rates = [s["changes"].get("MATRIX_LR", 0.0) for n in range(17, 27) for s in await suggested(host, n)]
    assert max(rates) <= 0.056


async def test_every_kind_of_parameter_moves_but_the_locked_and_those_frozen_by_a_person(host_of: HostMaker) -> None:
    host = await on_the_slope(host_of(SOURCE))
    for name in SPACE.parameters:
        frozen = dict.fromkeys(SPACE.parameters, "person") | {name: "level 1.5"}
        found = [s["changes"] for n in range(7, 12) for s in await suggested(host, n, frozen=frozen)]
        assert {key for changes in found for key in changes} == ({name} if name != "DEPTH" else set())
        if name == "TOTAL_BATCH_SIZE":  # else hardly any would fulfil the constraint
            assert all(changes[name] & (changes[name] - 1) == 0 for changes in found)
        if name == "ADAM_BETAS":
            pairs = [changes[name] for changes in found]
            assert any(first != 0.8 for first, _ in pairs) and any(second != 0.95 for _, second in pairs)
    assert not await suggested(host, 12, frozen=dict.fromkeys(SPACE.parameters, "person"))


async def test_it_tells_the_model_the_better_step_of_each_parameter(host_of: HostMaker) -> None:
    host = await on_the_slope(host_of(SOURCE))
    text = await host.call("advise", state(frozen={"HEAD_DIM": "level 1.5"}), {}, trial=7)
    head, *lines = text.splitlines()
    assert head.startswith("A Gaussian process over 7 trials, trusted within 0.4 of each range around the incumbent.")
    assert 4 <= len(lines) <= 8 and all(" -> " in line and " +- " in line for line in lines)
    names = [line.split()[0] for line in lines]
    assert len(set(names)) == len(names) and not {"HEAD_DIM", "DEPTH"} & set(names)


async def test_it_is_silent_while_too_little_is_known(host_of: HostMaker) -> None:
    few = [trial(n, step, 4.0 + n) for n, step in enumerate(START[:2], 1)]
    same = [trial(n, step, 4.0) for n, step in enumerate(START, 1)]
    failed = [trial(n, step, None, status="crash") for n, step in enumerate(START, 1)]
    for history in ([], few, same, failed):
        host = await told(host_of(SOURCE), trial(0), *history)
        for hook in ("suggest", "advise"):
            assert await host.call(hook, state(), {}, trial=len(history) + 1) is None


async def test_a_disaster_does_not_flatten_what_is_known(host_of: HostMaker) -> None:
    tried = [trial(n, {"TOTAL_BATCH_SIZE": 2**d}, 0.03 * d) for n, d in enumerate((17, 16, 15, 13), 1)]
    disaster = trial(5, {"MATRIX_LR": 0.4}, 1e6)
    host = await told(host_of(SOURCE), trial(0, metric=0.42), *tried, disaster)
    text = await host.call("advise", state(incumbent=4, noise=0.001), {}, trial=6)
    value, gain = next(line for line in text.splitlines() if line.startswith("TOTAL")).split("-> ")[1].split(": ")
    assert int(value) < 2**13 and float(gain.split()[0]) > 0.01


async def test_in_a_search_its_suggestions_compete_and_its_advice_reaches_the_model(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await activate(s, "trust_region")
        s.runs.metrics = [4.4, 4.2, 4.3, 4.1, 3.9, 3.8, 3.7]
        await s.go(7)
        own = [known for known in s.view.history if known.proposed_by == "trust_region"]
        assert [known.number for known in own] == [4, 6]
        assert all(known.prediction is not None and set(known.prediction) == {"gain", "sd"} for known in own)
        assert "A Gaussian process over" in s.model.asked()


async def test_it_is_valid_over_a_recorded_search_and_would_have_acted(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        s.runs.metrics = [4.4, None, 4.2, 3.9, 4.3, 3.8]
        await s.go(6)
        problems, evidence = await validate("trust_region", SOURCE, s.view, s.workshop.host_of)
        assert problems == [] and evidence.suggested == 2  # from the fourth metric on
