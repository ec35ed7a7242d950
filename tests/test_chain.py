"""What a mechanism's hooks change in a search, and what counts as an act: suggestions, reviews, steering, choices."""

from pathlib import Path
from typing import Any

import pytest
from searches import config, proposing, search

from engine.mechanism.chain import expected_improvement
from engine.record.events import ParameterFrozen, StrategyDecided

SUGGESTS = "def suggest(self, view):\n    return [{{'changes': {{'{name}': {value}}}, 'why': 'mine'{more}}}]"


def suggesting(name: str, value: str, more: str = "") -> str:
    """A `suggest` that always has this one; `value` is an expression over the view."""
    return SUGGESTS.format(name=name, value=value, more=more)


FRESH = "0.5 / len(view.trials)"
"""A value that no trial has tried yet."""


# --- suggestions ------------------------------------------------------------------------------------------------------
async def test_every_second_trial_at_most_goes_to_suggestions(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.inject("eager", suggesting("WD", FRESH))
        await s.go(5)
        assert [trial.proposed_by for trial in s.view.history][1:] == ["eager", "model", "eager", "model", "eager"]
        assert s.acts("eager") == [(1, "suggest"), (3, "suggest"), (5, "suggest")]
        assert s.view.history.trials[1].hypothesis == "mine"


async def test_stated_gains_compete_by_expected_improvement_and_the_rest_take_turns(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.inject("sure", suggesting("WD", FRESH, ", 'gain': 0.1"))
        await s.inject("bold", suggesting("LR", FRESH, ", 'gain': 0.05, 'sd': 0.5"))
        await s.inject("plain", suggesting("BATCH", "2048 * len(view.trials)"))
        await s.inject("silent", "def suggest(self, view):\n    return None")
        await s.go(8)
        by = [trial.proposed_by for trial in s.view.history][1:]
        assert by[::2] == ["plain", "bold", "plain", "bold"]
        assert s.view.history.trials[3].prediction == {"gain": 0.05, "sd": 0.5}


def test_expected_improvement_is_that_of_a_normal_distribution() -> None:
    assert expected_improvement(0.1, 0.0) == 0.1
    assert expected_improvement(-0.1, 0.0) == 0.0
    assert expected_improvement(0.0, 1.0) == pytest.approx(0.398942, abs=1e-6)
    assert expected_improvement(1.0, 1.0) == pytest.approx(1.083315, abs=1e-6)


async def test_an_invalid_suggestion_is_recorded_and_comes_back_with_the_reason(tmp_path: Path) -> None:
    body = """
        def suggest(self, view):
            if view.refused:
                return [{"changes": {"LR": 0.5}, "why": "told: " + view.refused[-1].reason}]
            return [{"changes": {"LR": 99.0}, "why": "too bold"}, {"changes": {"NOPE": 1}, "why": "unknown"}]
    """
    async with search(tmp_path) as s:
        await s.inject("bold", body.replace("view.refused[-1].reason", "view.refused[0]['reason']"))
        await s.go(2)
        first, second = s.view.history.trials[1], s.view.history.trials[2]
        assert first.proposed_by == "model" and second.proposed_by == "bold"
        assert "LR lies between" in s.refusals("bold")[0] and "no parameter 'NOPE'" in s.refusals("bold")[1]
        assert second.hypothesis.startswith("told: LR lies between")


async def test_a_suggestion_may_start_elsewhere_and_may_repeat_a_trial(tmp_path: Path) -> None:
    body = """
        def suggest(self, view):
            if len(view.trials) == 2:
                return [{"replicate": 0, "why": "how sure is the baseline?"}]
            return [{"changes": {"WD": 0.3}, "base": 1, "why": "from a loser"}]
    """
    async with search(tmp_path) as s:
        s.model.by_purpose["propose"] = [proposing({"changes": {"LR": 0.3}})]
        await s.go(1)
        await s.inject("roamer", body)
        s.runs.metrics = [4.2]
        await s.go(3)
        repeated, elsewhere = s.view.history.trials[2], s.view.history.trials[4]
        assert (repeated.replicate, repeated.config) == (0, config())
        assert s.view.history.standing(config()) == (pytest.approx(4.05), 4)
        assert (elsewhere.base, elsewhere.config) == (1, config(LR=0.3, WD=0.3))


async def test_a_persons_freeze_binds_suggestions_and_level_15s_does_not(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.journal.record(ParameterFrozen(name="WD"))
        await s.journal.record(StrategyDecided(trial=0, strategy="explore", frozen=["BATCH"]))
        await s.inject("one", suggesting("WD", "0.5"))
        await s.go(1)
        assert s.last.proposed_by == "model" and s.refusals("one") == ["WD is frozen"]
        await s.inject("two", suggesting("BATCH", "512"))
        await s.go(1)
        assert (s.last.proposed_by, s.last.changes) == ("two", {"BATCH": 512})


async def test_a_suggestion_goes_through_the_reviews_of_the_others(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        body = "def review(self, view, proposal):\n    return {'block': 'never'}\n\n" + suggesting("WD", "0.5")
        await s.inject("one", body)
        await s.go(1)
        assert s.last.proposed_by == "one"
        await s.inject("guard", "def review(self, view, proposal):\n    return {'block': 'not this'}")
        await s.go(2)
        assert s.refusals("one") == ["guard: not this"]
        assert s.last.proposed_by == "model" and s.last.overridden


# --- reviews ----------------------------------------------------------------------------------------------------------
async def test_reviews_run_in_order_and_a_later_one_sees_the_replacement(tmp_path: Path) -> None:
    first = "def review(self, view, proposal):\n    return {'changes': {'BATCH': 512}, 'why': 'the other way'}"
    second = """
        def review(self, view, proposal):
            return {"changes": {**proposal.changes, "WD": 0.5}, "why": f"with {proposal.changes['BATCH']}"}
    """
    async with search(tmp_path) as s:
        s.model.by_purpose["propose"] = [proposing({"changes": {"BATCH": 2048}})]
        await s.inject("first", first)
        await s.inject("second", second)
        await s.go(1)
        assert (s.last.changes, s.last.edited_by) == ({"BATCH": 512, "WD": 0.5}, ("first", "second"))
        assert s.last.proposed_by == "model"
        assert s.acts("first") == s.acts("second") == [(1, "review")]
        act = next(known for known in s.view.mechanisms.values() if known.name == "second").acts[0]
        assert act.why == "with 512" and act.before["changes"] == {"BATCH": 512}
        await s.go(1)
        assert '"edited_by": ["first", "second"]' in s.model.asked()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [("{'LR': 5.0}", "LR lies between"), ("{'DEPTH': 2}", "locked"), ("{'WD': 0.2}", "it changes nothing")],
)
async def test_a_replacement_that_may_not_run_is_refused_and_the_proposal_stays(
    tmp_path: Path, changes: str, reason: str
) -> None:
    async with search(tmp_path) as s:
        s.model.by_purpose["propose"] = [proposing({"changes": {"BATCH": 2048}})]
        await s.inject("odd", f"def review(self, view, proposal):\n    return {{'changes': {changes}, 'why': 'so'}}")
        await s.go(1)
        assert (s.last.changes, s.last.edited_by, s.acts("odd")) == ({"BATCH": 2048}, (), [])
        assert reason in s.refusals("odd")[0]


async def test_the_same_changes_given_back_are_no_act(tmp_path: Path) -> None:
    body = "def review(self, view, proposal):\n    return {'changes': dict(proposal.changes), 'why': 'fine'}"
    async with search(tmp_path) as s:
        await s.inject("echo", body)
        await s.go(2)
        assert s.acts("echo") == [] and s.last.edited_by == ()


async def test_an_edit_that_no_training_tells_apart_is_no_act(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        edits = "{'changes': {name: value * (1 + 1e-12) for name, value in proposal.changes.items()}, 'why': 'so'}"
        await s.inject("hair", f"def review(self, view, proposal):\n    return {edits}")
        await s.go(1)
        assert (s.acts("hair"), s.last.edited_by, s.last.changes) == ([], (), {"LR": 0.1 * 0.97})


async def test_a_tried_configuration_cannot_be_drawn_again_as_another_one(tmp_path: Path) -> None:
    """Else the best of many draws of the same would pass for a gain."""
    async with search(tmp_path) as s:
        s.runs.metrics = [4.1]
        s.model.by_purpose["propose"] = [proposing({"changes": {"LR": 0.05}})]
        await s.go(1)
        suggests = "[{'changes': {'LR': 0.05 * (1 + 1e-12 * len(view.trials))}, 'why': 'so'}]"
        await s.inject("lucky", f"def suggest(self, view):\n    return {suggests}")
        await s.inject("idle", "def suggest(self, view):\n    return [{'changes': {'LR': 0.1 + 1e-13}, 'why': 'so'}]")
        s.runs.metrics = [4.05, 4.5, 3.8]
        await s.go(1)
        assert (s.last.proposed_by, s.last.replicate, s.last.changes) == ("lucky", 1, {"LR": 0.05})
        assert s.last.config == s.view.history.trials[1].config
        assert s.view.history.standing(s.last.config) == (pytest.approx(4.075), 2)
        assert s.refusals("idle") == ["it changes nothing: LR is already 0.1"]


async def test_after_three_stopped_trials_in_a_row_the_next_trains_to_its_end(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.inject("impatient", "def watch(self, view, progress):\n    return 'no'")
        await s.go(9)
        ended = ["stopped"] * 3 + ["discard"]
        assert [trial.status for trial in s.view.history if trial.number] == [*ended, *ended, "stopped"]
        assert s.acts("impatient") == [(number, "watch") for number in (1, 2, 3, 5, 6, 7, 9)]


async def test_after_three_blocked_proposals_the_last_runs_as_an_override(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        wanted = [{"changes": {"LR": value}} for value in (0.2, 0.3, 0.4)]
        s.model.by_purpose["propose"] = [proposing(proposal) for proposal in wanted]
        await s.inject("guard", "def review(self, view, proposal):\n    return {'block': 'not\\nagain'}")
        await s.go(1)
        assert (s.last.changes, s.last.overridden, s.last.proposed_by) == ({"LR": 0.4}, True, "model")
        assert s.refusals("model") == ["guard: not\nagain"] * 3
        assert s.acts("guard") == [(1, "review")] * 2  # the third was passed over: the proposal ran all the same
        # The model is told of each refusal, once, as one item.
        told = s.model.asked(2).split("# Refused for this trial")[1].split("\n# ")[0]
        assert [line for line in told.splitlines() if line.startswith("- ")] == [
            '- {"LR": 0.2}: guard: not',
            '- {"LR": 0.3}: guard: not',
        ]
        await s.go(1)
        assert "# Refused for this trial" not in s.model.asked(3)


# --- steering ---------------------------------------------------------------------------------------------------------
def steering(**answer: Any) -> str:
    return f"def steer(self, view):\n    return { ({**answer, 'why': 'so it is asked'})!r}"


async def test_steering_changes_what_the_model_is_asked_and_binds_its_answer(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        s.model.by_purpose["propose"] = [proposing({"changes": {"WD": 0.3}})]
        await s.go(1)
        await s.journal.record(StrategyDecided(trial=0, strategy="explore", frozen=["BATCH"]))
        await s.inject(
            "helm", steering(base=1, freeze=["MODE"], unfreeze=["BATCH"], ranges={"LR": [0.2, 0.4], "WD": [-5, 0.9]})
        )
        bad = [{"changes": {"MODE": "b"}}, {"changes": {"LR": 0.5}}]
        s.model.by_purpose["propose"] = [proposing(*bad), proposing({"changes": {"LR": 0.3, "BATCH": 512}, "base": 0})]
        await s.go(1)
        assert (s.last.base, s.last.changes) == (1, {"LR": 0.3, "BATCH": 512})
        assert s.last.config == config(WD=0.3, LR=0.3, BATCH=512)
        assert s.refusals("model") == ["MODE is frozen", "LR is held between 0.2 and 0.4 for this proposal"]
        prompt = s.model.asked(1)
        assert "- so it is asked" in prompt and '"start_from": 1' in prompt and "WD = 0.3" in prompt
        assert s.parameter("MODE", 1)["frozen"] and "frozen" not in s.parameter("BATCH", 1)
        assert (s.parameter("LR", 1)["low"], s.parameter("WD", 1)["low"], s.parameter("WD", 1)["high"]) == (0.2, 0, 0.9)
        assert s.acts("helm") == [(2, "steer")]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"base": 7}, "there is no trial 7"),
        ({"freeze": ["NOPE"]}, "there is no parameter 'NOPE'"),
        ({"ranges": {"LR": [2.0, 3.0]}}, "LR has no value between 2 and 3"),
        ({"ranges": {"BETAS": [0.1, 0.2]}}, "BETAS is no single number"),
        ({"freeze": ["BATCH", "LR", "WD", "MODE", "BETAS"]}, "no parameter to change"),
    ],
)
async def test_steering_to_what_is_not_there_is_refused(tmp_path: Path, answer: dict[str, Any], reason: str) -> None:
    async with search(tmp_path) as s:
        await s.inject("helm", steering(**answer))
        await s.go(1)
        assert reason in s.refusals("helm")[0] and s.acts("helm") == []
        assert "so it is asked" not in s.model.asked()


@pytest.mark.parametrize(
    "answer", [{"base": 0}, {"freeze": ["DEPTH"]}, {"unfreeze": ["WD"]}, {"ranges": {"LR": [0.0, 9.0]}}]
)
async def test_steering_to_what_holds_anyway_is_no_act(tmp_path: Path, answer: dict[str, Any]) -> None:
    async with search(tmp_path) as s:
        await s.journal.record(ParameterFrozen(name="WD"))
        await s.inject("helm", steering(**answer))
        await s.go(1)
        assert s.acts("helm") == [] and s.refusals("helm") == []
        assert s.parameter("WD")["frozen"]


async def test_where_two_steer_against_each_other_the_later_one_holds(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.inject("opens", steering(unfreeze=["WD"], freeze=["MODE"]))
        await s.inject("closes", steering(freeze=["WD"], unfreeze=["MODE"]))
        await s.go(1)
        assert s.parameter("WD")["frozen"] and "frozen" not in s.parameter("MODE")
        assert s.acts("opens") == s.acts("closes") == [(1, "steer")]


# --- choices ----------------------------------------------------------------------------------------------------------
async def test_the_last_opinion_chooses_and_only_another_choice_than_the_first_is_an_act(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.inject("second", "def choose(self, view, proposals):\n    return len(proposals) - 1")
        ranked = [{"changes": {"LR": 0.2}}, {"changes": {"LR": 0.3}}]
        s.model.by_purpose["propose"] = [proposing(*ranked), proposing(ranked[0])]
        await s.go(2)
        assert [trial.changes for trial in s.view.history][1:] == [{"LR": 0.3}, {"LR": 0.2}]
        assert s.acts("second") == [(1, "choose")]
        await s.inject("first", "def choose(self, view, proposals):\n    return 0")
        s.model.by_purpose["propose"] = [proposing({"changes": {"LR": 0.4}}, {"changes": {"LR": 0.5}})]
        await s.go(1)
        assert s.last.changes == {"LR": 0.4} and s.acts("first") == [] and len(s.acts("second")) == 1
