"""How events fold into the view: what each kind changes, and that a fold goes on where another one stopped."""

from typing import Any

import msgspec
import pytest
from told_sessions import HASH, beginning, created, mechanism, run, trials, view_of, whole

from engine.record import events as ev
from engine.record.events import decode, encode, kind_of
from engine.record.evidence import standing
from engine.record.view import fold

OTHER = "b" * 64


def at(seconds: float, *events: ev.Event) -> list[tuple[int, float, ev.Event]]:
    return [(0, seconds, event) for event in events]


def test_a_fold_goes_on_where_another_one_stopped() -> None:
    rows = [(number, 1000.0 + number, event) for number, event in enumerate(whole(), 1)]
    once = fold(rows)
    for cut in range(0, len(rows), 7):
        twice = fold(rows[cut:], fold(rows[:cut]))
        assert str({**vars(once), "history": None}) == str({**vars(twice), "history": None})
        assert list(once.history) == list(twice.history) and once.history.noise == twice.history.noise


def test_events_read_back_from_their_encoding_fold_the_same() -> None:
    again = [decode(kind_of(event), encode(event)) for event in whole()]
    live, read = view_of(whole()), view_of(again)
    assert list(read.history) == list(live.history) and read.space == live.space
    assert str({**vars(read), "history": None}) == str({**vars(live), "history": None})


def test_the_baseline_is_the_mean_over_its_valid_runs() -> None:
    view = view_of([created(), ev.PhaseStarted(phase="baseline")])
    assert view.baseline is None and view.trials_left() == 7
    view = view_of(beginning())
    assert view.baseline is not None and view.baseline.metric == pytest.approx(3.9966667)
    assert view.baseline_runs == [3.98, 4.01, 4.0] and view.completed == 0
    crashed = run("baseline-4", 0, None, role="baseline", status="crash")
    view = view_of([*beginning(), *crashed])
    assert view.baseline is not None and view.baseline.metric == pytest.approx(3.9966667)
    assert view.baseline.status == "keep" and len(view.baseline_runs) == 3


def test_confirmations_are_no_trials_and_count_towards_no_standing() -> None:
    before = view_of([*beginning(), *trials()])
    fresh = run("confirm-1-best-1", 3, 9.9, role="confirm_best", status="keep", incumbent=3)
    after = view_of([*beginning(), *trials(), *fresh])
    assert list(after.history) == list(before.history) and after.history.noise == before.history.noise
    assert after.finished_runs["confirm-1-best-1"].metric == 9.9


def test_only_the_run_that_goes_on_is_followed() -> None:
    begun, ended = run("trial-1", 1, 4.1, changes={"BATCH": 32}, base=0)
    progress = ev.TrialProgress(run="trial-1", attempt=1, step=3, offset=9)
    other = ev.TrialProgress(run="trial-9", attempt=1, step=99, offset=9)
    view = view_of([*beginning(), begun, progress, other])
    assert view.running is not None and view.running.progress is not None and view.running.progress.step == 3
    lost = ev.TrialLost(run="trial-1", attempt=1, reason="gone")
    view = view_of([*beginning(), begun, progress, lost, begun])
    assert view.running is not None and view.running.progress is None and view.lost == {"trial-1": 1}
    assert view_of([*beginning(), begun, ended]).running is None


def test_what_finished_keeps_no_long_texts_in_memory() -> None:
    told: dict[str, Any] = {"curve": [(0.1, 5.0)] * 60, "log_tail": [str(n) for n in range(50)]}
    view = view_of([*beginning(), *run("trial-1", 1, 4.1, changes={"BATCH": 32}, base=0, **told)])
    assert view.finished_runs["trial-1"].curve == [] and len(view.finished_runs["trial-1"].log_tail) == 20
    assert len(view.history.trials[1].curve) == 60


