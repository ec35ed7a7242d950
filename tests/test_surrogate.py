"""The surrogate and the habits of the model: what a rehearsal takes from the trials that a record holds."""

from collections.abc import Callable

import numpy as np
import pytest
from rehearsed_records import NOISE, SPACE, anywhere, recorded, truth, view_of

from engine.record.events import ParameterFrozen
from engine.record.view import View
from engine.rehearsal.effect import observed
from engine.rehearsal.encoding import Encoding, scales
from engine.rehearsal.proposing import Proposer, habits_of
from engine.rehearsal.surrogate import MOST, Bend, Observed, Surrogate
from engine.search.constraints import Constraint
from engine.search.parameters import Config, Parameter, Space
from engine.search.proposals import Proposal, Steering, proposal_from


def some(count: int, function: Callable[[Config], float] = truth, seed: int = 0) -> list[Observed]:
    """Noisy values of a function over the upper part of the space."""
    rng = np.random.default_rng(seed)
    configs = [{**SPACE.initial, **anywhere(rng)} for _ in range(count)]
    return [Observed(config, function(config) + NOISE * float(rng.standard_normal())) for config in configs]


# --- configurations as points -----------------------------------------------------------------------------------------
def test_each_number_lies_on_its_own_scale_and_a_locked_one_nowhere() -> None:
    encoding = Encoding(SPACE)
    low: Config = {
        "BATCH": 16,
        "RATE": 0.0001,
        "DECAY": 0.0,
        "SPARE": 0.0,
        "MODE": "a",
        "BETAS": [0.5, 0.8],
        "DEPTH": 1,
    }
    high: Config = {"BATCH": 65536, "RATE": 1, "DECAY": 1, "SPARE": 1, "MODE": "b", "BETAS": [0.99, 0.999], "DEPTH": 8}
    points = encoding.points([low, {**low, "BATCH": 1024, "RATE": 0.01}, high])
    assert points.shape == (3, encoding.columns) == (3, 8)
    assert points[1][:2] == pytest.approx([0.5, 0.5]) and points[2][:4] == pytest.approx([1, 1, 1, 1])
    assert np.linalg.norm(points[0][4:6] - points[2][4:6]) == pytest.approx(1)  # two choices, a range apart
    assert points[2][6:] == pytest.approx([1, 1])


@pytest.mark.parametrize(
    "parameter",
    [Parameter("A", "int", 8, 1, 64, log=True), Parameter("A", "float", 0.0), Parameter("A", "float", 2.0, 2.0, 2.0)],
    ids=["log", "no bounds", "one value"],
)
def test_a_scale_there_and_back(parameter: Parameter) -> None:
    [scale] = scales(parameter)
    assert scale.high > scale.low
    for unit in (0.0, 0.3, 1.0):
        assert scale.unit(scale.value(unit)) == pytest.approx(unit)


# --- the target as the trials show it ---------------------------------------------------------------------------------
def test_drawn_functions_agree_where_there_are_trials_and_differ_where_there_are_none() -> None:
    surrogate = Surrogate(SPACE, some(80), NOISE)
    drawn = [surrogate.draw(np.random.default_rng(seed)) for seed in range(12)]
    known: Config = {**SPACE.initial, "BATCH": 4096, "RATE": 0.1, "DECAY": 0.5}
    far: Config = {**SPACE.initial, "BATCH": 16, "RATE": 0.0001, "DECAY": 0.0}
    at_known, at_far = (np.array([function(config) for function in drawn]) for config in (known, far))
    assert at_known.mean() == pytest.approx(truth(known), abs=0.05)
    assert at_far.std() > 5 * at_known.std()
    assert drawn[0](known) == surrogate.draw(np.random.default_rng(0))(known)


def test_the_skill_is_high_where_the_metric_follows_the_configuration_and_none_where_it_does_not() -> None:
    assert Surrogate(SPACE, some(80), NOISE).skill() > 0.95
    assert Surrogate(SPACE, some(80, lambda config: 1.0), NOISE).skill() < 0.1


def test_failures_are_foretold_where_they_happened() -> None:
    trials = [t if int(t.config["BATCH"]) <= 8192 else Observed(t.config, None) for t in some(80)]  # type: ignore[arg-type]
    surrogate = Surrogate(SPACE, trials, NOISE)
    at = {batch: surrogate.failure({**SPACE.initial, "BATCH": batch}) for batch in (512, 65536)}
    assert at[512] < 0.1 and at[65536] > 0.9
    assert Surrogate(SPACE, some(20), NOISE).failure(SPACE.initial) == 0.0


