"""Events as plain lines."""

import io
from pathlib import Path
from typing import Any

import pytest
from told_sessions import HASH, NAME, beginning, created, mechanism, run, trials, view_of, whole, write

from engine.record import events as ev
from engine.record.reader import Reader
from engine.record.wording import LONGEST_TEXT
from tui.follow import Screen, narrator_before
from tui.plain import Narrator, clean, header, progress_line


def lines_of(events: list[ev.Event]) -> list[str]:
    narrator = Narrator()
    told = [narrator.tell(number, 1000.0 + number, event) for number, event in enumerate(events, 1)]
    return [line for line in told if line]


def decided(decision: Any, by: Any, reason: str) -> ev.Event:
    return ev.InjectionDecided(hash=HASH, name="tabu_search", decision=decision, by=by, reason=reason)


def test_the_first_lines_name_model_profile_and_settings() -> None:
    text = "\n".join(header(view_of([created()])))
    assert "STAND-IN" in text
    assert "profile cpu, 8 s a trial" in text
    assert "7 trials, levels 1, 1.5, 2, approval grace" in text


def test_a_trial_is_one_line_with_all_that_decides() -> None:
    told = lines_of(whole())
    (first,) = [line for line in told if line.startswith("trial   1")]
    assert first == "trial   1  discard  val_bpb 4.2000  +0.2033 to the best  10.4 s  by model  BATCH 64 → 128"
    (third,) = [line for line in told if line.startswith("trial   3")]
    assert "keep     val_bpb 2.6100  -1.3867 to the best, beyond noise" in third


def test_a_trial_without_a_metric_says_why() -> None:
    (line,) = [line for line in lines_of(whole()) if line.startswith("trial   4")]
    assert "crash    no val_bpb  exit code 1" in line


def test_who_proposed_and_who_edited_is_told_and_a_replicate_is_named() -> None:
    told = lines_of(whole())
    assert any(line.startswith("trial   5") and "by tabu_search  trial 3 again" in line for line in told)
    assert any(line.startswith("trial   6") and "by model, edited by tabu_search" in line for line in told)


def test_changes_that_make_a_replicate_are_shown_with_it() -> None:
    again = run("trial-8", 8, 2.6, changes={"BATCH": 32}, base=0, replicate=3, proposed_by="model")
    assert lines_of([*beginning(), *trials(), *again])[-1].endswith("by model  BATCH 64 → 32 (trial 3 again)")


def test_the_runs_of_baseline_and_confirmation_go_by_their_names() -> None:
    told = lines_of([*beginning(), *run("confirm-1-best-1", 3, 2.6, role="confirm_best")])
    assert "baseline-2  val_bpb 4.0100  10.4 s" in told
    assert "confirm-1-best-1  val_bpb 2.6000  10.4 s" in told


def test_what_the_outer_levels_did_is_a_line_each() -> None:
    told = lines_of([*beginning(), *trials()])
    assert "level 1.5 after trial 5: explore; froze RATE; guidance: look at [2J batches" in told
    assert any(line.startswith(f"mechanism tabu_search ({HASH[:12]}) waits for you") for line in told)
    assert "mechanism tabu_search approved by the clock" in told
    assert "mechanism tabu_search active after trial 5" in told
    assert "mechanism tabu_search acted on trial 6 (review): it was tried" in told


def test_of_a_veto_and_the_boundary_only_what_came_first_is_told_as_done() -> None:
    vetoed = ev.InjectionDecided(hash=HASH, name="tabu_search", decision="vetoed", by="person", reason="no")
    events = mechanism()
    late = lines_of([*beginning(), *events[:5], vetoed])
    assert late[-2:] == [
        "mechanism tabu_search active after trial 5",
        "mechanism tabu_search vetoed by a person: no (too late: it is active)",
    ]
    assert (
        lines_of([*beginning(), *events[:4], vetoed, events[4]])[-1] == "mechanism tabu_search vetoed by a person: no"
    )


