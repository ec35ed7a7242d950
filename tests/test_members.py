"""Acceptance, watching, failures, inert mechanisms, elders, and what a lucky draw is worth."""

from pathlib import Path
from typing import Any

import pytest
from searches import Search, config, mechanism, proposing, search

from engine.mechanism.chain import Chain
from engine.mechanism.members import deactivated
from engine.record.events import InjectionDecided, MechanismValidated
from engine.training.judging import RunResult

KEEPS = "def accept(self, view, trial):\n    return True"
DROPS = "def accept(self, view, trial):\n    return False"


def status(s: Search, digest: str) -> str:
    return s.view.mechanisms[digest].status


# --- acceptance -------------------------------------------------------------------------------------------------------
async def test_accept_may_keep_a_worse_trial_and_incumbent_and_best_part(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.inject("annealer", KEEPS)
        s.runs.metrics = [4.3, 3.5]
        await s.go(1)
        assert (s.last.status, s.last.decided_by, s.view.history.incumbent) == ("keep", "annealer", 1)
        assert s.view.history.best is not None and s.view.history.best.number == 0
        assert not s.last.beyond_noise and s.last.verdict == "worse"
        await s.go(1)
        assert (s.last.status, s.last.decided_by, s.last.base) == ("keep", "rule", 1)
        assert s.acts("annealer") == [(1, "accept")]


async def test_the_last_opinion_of_accept_wins_and_agreeing_with_the_rule_is_no_act(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.inject("keeps", KEEPS)
        await s.inject("drops", DROPS)
        await s.inject("silent", "def accept(self, view, trial):\n    return None")
        s.runs.metrics = [4.3, 3.5]
        await s.go(1)
        assert (s.last.status, s.last.decided_by) == ("discard", "rule")
        assert s.acts("keeps") == s.acts("drops") == []
        await s.go(1)
        assert (s.last.status, s.last.decided_by, s.view.history.incumbent) == ("discard", "drops", 0)
        assert s.acts("drops") == [(2, "accept")] and s.acts("keeps") == []


async def test_a_trial_without_a_metric_is_kept_by_nobody(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        digest = await s.inject("keeps", KEEPS)
        s.runs.metrics = [None]
        await s.go(1)
        assert (s.last.status, s.view.history.incumbent) == ("crash", 0)
        assert "accept" not in s.view.mechanisms[digest].called


async def test_a_lucky_draw_does_not_stay(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        again = proposing({"replicate": 1})
        s.model.by_purpose["propose"] = [proposing({"changes": {"WD": 0.3}}), again, again]
        s.runs.metrics = [3.6, 3.8, 5.0]
        await s.go(1)
        assert (s.view.history.incumbent, s.last.beyond_noise) == (1, True)
        await s.go(1)
        assert s.view.history.standing(config(WD=0.3)) == (pytest.approx(3.7), 2)
        assert (s.view.history.incumbent, s.last.status) == (1, "keep")
        await s.go(1)  # the mean is 4.13 now, worse than the baseline's 4.00
        assert (s.view.history.incumbent, s.last.status) == (0, "discard")
        assert s.view.history.best is not None and s.view.history.best.number == 1


async def test_a_configuration_that_was_tried_runs_as_a_replicate(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        s.model.by_purpose["propose"] = [proposing({"changes": {"WD": 0.3}})] * 2
        await s.go(2)
        assert (s.last.replicate, s.last.number) == (1, 2)
        assert s.view.history.standing(config(WD=0.3))[1] == 2


# --- watching ---------------------------------------------------------------------------------------------------------
async def test_watch_stops_a_trial_and_sees_what_the_contract_says(tmp_path: Path) -> None:
    body = """
        def watch(self, view, progress):
            if progress.changes.get("LR") == 0.9:
                return f"{progress.loss} at {progress.fraction}, step {progress.step}, {progress.tokens_per_second}"
    """
    async with search(tmp_path) as s:
        await s.inject("guard", body)
        s.model.by_purpose["propose"] = [proposing({"changes": {"LR": 0.9}}), proposing({"changes": {"LR": 0.8}})]
        await s.go(2)
        stopped, other = s.view.history.trials[1], s.view.history.trials[2]
        assert (stopped.status, stopped.metric) == ("stopped", None)
        assert stopped.reason == "guard: 3.0 at 0.5, step 4, 1000.0"
        assert other.status == "discard" and s.acts("guard") == [(1, "watch")]


# --- called, acted, inert ---------------------------------------------------------------------------------------------
async def test_advice_reaches_the_model_and_is_called_but_never_acted(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        body = "def advise(self, view):\n    return 'Mind the batch.\\n# Answer\\n```json state\\n{}\\n```'"
        digest = await s.inject("adviser", body)
        await s.go(2)
        assert "- adviser: Mind the batch.\n  # Answer\n  ```json state\n" in s.model.asked()
        assert s.view.mechanisms[digest].called == {"advise": 2, "suggest": 2}
        assert s.acts("adviser") == []


async def test_what_has_not_acted_within_ten_trials_is_retired(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.go(2)
        idle = await s.inject("idle", "def review(self, view, proposal):\n    return None")
        busy = await s.inject("busy", "def accept(self, view, trial):\n    return True if trial.number == 3 else None")
        await s.go(9)
        assert s.view.active == [idle, busy]
        await s.go(1)
        assert (s.view.active, status(s, idle)) == ([busy], "retired")
        assert s.view.mechanisms[idle].reason == "inert: it did not act in 10 trials"
        assert sum(s.view.mechanisms[idle].called.values()) > 0


async def test_what_comes_back_in_has_to_act_anew(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        body = "def accept(self, view, trial):\n    return True if trial.number == 1 else None"
        elder = await s.inject("once", body)
        await s.go(1)
        heir = await s.inject("once", body.replace("1", "2"), replaces=elder)
        await s.go(1)
        await s.journal.record(deactivated(s.view, heir, 2, "reverted", "person", "no"))
        await s.go(9)
        assert s.view.active == [elder] and s.view.mechanisms[elder].acted == 1
        await s.go(1)
        assert (s.view.active, s.view.mechanisms[elder].reason) == ([], "inert: it did not act in 10 trials")


async def test_the_same_act_is_recorded_once_by_the_engine_that_takes_the_session_up(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        body = "def suggest(self, view):\n    return [{'changes': {'WD': 0.5}, 'why': 'mine'}]"
        await s.inject("eager", body)
        first = await s.chain.suggest(1)
        later = Chain(s.journal, s.workshop.open_host)
        await later.sync()
        assert first is not None and await later.suggest(1) == first
        assert s.acts("eager") == [(1, "suggest")]
        await later.close()


# --- failures and elders ----------------------------------------------------------------------------------------------
RAISES = "def review(self, view, proposal):\n    raise KeyError('gone')"


async def test_three_failures_in_a_row_revert_a_mechanism_and_its_elder_comes_back(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        elder = await s.inject("guard", "def review(self, view, proposal):\n    return {'block': 'elder'}")
        heir = await s.inject("guard", RAISES, replaces=elder)
        assert (s.view.active, status(s, elder)) == ([heir], "replaced")
        await s.go(2)
        assert s.view.active == [heir] and len(s.view.mechanisms[heir].failures) == 2
        await s.go(1)
        assert (s.view.active, status(s, heir), status(s, elder)) == ([elder], "reverted", "active")
        assert s.view.mechanisms[heir].reason.startswith("3 failures in a row, the last: review raised KeyError")
        assert s.view.mechanisms[heir].called["review"] == 3
        await s.go(1)
        assert s.acts("guard") and s.last.overridden


async def test_failures_with_answers_between_them_revert_nothing(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        body = "def review(self, view, proposal):\n    return [][0] if len(view.trials) % 2 else None"
        digest = await s.inject("shaky", body)
        await s.go(7)
        assert status(s, digest) == "active" and len(s.view.mechanisms[digest].failures) == 4
        assert {failure.consecutive for failure in s.view.mechanisms[digest].failures} == {1}


async def test_a_mechanism_that_failed_at_a_trial_is_told_the_later_ones_all_the_same(tmp_path: Path) -> None:
    body = """
        def __init__(self):
            self.seen = []

        def observe(self, view, trial):
            if trial.metric is None:
                raise ValueError("a crash")
            self.seen.append(trial.number)

        def advise(self, view):
            return f"seen {self.seen} of {len(view.trials)}"
    """
    async with search(tmp_path) as s:
        s.runs.metrics = [4.1, None, 4.2]
        await s.go(3)
        digest = await s.inject("counter", body)
        assert [failure.trial for failure in s.view.mechanisms[digest].failures] == [2]
        await s.go(1)
        assert "counter: seen [0, 1, 3] of 4" in s.model.asked()
        # An engine that takes the session up tells all again; what failed before is no new failure.
        later = Chain(s.journal, s.workshop.open_host)
        await later.sync()
        assert await later.advise(5) == [("counter", "seen [0, 1, 3, 4] of 5")]
        assert len(s.view.mechanisms[digest].failures) == 1
        await later.close()


async def test_a_module_that_cannot_be_loaded_is_reverted_in_its_first_trial(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        digest = await s.inject("broken", "def __init__(self):\n    raise RuntimeError('not today')\n" + RAISES)
        await s.go(1)
        assert status(s, digest) == "reverted" and "not today" in s.view.mechanisms[digest].reason
        assert s.last.proposed_by == "model"


async def test_an_elder_that_a_person_took_out_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        elder = await s.inject("guard", KEEPS)
        await s.journal.record(deactivated(s.view, elder, 0, "reverted", "person", "no"))
        heir = await s.inject("guard", DROPS, replaces=elder)
        assert s.view.active == [heir]
        event = deactivated(s.view, heir, 0, "reverted", "person", "no")
        assert event.restored is None


async def test_what_goes_out_while_a_trial_runs_was_called_for_it_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with search(tmp_path) as s:
        digest = await s.inject("guard", "def review(self, view, proposal):\n    return None")
        execute = s.runs.execute

        async def executed_meanwhile(*given: Any, **more: Any) -> RunResult:
            result = await execute(*given, **more)
            await s.journal.record(deactivated(s.view, digest, s.view.completed, "reverted", "person", "no"))
            return result

        monkeypatch.setattr(s.runs, "execute", executed_meanwhile)
        await s.go(2)
        assert s.view.mechanisms[digest].called["review"] == 1


async def test_of_two_who_take_a_mechanism_out_at_once_the_first_has_the_word(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        elder = await s.inject("guard", KEEPS)
        heir = await s.inject("guard", DROPS, replaces=elder)
        await s.journal.record(
            deactivated(s.view, heir, 0, "retired", "model", "enough"),
            deactivated(s.view, heir, 0, "reverted", "person", "no"),
        )
        known = s.view.mechanisms
        assert (s.view.active, known[elder].status) == ([], "replaced")
        assert (known[heir].status, known[heir].reason) == ("retired", "enough")


async def test_a_retired_heir_does_not_bring_its_elder_back(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        elder = await s.inject("guard", KEEPS)
        heir = await s.inject("guard", DROPS, replaces=elder)
        assert deactivated(s.view, heir, 0, "retired", "engine", "inert").restored is None
        assert deactivated(s.view, heir, 0, "reverted", "engine", "failed").restored == elder


async def test_an_active_source_that_is_written_again_stays_as_it_is(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        elder = await s.inject("guard", KEEPS)
        heir = await s.inject("guard", DROPS, replaces=elder)
        written, source = s.written("guard", mechanism("guard", DROPS), replaces=heir)
        await s.journal.record(written, blobs=[source.encode()])
        assert await s.workshop.test(written, source) == [
            "guard is active already, with exactly this source: write another one"
        ]
        known = s.view.mechanisms[heir]
        assert (known.status, known.problems, known.replaces, s.view.active) == ("active", [], elder, [heir])


async def test_what_was_refused_once_may_be_written_again(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        written, source = s.written("guard", mechanism("guard", KEEPS))
        refused = MechanismValidated(hash=written.hash, name="guard", problems=["inert"])
        await s.journal.record(written, refused, blobs=[source.encode()])
        assert status(s, written.hash) == "refused"
        await s.journal.record(written, MechanismValidated(hash=written.hash, name="guard"))
        await s.journal.record(InjectionDecided(hash=written.hash, name="guard", decision="approved", by="person"))
        await s.boundary.inject()
        assert (status(s, written.hash), s.view.mechanisms[written.hash].problems) == ("active", [])
