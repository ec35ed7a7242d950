"""Curve stopping: a hopeless curve is stopped, one like those that recovered is not, and no evidence is none."""

from pathlib import Path
from typing import Any

import pytest
from mechanism_hosts import HostMaker, Json, host_of, state, trial
from searches import search
from shipped import SOURCES, activate, told

from engine.mechanism.client import MechanismHost
from engine.mechanism.validation import validate

__all__ = ["host_of"]

SOURCE = SOURCES["curve_stopping"]
POINTS = [n / 20 for n in range(1, 21)]


def curve(above: float = 0.0, early: float = 0.0, late: float = 0.0) -> list[list[float]]:
    """A training curve: so far above the incumbent's all along, more so early or late."""
    return [[f, 5.0 - 2.0 * f**0.5 + above + early * (1 - f) + late * f] for f in POINTS]


BASE = trial(0, curve=curve())
OTHERS = [
    trial(1, {"MATRIX_LR": 0.05}, 4.1, curve=curve(0.05)),
    trial(2, {"MATRIX_LR": 0.03}, 4.2, curve=curve(0.1, early=0.05)),
    trial(3, {"HEAD_DIM": 64}, 4.1, curve=curve(0.02, early=0.1)),
    trial(4, {"WEIGHT_DECAY": 0.3}, 4.3, curve=curve(0.2, late=0.1)),
]


async def watch(host: MechanismHost, fraction: float | None, gap: float | None, **fields: Any) -> str | None:
    """What it says of a trial whose loss lies so far above the incumbent's."""
    at = 0.5 if fraction is None else fraction
    loss = None if gap is None else 5.0 - 2.0 * at**0.5 + gap
    progress = {"fraction": fraction, "step": 7, "loss": loss, "tokens_per_second": None, "changes": {"HEAD_DIM": 16}}
    reason: str | None = await host.call("watch", state(), {"progress": {**progress, **fields}}, trial=9)
    return reason


async def test_a_diverging_curve_is_stopped_and_a_normal_one_is_not(host_of: HostMaker) -> None:
    host = await told(host_of(SOURCE), BASE, *OTHERS)
    reason = await watch(host, 0.5, 3.0)
    assert reason is not None and "at 50% its loss" in reason and "4 trials" in reason
    for gap in (-1.0, 0.0, 0.04):
        assert await watch(host, 0.5, gap) is None


async def test_a_trial_may_be_as_far_behind_as_others_were_that_caught_up(host_of: HostMaker) -> None:
    late_bloomer = trial(5, {"HEAD_DIM": 8}, 4.05, curve=curve(0.0, early=1.0))
    host = await told(host_of(SOURCE), BASE, *OTHERS)
    assert await watch(host, 0.5, 0.5) is not None
    await host.observe(late_bloomer, 0)
    assert await watch(host, 0.5, 0.5) is None
    assert await watch(host, 0.85, 0.5) is not None  # that late the other had caught up


async def test_a_kept_trial_that_fell_back_shows_how_far_another_may_come_up(host_of: HostMaker) -> None:
    ahead = trial(5, {"HEAD_DIM": 8}, 3.9, status="keep", curve=curve(0.3, early=-1.0))
    host = await told(host_of(SOURCE), BASE, *OTHERS, ahead, trial(6, {}, 3.8, base=5, status="keep", curve=curve()))
    answers = [await host.call("watch", state(incumbent=6), {"progress": told_of(gap)}, trial=9) for gap in (0.5, 3.0)]
    assert answers[0] is None and answers[1] is not None


def told_of(gap: float) -> Json:
    changes = {"MATRIX_LR": 0.1}
    loss = 5.0 - 2.0 * 0.5**0.5 + gap
    return {"fraction": 0.5, "step": 7, "loss": loss, "tokens_per_second": None, "changes": changes}


async def test_a_trial_that_was_better_with_a_higher_loss_is_a_reason_to_wait(host_of: HostMaker) -> None:
    """Regularisation: the training loss rises, the metric falls."""
    regular = trial(5, {"WEIGHT_DECAY": 0.6}, 3.8, verdict="better", curve=curve(0.8))
    host = await told(host_of(SOURCE), BASE, *OTHERS, regular)
    assert await watch(host, 0.5, 0.8) is None
    assert await watch(host, 0.5, 3.0) is not None