def test_active_time_counts_neither_a_pause_nor_the_time_without_an_engine() -> None:
    started = ev.EngineStarted(pid=1, boot_id="b", sandbox="C")
    note = ev.Noted(severity="info", text="t")
    view = fold(at(1000.0, created(), started))
    fold(at(1010.0, note), view)
    assert view.active_seconds == 10
    fold(at(1020.0, ev.StateChanged(status="paused")), view)
    fold(at(1100.0, note, ev.StateChanged(status="running")), view)
    assert view.active_seconds == 20
    fold(at(1105.0, note), view)
    fold(at(5000.0, started), view)  # the engine had died at some moment after 1105
    fold(at(5001.0, note), view)
    assert view.active_seconds == 26
    fold(at(4000.0, note), view)  # a clock that was set back counts nothing
    assert view.active_seconds == 26


def test_a_session_is_extended_by_what_is_given_alone() -> None:
    view = view_of([*beginning(hours=2.0), ev.BudgetExtended(trials=20)])
    assert (view.settings.trials, view.settings.hours, view.trials_left()) == (20, 2.0, 20)


def test_guidance_is_the_persons_and_the_levels_together() -> None:
    level = ev.StrategyDecided(trial=0, strategy="exploit", guidance="smaller")
    view = view_of([*beginning(), ev.GuidanceGiven(text="first"), level, ev.GuidanceGiven(text="mine")])
    assert (view.guidance, view.strategy) == ("mine\nsmaller", "exploit")
    view = view_of([*beginning(), level, ev.GuidanceGiven(text="mine"), ev.GuidanceGiven(text="")])
    assert view.guidance == "smaller"


def test_the_models_ranked_proposals_are_known_by_trial() -> None:
    made = [ev.ProposalsMade(trial=1, proposals=[{"changes": {"BATCH": n}}]) for n in (1, 2)]
    assert view_of([*beginning(), *made]).proposals == {1: [{"changes": {"BATCH": 2}}]}


def test_cost_is_unknown_once_a_price_was() -> None:
    def called(cost: float | None) -> ev.ModelCalled:
        told: dict[str, Any] = {"prompt_blob": HASH, "answer_blob": HASH, "tokens_in": 100, "tokens_out": 7}
        return ev.ModelCalled(level="1", purpose="propose", model="m", seconds=1.0, cost=cost, **told)

    view = view_of([*beginning(), called(0.5), called(0.25)])
    assert (view.calls, view.tokens_in, view.tokens_out, view.cost) == (2, 200, 14, 0.75)
    assert view_of([*beginning(), called(0.5), called(None), called(0.25)]).cost is None


def test_a_mechanism_from_its_source_to_its_end() -> None:
    view = view_of([*beginning(), *trials()])
    known = view.mechanisms[HASH]
    assert (known.status, known.activated, known.acted, known.trials_touched) == ("active", 5, 1, [6])
    assert known.called == {"review": 6, "advise": 3} and known.evidence["blocked"] == 6
    gone = ev.MechanismDeactivated(hash=HASH, name="tabu_search", trial=7, status="retired", by="engine", reason="idle")
    view = view_of([*beginning(), *trials(), gone])
    assert (view.active, view.mechanisms[HASH].status, view.mechanisms[HASH].reason) == ([], "retired", "idle")


def test_an_heir_takes_its_elders_place_in_the_chain_and_gives_it_back() -> None:
    def written(digest: str, name: str, **told: Any) -> list[ev.Event]:
        stated: dict[str, Any] = {"purpose": "p", "source": "own", "written_by": "model", "path": f"/m/{name}.py"}
        replaces = told.get("replaces")
        return [
            ev.MechanismWritten(hash=digest, name=name, replaces=replaces, **stated),
            ev.MechanismActivated(hash=digest, name=name, trial=7, replaces=replaces),
        ]

    later = "c" * 64
    chain = [*beginning(), *mechanism()[:5], *written(later, "last"), *written(OTHER, "heir", replaces=HASH)]
    view = view_of(chain)
    assert view.active == [OTHER, later] and view.mechanisms[HASH].status == "replaced"
    back = ev.MechanismDeactivated(hash=OTHER, name="heir", trial=8, status="reverted", by="person", restored=HASH)
    view = view_of([*chain, back])
    assert view.active == [HASH, later] and view.mechanisms[HASH].status == "active"


