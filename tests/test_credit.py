"""What is credited to a mechanism: which acts count, for which trials it was there, and what these came to."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from searches import Search, proposing, search

from engine.mechanism.members import deactivated
from engine.record.credit import Credit, Group, credit
from engine.record.events import BudgetExtended, ParameterFrozen, StateChanged
from engine.search.proposals import Proposal

SUGGESTS = """
def suggest(self, view):
    return [{"changes": {"WD": round(0.5 + 0.01 * len(view.trials), 2)}, "why": "the decay is too low"}]
"""
EDITS = """
def review(self, view, proposal):
    return {"changes": {**dict(proposal.changes), "WD": 0.7}, "why": "so"}
"""
BLOCKS = "def review(self, view, proposal):\n    return {'block': 'no'}"


def credited(s: Search, digest: str) -> Credit:
    found = credit(s.view, s.view.mechanisms[digest])
    assert found is not None
    return found


def same(group: Group, trials: int, kept: int, improvement: float, mean: float | None) -> bool:
    return group == Group(trials, kept, pytest.approx(improvement), None if mean is None else pytest.approx(mean))


# --- what the trials came to ------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("direction", "sign"), [("minimize", 1.0), ("maximize", -1.0)])
async def test_kept_improvements_are_credited_to_the_trials_that_were_touched(
    tmp_path: Path, direction: str, sign: float
) -> None:
    async with search(tmp_path, direction=direction) as s:
        digest = await s.inject("eager", SUGGESTS)
        # Suggested and asked for by turns, from a baseline of 4.0: kept, kept, not kept, a crash.
        s.runs.metrics = [4 - sign * 0.5, 4 - sign * 0.8, 4 - sign * 0.1, None]
        await s.go(4)
        assert s.acts("eager") == [(1, "suggest"), (3, "suggest")]
        found = credited(s, digest)
        assert same(found.touched, 2, 1, 0.5, 4 - sign * 0.3)
        assert same(found.others, 2, 1, 0.3, 4 - sign * 0.8)


async def test_an_improvement_is_over_the_incumbent_and_not_over_the_base(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        s.runs.metrics = [3.0, 3.5, 2.9]
        await s.go(1)
        digest = await s.inject("helm", "def steer(self, view):\n    return {'base': 0, 'why': 'back to the start'}")
        await s.go(2)
        assert s.last.base == 0 and s.last.difference == pytest.approx(-1.1)
        assert same(credited(s, digest).touched, 2, 1, 0.1, 3.2)


async def test_a_replicate_that_confirms_its_configuration_improves_nothing(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        digest = await s.inject("again", "def suggest(self, view):\n    return [{'replicate': 0, 'why': 'to be sure'}]")
        s.runs.metrics = [3.8]
        await s.go(1)
        assert s.last.kept and s.last.replicate == 0
        assert same(credited(s, digest).touched, 1, 1, 0.0, 3.8)


async def test_a_worse_trial_that_a_mechanism_keeps_is_set_against_it(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        digest = await s.inject("keeps", "def accept(self, view, trial):\n    return True")
        s.runs.metrics = [4.3, 4.0]
        await s.go(2)
        assert s.acts("keeps") == [(1, "accept")]
        found = credited(s, digest)
        assert same(found.touched, 1, 1, -0.3, 4.3) and same(found.others, 1, 1, 0.3, 4.0)


async def test_what_was_never_active_has_no_credit(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        written, source = s.written("probe", SUGGESTS)
        await s.journal.record(written, blobs=[source.encode()])
        assert credit(s.view, s.view.mechanisms[written.hash]) is None


# --- when it was active -----------------------------------------------------------------------------------------------
async def test_an_elder_that_comes_back_is_credited_with_its_two_periods(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        elder = await s.inject("eager", SUGGESTS)
        s.runs.metrics = [3.9, 4.5, 3.7, 4.5, 3.6, 4.5]
        await s.go(2)
        heir = await s.inject("eager", SUGGESTS.replace("WD", "LR").replace("0.5", "0.2"), replaces=elder)
        await s.go(2)
        await s.journal.record(deactivated(s.view, heir, 4, "reverted", "person", "no"))
        await s.go(2)
        known = s.view.mechanisms
        assert known[elder].periods == [(0, 2), (4, None)] and known[heir].periods == [(2, 4)]
        assert known[elder].activated == 4
        assert [n for n in range(1, 7) if known[elder].took_part(n)] == [1, 2, 5, 6]
        found = credited(s, elder)
        assert same(found.touched, 2, 2, 0.1 + 0.1, 3.75) and same(found.others, 2, 0, 0.0, 4.5)
        assert same(credited(s, heir).touched, 1, 1, 0.2, 3.7)


async def test_a_mechanism_that_is_taken_out_during_a_trial_took_part_in_it(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        digest = await s.inject("eager", SUGGESTS)
        execute = s.runs.execute

        async def taken_out(started: Any, watch: Any = None) -> Any:
            result = await execute(started, None)
            await s.journal.record(deactivated(s.view, digest, s.view.completed, "retired", "model", "enough"))
            return result

        s.runs.execute = taken_out  # type: ignore[method-assign]
        s.runs.metrics = [3.5]
        await s.go(1)
        assert s.view.mechanisms[digest].periods == [(0, 1)]
        assert same(credited(s, digest).touched, 1, 1, 0.5, 3.5)


# --- which acts count -------------------------------------------------------------------------------------------------
async def test_a_block_that_the_override_passed_over_is_no_act(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        digest = await s.inject("guard", BLOCKS)
        s.model.by_purpose["propose"] = [proposing({"changes": {"LR": value}}) for value in (0.2, 0.3, 0.4)]
        await s.go(1)
        assert s.last.overridden and s.last.changes == {"LR": 0.4}
        acts = s.view.mechanisms[digest].acts
        assert [act.before["changes"] for act in acts] == [{"LR": 0.2}, {"LR": 0.3}]


async def test_a_mechanism_whose_blocks_change_nothing_has_not_acted(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        digest = await s.inject("guard", BLOCKS)
        s.model.by_purpose["propose"] = [proposing({"changes": {"LR": 0.2}})] * 3
        await s.go(1)
        assert s.last.overridden and s.last.changes == {"LR": 0.2}
        known = s.view.mechanisms[digest]
        assert (known.acted, known.trials_touched, known.called["review"]) == (0, [], 3)
        assert same(credited(s, digest).others, 1, 0, 0.0, 4.5)


async def test_a_block_of_what_then_runs_all_the_same_is_no_act(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        once = "{'block': 'no'} if not globals().update(n=globals().get('n', 0) + 1) and n % 2 else None"
        digest = await s.inject("guard", f"def review(self, view, proposal):\n    return {once}")
        again = [{"changes": {"LR": 0.2}, "hypothesis": said} for said in ("first", "second")]
        s.model.by_purpose["propose"] = [proposing(proposal) for proposal in again]
        await s.go(1)
        assert (s.last.changes, s.last.overridden, s.last.hypothesis) == ({"LR": 0.2}, False, "second")
        known = s.view.mechanisms[digest]
        assert (known.acted, known.called["review"]) == (0, 2)
        s.model.by_purpose["propose"] = [proposing({"changes": {"LR": value}}) for value in (0.3, 0.4)]
        await s.go(1)
        assert s.last.changes == {"LR": 0.4} and known.trials_touched == [2]


async def test_an_edit_that_is_no_part_of_what_runs_is_no_act_either(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.inject("editor", EDITS)
        await s.inject("guard", BLOCKS)
        s.model.by_purpose["propose"] = [proposing({"changes": {"LR": value}}) for value in (0.2, 0.3, 0.4)]
        await s.go(1)
        assert (s.last.changes, s.last.overridden) == ({"LR": 0.4}, True)
        assert s.acts("editor") == [] and s.acts("guard") == [(1, "review")] * 2


async def test_of_an_edit_that_was_blocked_and_one_that_runs_the_second_counts(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        editor = await s.inject("editor", EDITS)
        guard = "{'block': 'no'} if proposal.changes['LR'] == 0.2 else None"
        await s.inject("guard", f"def review(self, view, proposal):\n    return {guard}")
        await s.inject("last", EDITS.replace("WD", "BATCH").replace("0.7", "512"))
        s.model.by_purpose["propose"] = [proposing({"changes": {"LR": value}}) for value in (0.2, 0.3)]
        await s.go(1)
        assert s.last.changes == {"LR": 0.3, "WD": 0.7, "BATCH": 512}
        [act] = s.view.mechanisms[editor].acts
        assert act.before["changes"] == {"LR": 0.3}
        assert s.acts("guard") == s.acts("last") == [(1, "review")]


async def test_what_the_model_was_asked_for_is_no_act_where_a_mechanism_has_the_trial(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.inject("helm", "def steer(self, view):\n    return {'ranges': {'LR': [0.01, 0.02]}, 'why': 'small'}")
        s.model.by_purpose["propose"] = [proposing({"changes": {"LR": 0.015}})]
        turn = s.boundary.turn

        @asynccontextmanager
        async def frozen_before() -> AsyncIterator[bool]:
            s.boundary.turn = turn  # type: ignore[method-assign]
            await s.journal.record(ParameterFrozen(name="LR"))
            await s.inject("eager", SUGGESTS)
            async with turn() as granted:
                yield granted

        s.boundary.turn = frozen_before  # type: ignore[method-assign]
        await s.go(1)
        assert s.last.proposed_by == "eager"
        assert (s.acts("helm"), s.acts("eager")) == ([], [(1, "suggest")])


async def test_a_trial_that_was_to_be_stopped_and_ended_by_itself_is_no_act(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        digest = await s.inject("guard", "def watch(self, view, progress):\n    return 'enough'")
        execute = s.runs.execute

        async def ended_first(started: Any, watch: Any = None) -> Any:
            result = await execute(started, watch)
            assert result.status == "stopped" and s.acts("guard") == [(1, "watch")]
            return replace(result, status="ended", metric=3.5)

        s.runs.execute = ended_first  # type: ignore[method-assign]
        await s.go(1)
        assert (s.last.status, s.acts("guard")) == ("keep", [])
        assert same(credited(s, digest).others, 1, 1, 0.5, 3.5)


async def after_suggesting(s: Search, then: Callable[[], Awaitable[None]]) -> None:
    """One trial, whose suggestion is followed by this before anything starts."""
    suggest = s.chain.suggest

    async def suggested(number: int) -> Proposal | None:
        found = await suggest(number)
        if found is not None:
            s.chain.suggest = suggest  # type: ignore[method-assign]
            await then()
        return found

    s.chain.suggest = suggested  # type: ignore[method-assign]
    await s.go(1)


async def test_a_suggestion_for_a_trial_that_the_end_of_the_session_forestalled_is_no_act(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        digest = await s.inject("eager", SUGGESTS)

        async def stop() -> None:
            s.boundary.end("a person stopped it", by_person=True)

        await after_suggesting(s, stop)
        assert (s.view.completed, s.acts("eager")) == (0, [(1, "suggest")])
        await s.journal.record(StateChanged(status="finished", reason="a person stopped it", by="person"))
        assert (s.view.mechanisms[digest].acted, s.view.mechanisms[digest].trials_touched) == (0, [])
        # The session is given more trials: the same suggestion is made again, and now it is tried.
        await s.journal.record(BudgetExtended(trials=1))
        await s.go(1)
        assert s.acts("eager") == [(1, "suggest")] and s.last.proposed_by == "eager"


async def test_a_suggestion_that_a_freeze_overtook_is_no_act(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.inject("eager", SUGGESTS)
        await after_suggesting(s, lambda: s.journal.record(ParameterFrozen(name="WD")))
        assert (s.last.proposed_by, s.acts("eager")) == ("model", [])