async def test_nothing_is_stopped_early_late_or_while_few_curves_are_known(host_of: HostMaker) -> None:
    host = await told(host_of(SOURCE), BASE, *OTHERS)
    for fraction in (0.0, 0.1, 0.29, 0.91, 1.0):
        assert await watch(host, fraction, 30.0) is None
    assert await watch(host, 0.3, 30.0) is not None and await watch(host, 0.9, 30.0) is not None
    few = await told(host_of(SOURCE), BASE, *OTHERS[:3])
    assert await watch(few, 0.5, 30.0) is None


async def test_what_is_no_number_is_no_evidence(host_of: HostMaker) -> None:
    holes = [
        trial(5, {"HEAD_DIM": 8}, None, status="crash", curve=[[0.5, 3.0], [0.6, None]]),
        trial(6, {"HEAD_DIM": 16}, 4.4, curve=[[f, None] for f in POINTS]),
        trial(7, {"HEAD_DIM": 16}, 4.4, curve=[[f, loss if f != 0.5 else None] for f, loss in curve(0.1)]),
        trial(8, {"WEIGHT_DECAY": 0.1}, 4.4, curve=[]),
    ]
    host = await told(host_of(SOURCE), BASE, *OTHERS[:2], *holes)
    assert await watch(host, 0.5, 30.0) is None  # three curves in all: two, and the one with a hole
    host = await told(host_of(SOURCE), BASE, *OTHERS, *holes)
    for fraction, gap in ((None, 30.0), (0.5, None), (None, None)):
        assert await watch(host, fraction, gap) is None
    assert await watch(host, 0.5, 30.0) is not None
    blind = await told(host_of(SOURCE), trial(0, curve=[]), *OTHERS)
    assert await watch(blind, 0.5, 30.0) is None


async def test_a_replicate_runs_to_its_end(host_of: HostMaker) -> None:
    host = await told(host_of(SOURCE), BASE, *OTHERS)
    assert await watch(host, 0.5, 3.0, changes={}) is None


async def test_parameters_that_change_what_the_loss_means_are_left_out(host_of: HostMaker) -> None:
    careful = SOURCE.replace("INCOMPARABLE = ()", 'INCOMPARABLE = ("HEAD_DIM", "ADAM_BETAS")')
    host = await told(host_of(careful), BASE, *OTHERS, trial(5, {"WEIGHT_DECAY": 0.1}, 4.4, curve=curve(0.1)))
    assert await watch(host, 0.5, 3.0) is None
    reason = await watch(host, 0.5, 3.0, changes={"MATRIX_LR": 0.1})
    assert reason is not None and "4 trials" in reason  # the one with another HEAD_DIM is not among them


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
async def test_the_loss_falls_whatever_the_metric_does(host_of: HostMaker, direction: str) -> None:
    host = await told(host_of(SOURCE, direction=direction), BASE, *OTHERS)
    assert await watch(host, 0.5, 3.0) is not None and await watch(host, 0.5, -3.0) is None


async def test_in_a_search_it_stops_the_trial_that_runs(tmp_path: Path) -> None:
    """A run of this search prints a loss of 3.0 at half its budget."""
    async with search(tmp_path) as s:
        await activate(s, "curve_stopping")
        s.runs.curve = [(0.25, 2.0), (0.5, 1.0), (1.0, 0.5)]
        s.runs.metrics = [3.0, 4.1, 4.2, 4.3, 4.4, 4.5]
        await s.go(6)
        assert s.last.status == "stopped" and s.last.reason.startswith("curve_stopping: at 50% its loss 3 lies 2 above")
        assert s.acts("curve_stopping") == [(6, "watch")]


async def test_it_is_valid_over_a_recorded_search_and_would_have_stopped_the_one_that_diverged(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        for above, metric in ((0.0, 3.0), (0.1, 4.1), (0.05, 4.2), (0.1, 4.3), (0.0, 4.4), (4.0, 9.0), (0.05, 4.5)):
            s.runs.curve = [(f, loss) for f, loss in curve(above)]
            s.runs.metrics = [metric]
            await s.go()
        problems, evidence = await validate("curve_stopping", SOURCE, s.view, s.workshop.host_of)
        assert problems == [] and evidence.stopped == 1