def test_a_decision_about_another_module_leaves_what_waits() -> None:
    waiting = mechanism()[:3]
    told: dict[str, Any] = {"purpose": "p", "source": "own", "written_by": "person", "path": "/m/o.py"}
    other = ev.MechanismWritten(hash=OTHER, name="other", **told)
    decided = ev.InjectionDecided(hash=OTHER, name="other", decision="approved", by="person")
    view = view_of([*beginning(), *waiting, other, decided])
    assert view.waiting is not None and view.waiting.hash == HASH and view.mechanisms[OTHER].status == "approved"


def test_a_skipped_turn_is_a_turn() -> None:
    view = view_of([*beginning(), ev.LevelSkipped(level="1.5", trial=5, reason="no model")])
    assert (view.strategy_due_after, view.research_due_after) == (5, 0)
    view = view_of([*beginning(), ev.LevelSkipped(level="2", trial=10, reason="no model")])
    assert (view.strategy_due_after, view.research_due_after) == (0, 10)


def test_an_engine_that_starts_knows_of_no_activity() -> None:
    busy = ev.LevelActivity(level="2", activity="writing tabu_search")
    assert view_of([*beginning(), busy]).activity == {"2": "writing tabu_search"}
    assert view_of([*beginning(), busy, ev.EngineStarted(pid=2, boot_id="b", sandbox="C", resumed=True)]).activity == {}


def test_a_stop_holds_until_the_session_has_ended_or_another_engine_takes_it_up() -> None:
    stop = ev.CommandApplied(command="stop", detail="it ends after trial-8")
    events = [*beginning(), *trials(), stop]
    assert not view_of(events[:-1]).ending and view_of(events).ending
    assert not view_of([*events, ev.EngineStarted(pid=2, boot_id="b", sandbox="C", resumed=True)]).ending
    ended = ev.StateChanged(status="finished", reason="a person stopped it", by="person")
    assert not view_of([*events, ended]).ending
    assert not view_of([*events[:-1], ended, stop]).ending, "what ended at once is not about to end"
    assert view_of([*events, ev.StateChanged(status="paused", by="person")]).ending
    assert not view_of([*events[:-1], ev.CommandApplied(command="pause")]).ending


TAKEN_UP = ev.EngineStarted(pid=2, boot_id="b", sandbox="C", resumed=True)


@pytest.mark.parametrize("end", [TAKEN_UP, ev.StateChanged(status="finished", reason="all is done")])
def test_what_an_engine_left_written_and_begun_is_interrupted_until_it_is_written_again(end: ev.Event) -> None:
    begun = [*beginning(), ev.ResearchStarted(research=1, trial=5), mechanism()[0]]
    assert view_of(begun).mechanisms[HASH].state == "written" and not view_of(begun).researches[1].interrupted
    view = view_of([*begun, end])
    assert (view.mechanisms[HASH].status, view.mechanisms[HASH].state) == ("written", "interrupted")
    assert view.researches[1].interrupted
    assert standing(view.mechanisms[HASH]) == "interrupted before its tests had ended"
    assert standing(view_of([*begun, mechanism()[1], end]).mechanisms[HASH]) == "interrupted before it was let in"
    anew = [*begun, mechanism()[1], msgspec.structs.replace(mechanism()[0], research=2), end]
    assert standing(view_of(anew).mechanisms[HASH]) == "interrupted before its tests had ended"
    assert view_of([*begun, TAKEN_UP, mechanism()[0]]).mechanisms[HASH].state == "written"


def test_a_module_that_is_told_again_with_what_it_replaces_keeps_the_evidence_of_its_tests() -> None:
    source, tested = mechanism()[:2]
    assert isinstance(tested, ev.MechanismValidated) and tested.evidence["sandbox"]
    heir = msgspec.structs.replace(source, replaces="b" * 64)
    known = view_of([*beginning(), source, tested, heir]).mechanisms[HASH]
    assert known.evidence == tested.evidence and known.replaces == "b" * 64
    later = msgspec.structs.replace(source, research=2)
    assert view_of([*beginning(), source, tested, later]).mechanisms[HASH].evidence == {}