def test_every_kind_of_event_is_told_or_passed_over_without_harm() -> None:
    written = mechanism()[0]
    told = lines_of(
        [
            *beginning(),
            written,
            ev.Noted(severity="warning", text="the disk is full"),
            ev.TrialLost(run="trial-1", attempt=1, reason="killed"),
            ev.ProposalRefused(trial=1, by="model", proposal={}, reason="RATE is frozen"),
            ev.ParameterFrozen(name="RATE"),
            ev.ParameterUnfrozen(name="RATE"),
            ev.GuidanceGiven(text=""),
            ev.ResearchStarted(research=1, trial=5),
            ev.ResearchRound(research=1, round="explore", answer_blob="", summary="three ideas"),
            ev.ResearchFinished(research=1, outcome="failed", reason="no answer"),
            ev.MechanismValidated(hash=HASH, name="tabu_search", problems=["it does not load"]),
            ev.MechanismDeactivated(hash=HASH, name="tabu_search", trial=6, status="retired", by="engine"),
            ev.MechanismFailed(hash=HASH, name="tabu_search", trial=6, hook="review", error="E", consecutive=1),
            ev.ModelRetried(level="1", purpose="propose", error="429", attempt=1, wait=2.0),
            ev.AnswerRefused(level="1", purpose="propose", error="no JSON", attempt=1),
            ev.LevelSkipped(level="2", trial=10, reason="no answer"),
            ev.LevelBackedOff(level="1", wait=5.0, reason="no answer"),
            ev.CommandApplied(command="stop", detail="it ends after trial-1"),
            ev.CommandRefused(command="freeze", detail="no such parameter"),
            ev.BudgetExtended(trials=9),
            ev.Confirmed(baseline=[4.0], best=[], trial=3),
            ev.StateChanged(status="paused", reason="a person paused it", by="person"),
        ]
    )
    assert len([line for line in told if line]) == 5 + 22
    assert "paused by a person" in told
    assert "guidance by a person: (taken back)" in told
    assert "freeze by a person refused: no such parameter" in told
    assert "extended to 9 trials" in told


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (decided("vetoed", "person", "a person vetoed it"), "mechanism tabu_search vetoed by a person"),
        (decided("vetoed", "person", "too slow"), "mechanism tabu_search vetoed by a person: too slow"),
        (decided("approved", "person", "a person wrote it"), "mechanism tabu_search approved: a person wrote it"),
        (decided("refused", "clock", "too late"), "mechanism tabu_search refused by the clock: too late"),
        (ev.StateChanged(status="running", reason="a person resumed it", by="person"), "running: a person resumed it"),
        (
            ev.StateChanged(status="running", reason="it was given more", by="person"),
            "running by a person: it was given more",
        ),
        (ev.StateChanged(status="failed", reason="no metric"), "failed: no metric"),
        (ev.StateChanged(status="finished"), "finished by the engine"),
    ],
)
def test_who_decided_and_why_is_told_without_saying_it_twice(event: ev.Event, line: str) -> None:
    assert lines_of([*beginning(), mechanism()[0], event])[-1] == line


@pytest.mark.parametrize("hostile", ["\x1b[2J\x1b]0;title\x07", "a\nb\rc\x00", "x" * 10_000, "\u202eevil"])
def test_no_text_of_others_acts_on_the_terminal(hostile: str) -> None:
    told = lines_of(
        [
            *beginning(),
            ev.Noted(severity="info", text=hostile),
            *run("trial-1", 1, None, status="crash", reason=hostile, proposed_by=hostile),
        ]
    )
    for line in told[-2:]:
        assert line.isprintable()
        assert len(line) < 1000
    assert len(clean(hostile)) <= LONGEST_TEXT


