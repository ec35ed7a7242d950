"""Simulated annealing: that the probability is Metropolis', that it falls as the search goes on, and where it ends."""

import math
from pathlib import Path
from typing import Any

import pytest
from mechanism_hosts import HostMaker, Json, host_of, state, trial
from searches import search
from shipped import SOURCES, activate, told

from engine.mechanism.client import MechanismHost
from engine.mechanism.validation import validate

__all__ = ["host_of"]

SOURCE = SOURCES["annealed_acceptance"]
LOSSES = [trial(n, {"MATRIX_LR": 0.04 + n / 100}, 4.0 + n / 10) for n in (1, 2, 3, 4)]  # a small one is 0.2
MOMENTS = 200


def worse(loss: float, number: int = 5, **fields: Any) -> Json:
    return trial(number, {"WEIGHT_DECAY": 0.3}, 4.0 + loss, **fields)


async def rate(host: MechanismHost, candidate: Json, **fields: Any) -> float:
    """How often a trial is accepted, over many moments."""
    answers = [await host.call("accept", state(**fields), {"trial": candidate}, trial=n) for n in range(MOMENTS)]
    assert set(answers) <= {True, None}  # it never turns away what the rule keeps
    return answers.count(True) / MOMENTS


async def test_a_worse_trial_is_accepted_with_the_probability_of_metropolis(host_of: HostMaker) -> None:
    host = await told(host_of(SOURCE), trial(0), *LOSSES)
    temperature = 0.2 * 45 / 50  # 5 trials are done, and 45 follow this one
    for loss in (0.05, 0.18, 0.4):
        expected = math.exp(-loss / temperature)
        deviation = math.sqrt(expected * (1 - expected) / MOMENTS)
        found = await rate(host, worse(loss), noise=None, trials_left=46)
        assert abs(found - expected) < 4 * deviation


async def test_it_cools_with_the_budget_and_is_greedy_at_the_last_trial(host_of: HostMaker) -> None:
    host = await told(host_of(SOURCE), trial(0), *LOSSES)
    rates = [await rate(host, worse(0.1), noise=None, trials_left=left) for left in (100, 6, 2, 1)]
    assert rates == sorted(rates, reverse=True) and rates[0] > 0.4 and rates[1] > rates[2]
    assert rates[-1] == 0.0
    assert await rate(host, worse(1e-9), trials_left=1) == 0.0


async def test_without_a_budget_it_cools_with_the_trials(host_of: HostMaker) -> None:
    later = [trial(n, {"WEIGHT_DECAY": 0.2 + n / 100}, 4.2) for n in range(5, 53)]
    young = await told(host_of(SOURCE), trial(0), *LOSSES)
    old = await told(host_of(SOURCE), trial(0), *LOSSES, *later)
    fields: Json = {"noise": None, "trials_left": None}
    assert await rate(young, worse(0.1), **fields) > 0.3 > 0.05 > await rate(old, worse(0.1, 53), **fields)


async def test_losses_are_measured_by_the_noise_where_that_is_larger_and_by_nothing_while_nothing_is_known(
    host_of: HostMaker,
) -> None:
    host = await told(host_of(SOURCE), trial(0))
    assert await rate(host, worse(0.02), noise=None) == 0.0
    assert await rate(host, worse(0.02), noise=0.04) > 0.3
    assert await rate(host, worse(2.0), noise=0.04) == 0.0
    known = await told(host_of(SOURCE), trial(0), *LOSSES)
    assert await rate(known, worse(0.4), noise=0.8) > 0.3 > await rate(known, worse(0.4), noise=0.01)


async def test_it_has_no_opinion_where_the_rule_keeps_where_there_is_no_metric_and_of_a_replicate(
    host_of: HostMaker,
) -> None:
    host = await told(host_of(SOURCE), trial(0), *LOSSES)
    kept = worse(-0.5, status="keep", verdict="better")
    crash, invalid = (worse(0.0, status=status) | {"metric": None, "runs": []} for status in ("crash", "invalid"))
    for candidate in (kept, crash, invalid, worse(0.001, replicate=1)):
        assert await rate(host, candidate, trials_left=1000) == 0.0


async def test_where_the_metric_is_maximised_lower_is_the_loss(host_of: HostMaker) -> None:
    history = [trial(n, {"MATRIX_LR": 0.04 + n / 100}, 4.0 - n / 10) for n in (1, 2, 3, 4)]
    host = await told(host_of(SOURCE, direction="maximize"), trial(0), *history)
    assert await rate(host, worse(-0.01), trials_left=100) > 0.8
    assert await rate(host, worse(-2.0), trials_left=100) == 0.0


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
async def test_once_it_is_cold_the_model_is_led_back_to_the_best(host_of: HostMaker, direction: str) -> None:
    sign = 1 if direction == "minimize" else -1
    best = trial(1, {"MATRIX_LR": 0.05}, sign * 3.0, status="keep")
    taken = trial(2, {"MATRIX_LR": 0.06}, sign * 3.1, status="keep", base=1)
    host = await told(host_of(SOURCE, direction=direction), trial(0, metric=sign * 4.0), best, taken)
    warm = await host.call("steer", state(incumbent=2, trials_left=30), {}, trial=3)
    cold = await host.call("steer", state(incumbent=2, trials_left=1), {}, trial=3)
    assert warm is None and cold["base"] == 1
    assert await host.call("steer", state(incumbent=1, trials_left=1), {}, trial=3) is None


async def test_in_a_search_it_reverses_the_rule_and_never_for_a_crash(tmp_path: Path) -> None:
    async with search(tmp_path, trials=40) as s:
        await activate(s, "annealed_acceptance")
        s.runs.metrics = [4.4, 4.5, 4.6, None, 4.0001, 9.0]
        await s.go(6)
        decided = {t.number: (t.decided_by, t.status) for t in s.view.history if t.number}
        assert decided[4] == ("rule", "crash") and decided[6] == ("rule", "discard")
        assert decided[5] == ("annealed_acceptance", "keep") and s.view.history.incumbent == 5
        assert (5, "accept") in s.acts("annealed_acceptance")


async def test_it_is_valid_over_a_recorded_search_and_would_have_acted(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        s.runs.metrics = [4.4, 4.5, 4.6, 4.05, None, 4.03, 4.07, 3.9, 4.01, 4.5]
        await s.go(10)
        problems, evidence = await validate("annealed_acceptance", SOURCE, s.view, s.workshop.host_of)
        assert problems == [] and evidence.accepted_otherwise >= 1