def test_many_trials_are_thinned_out_and_the_best_stay() -> None:
    trials = some(MOST + 200)
    surrogate = Surrogate(SPACE, trials, NOISE)
    best = min((trial.loss, index) for index, trial in enumerate(trials) if trial.loss is not None)[1]
    function = surrogate.draw(np.random.default_rng(0))
    assert function(trials[best].config) == pytest.approx(truth(trials[best].config), abs=0.05)
    assert surrogate.process.predict(surrogate.encoding.points([SPACE.initial])).shape == (1,)


def test_values_far_above_the_usual_are_bent_and_come_back() -> None:
    losses = np.array([1.0, 1.1, 1.2, 1.3, 50.0])
    bend = Bend.at(losses)
    assert bend.bent(losses)[:3] == pytest.approx(losses[:3]) and bend.bent(losses)[4] < 3
    assert bend.straight(bend.bent(losses)) == pytest.approx(losses)


def test_two_runs_of_one_configuration_count_twice_and_failed_ones_as_failed() -> None:
    trials = observed(view_of(recorded(40, crashes_above=8192)))
    assert sum(trial.config == SPACE.initial for trial in trials) == 3
    failed = [trial for trial in trials if trial.loss is None]
    assert failed and all(int(trial.config["BATCH"]) > 8192 for trial in failed)  # type: ignore[arg-type]


# --- proposals as the model has made them -----------------------------------------------------------------------------
def drawn(view: View, steering: Steering | None = None, count: int = 200) -> list[Proposal]:
    """Proposals as a rehearsal draws them for the next trial of a view."""
    asked = steering or Steering()
    proposer = Proposer(habits_of(view), view, np.random.default_rng(0))

    def validated(proposed: object, steering: Steering) -> Proposal:
        return proposal_from(
            view.space,
            view.history,
            by="model",
            hypothesis="",
            changes=proposed.changes,  # type: ignore[attr-defined]
            replicate=proposed.replicate,  # type: ignore[attr-defined]
            base=steering.base,
            frozen=steering.frozen(view.frozen_by_person, view.frozen_by_level),
            ranges=steering.ranges,
        )

    return [proposal for _ in range(count) for proposal in proposer.draw(asked, validated)]


def test_the_models_way_and_reach_are_kept() -> None:
    view = view_of(recorded(200))
    base = view.history.incumbent_config()
    proposals = drawn(view)
    assert {len(proposal.changes) for proposal in proposals} == {1, 2}
    changed = [(name, value) for proposal in proposals for name, value in proposal.changes.items()]
    assert {name for name, _ in changed} >= {"BATCH", "RATE", "DECAY", "SPARE", "MODE"}
    ups = [value > base[name] for name, value in changed if name in ("BATCH", "RATE", "DECAY", "SPARE")]  # type: ignore[operator]
    assert all(ups)
    [scale] = scales(SPACE.parameters["RATE"])
    reach = [scale.unit(value) - scale.unit(base["RATE"]) for name, value in changed if name == "RATE"]
    assert max(reach) < 0.25


def test_freezes_and_steering_bind_what_is_drawn() -> None:
    view = view_of([*recorded(60), ParameterFrozen(name="BATCH")])
    assert all("BATCH" not in proposal.changes for proposal in drawn(view))
    held = drawn(view, Steering(base=3, freeze=frozenset({"MODE"}), ranges={"RATE": (0.001, 0.002)}))
    assert all(proposal.base == 3 and "MODE" not in proposal.changes for proposal in held)
    rates = [float(proposal.changes["RATE"]) for proposal in held if "RATE" in proposal.changes]  # type: ignore[arg-type]
    assert rates and all(0.001 <= rate <= 0.002 for rate in rates)


def test_what_breaks_a_constraint_is_not_drawn_and_where_all_does_a_run_is_repeated() -> None:
    view = view_of(recorded(60))
    view.space = Space(SPACE.parameters, (Constraint("BATCH <= 2048"),))
    assert all(int(proposal.config["BATCH"]) <= 2048 for proposal in drawn(view))  # type: ignore[arg-type]
    view.space = Space(SPACE.parameters, (Constraint("BATCH < 0"),))
    assert {proposal.replicate for proposal in drawn(view, count=3)} == {view.history.incumbent}