def test_the_progress_line_tells_trial_time_share_and_loss() -> None:
    started = run("trial-1", 1, 4.0, changes={"BATCH": 8})[0]
    progress = ev.TrialProgress(run="trial-1", attempt=1, step=5, offset=9, fraction=0.25, loss=5.1234)
    view = view_of([*beginning(), started, progress, ev.LevelActivity(level="2", activity="explores")])
    assert progress_line(view, 1013.0 + 9.0).startswith("trial 1 of 7 | ")
    assert "| 25 % | loss 5.123 | level 2: explores" in progress_line(view, 1020.0)


def test_the_progress_line_of_a_pause_says_what_still_trains() -> None:
    started = run("trial-1", 1, 4.0)[0]
    view = view_of([*beginning(), started, ev.StateChanged(status="paused", reason="a person paused it", by="person")])
    assert progress_line(view, 0.0) == "paused by a person; trial-1 trains to its end"
    assert "between two runs" in progress_line(view_of(beginning()), 0.0)


def test_the_progress_line_of_a_session_that_was_stopped_says_when_it_ends() -> None:
    stop = ev.CommandApplied(command="stop", detail="it ends after trial-1")
    started = run("trial-1", 1, 4.0)[0]
    assert progress_line(view_of([*beginning(), started, stop]), 1012.0) == "trial 1 of 7 | 1 s | ending after trial-1"
    assert progress_line(view_of([*beginning(), stop]), 0.0) == "ending"


def test_the_progress_line_says_that_the_model_fails_until_it_answers() -> None:
    failed = ev.ModelRetried(level="1", purpose="propose", error="429 too many", attempt=1, wait=2.0)
    off = ev.LevelBackedOff(level="1", wait=5.0, reason="no connection")
    assert progress_line(view_of([*beginning(), failed]), 0.0).endswith("model, which failed: 429 too many")
    assert progress_line(view_of([*beginning(), failed, off]), 0.0).endswith("model, which failed: no connection")
    answered = ev.ModelCalled(
        level="1",
        purpose="propose",
        model="m",
        prompt_blob="",
        answer_blob="",
        tokens_in=1,
        tokens_out=1,
        seconds=1.0,
    )
    assert "between two runs" in progress_line(view_of([*beginning(), off, answered]), 0.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_in_a_terminal_progress_is_renewed_in_place_and_gone_before_a_line() -> None:
    out = Terminal()
    screen = Screen(out)
    screen.progress("one")
    screen.progress("one")
    screen.progress("two")
    screen.line("a line")
    screen.close()
    assert out.getvalue() == "one\r   \rtwo\r   \ra line\n"


def test_elsewhere_progress_is_printed_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("tui.follow.time.monotonic", lambda: clock[0])
    out = io.StringIO()
    screen = Screen(out)
    for second in range(65):
        clock[0] = float(second)
        screen.progress(f"second {second}")
    assert out.getvalue() == "... second 30\n... second 60\n"


def test_the_last_lines_are_those_of_the_whole_session_however_many_are_asked_for(tmp_path: Path) -> None:
    """They are told from a view that stands shortly before them, and events that are not told lie between."""
    events = whole()[:-2]
    for number in range(8, 60):
        events += run(f"trial-{number}", number, 2.7, base=3, changes={"BATCH": number}, proposed_by="model")
    progress = ev.TrialProgress(run="trial-9", attempt=1, step=1, offset=1)
    db = write(tmp_path / "sessions.db", [each for event in events for each in (event, progress)])
    with Reader(db) as reader:
        all_told = lines_after(reader, Narrator())
        assert len(all_told) > 50
        for wanted in (0, 1, 3, 20, len(all_told), len(all_told) + 5):
            narrator = narrator_before(reader, NAME, wanted)
            assert bool(narrator.view.seq) == (wanted < 40)
            found = lines_after(reader, narrator)
            assert len(found) >= min(wanted, len(all_told)) and found == all_told[len(all_told) - len(found) :]


def lines_after(reader: Reader, narrator: Narrator) -> list[str]:
    """What is told of the rest of the session."""
    rows = reader.events(NAME, after=narrator.view.seq)
    return [line for row in rows if (line := narrator.tell(row.seq, row.time, row.event))]