def test_what_becomes_of_a_persons_edit_decides_no_research() -> None:
    edit = msgspec.structs.replace(mechanism()[0], research=1, written_by="person")
    dropped = ev.InjectionDecided(
        hash=HASH, name="tabu_search", decision="refused", by="person", reason="changed again"
    )
    assert view_of([*beginning(), ev.ResearchStarted(research=1, trial=5), edit, dropped]).researches[1].decided is None


def test_a_module_that_waits_is_gone_on_with_by_the_next_engine_and_its_research_as_well() -> None:
    told = msgspec.structs.replace(mechanism()[0], research=1)
    view = view_of([*beginning(), ev.ResearchStarted(research=1, trial=5), told, *mechanism()[1:3], TAKEN_UP])
    assert view.mechanisms[HASH].state == "waiting" and not view.researches[1].interrupted


def test_a_research_that_an_engine_left_is_not_told_by_what_was_decided_on_the_same_source_before() -> None:
    source, tested, waiting = mechanism()[:3]
    late = ev.InjectionDecided(hash=HASH, name="tabu_search", decision="refused", by="clock", reason="too late")
    first = [
        ev.ResearchStarted(research=1, trial=5),
        msgspec.structs.replace(source, research=1),
        tested,
        waiting,
        late,
    ]
    again = [ev.ResearchStarted(research=2, trial=10), msgspec.structs.replace(source, research=2)]
    ended = ev.ResearchFinished(research=1, outcome="refused")
    view = view_of([*beginning(), *first, ended, *again, TAKEN_UP])
    assert view.researches[2].interrupted and view.mechanisms[HASH].reason == ""
    unfit = ev.MechanismValidated(hash=HASH, name="tabu_search", problems=["a person vetoed exactly this source"])
    assert view_of([*beginning(), *first, ended, *again, unfit, TAKEN_UP]).researches[2].interrupted
    view = view_of([*beginning(), *first, TAKEN_UP])
    assert not view.researches[1].interrupted and view.mechanisms[HASH].reason == "too late"


@pytest.mark.parametrize(("outcome", "due_after"), [("failed", 0), ("vetoed", 5), ("proposed", 5)])
def test_a_research_that_an_engine_left_is_no_turn_unless_a_person_called_it_off(outcome: Any, due_after: int) -> None:
    ended = ev.ResearchFinished(research=1, outcome=outcome)
    begun = [*beginning(), ev.ResearchStarted(research=1, trial=5)]
    assert view_of([*begun, ended]).research_due_after == 5
    interrupted = [] if outcome == "proposed" else [TAKEN_UP]
    assert view_of([*begun, *interrupted, ended]).research_due_after == due_after


def test_of_two_ends_of_a_research_the_first_counts() -> None:
    begun = ev.ResearchStarted(research=1, trial=5)
    vetoed = ev.ResearchFinished(research=1, outcome="vetoed", reason="not now")
    failed = ev.ResearchFinished(research=1, outcome="failed", reason="the engine ended in the middle of it")
    assert view_of([*beginning(), begun, vetoed, failed]).researches[1].finished == vetoed


def test_lists_that_could_grow_for_ever_do_not() -> None:
    notes: list[ev.Event] = [ev.Noted(severity="info", text=str(number)) for number in range(500)]
    refused: list[ev.Event] = [ev.ProposalRefused(trial=n, by="model", proposal={}, reason="no") for n in range(500)]
    view = view_of([*beginning(), *notes, *refused])
    assert len(view.notes) == len(view.refused_proposals) == 200
    assert view.notes[-1].text == "499" and view.refused_proposals[-1].trial == 499


def test_an_empty_view_is_a_session_of_which_nothing_is_known() -> None:
    view = fold([])
    assert (view.created, view.completed, view.baseline, view.history.best, view.confirmed) == (
        0.0,
        0,
        None,
        None,
        None,
    )
