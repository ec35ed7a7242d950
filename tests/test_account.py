"""What a session came to, as lines for a person."""

from told_sessions import HASH, beginning, ending, mechanism, run, trials, view_of, whole

from engine.record import events as ev
from engine.record.account import summary_lines
from engine.record.summary import cost, unpaid
from engine.record.wording import changes_from


def test_the_lines_say_what_matters() -> None:
    text = "\n".join(summary_lines(view_of(whole())))
    assert "STAND-IN" in text
    assert "profile cpu, 8 s a trial" in text
    assert "7 of 7: 1 crash, 5 discard, 1 keep" in text
    assert "val_bpb 3.9967 ± 0.0153 over 3 runs" in text
    assert "trial 3: val_bpb 2.6100, -1.3867 to the baseline (beyond the noise when it was kept)" in text
    assert "BATCH 64 → 32" in text
    assert "-1.3800 over 2 fresh runs each, 95 % interval -1.4200 to -1.3400" in text
    assert "decided 1 time, acted 1 time" in text
    assert "level 2    tabu_search (" in text and "source: /m/tabu.py" in text


def test_a_mechanism_is_told_with_what_it_did_and_what_it_is_credited_with() -> None:
    lines = summary_lines(view_of(whole()))
    begins = next(number for number, line in enumerate(lines) if line.startswith("level 2"))
    assert lines[begins:-1] == [
        f"level 2    tabu_search ({HASH[:12]}): active since trial 5, let in by the clock",
        "           avoid repeats",
        "           called 9, acted 1; improvement +0.0000 in the 1 trial that it",
        "           touched, +0.0000 in the 1 that it did not",
        "           source: /m/tabu.py",
    ]


def test_a_mechanism_that_never_came_in_is_told_with_the_verdict_and_the_effect_expected() -> None:
    expected = {"says": "no clear effect", "reason": "the best would end 0.01 lower", "effect": -0.01}
    evidence = {"trials": 5, "kept": 1, "touched": 3, "hooks": {"suggest": {"called": 5, "acted": 3}}}
    written, *_ = mechanism()
    tested = ev.MechanismValidated(hash=HASH, name="tabu_search", evidence={**evidence, "expected": expected})
    vetoed = ev.InjectionDecided(hash=HASH, name="tabu_search", decision="vetoed", by="person", reason="not now")
    lines = summary_lines(view_of([*beginning(), written, tested, vetoed]))
    begins = next(number for number, line in enumerate(lines) if line.startswith("level 2"))
    assert lines[begins:-1] == [
        f"level 2    tabu_search ({HASH[:12]}): vetoed by a person: not now",
        "           avoid repeats",
        "           would have acted in 3 of 5 trials; it blocks nothing",
        "           expected no clear effect: the best would end 0.01 lower; -0.0100 (0",
        "           pairs of searches on a surrogate)",
        "           source: /m/tabu.py",
    ]


def test_a_research_that_came_to_nothing_is_told() -> None:
    given_up = [
        ev.ResearchStarted(research=1, trial=5),
        ev.ResearchFinished(research=1, outcome="refused", reason="given up after 3 repairs: inert"),
    ]
    text = " ".join(" ".join(summary_lines(view_of([*beginning(), *trials(), *given_up]))).split())
    assert "research 1 was refused, and the search went on as it was: given up after 3 repairs: inert" in text


def test_what_earlier_sessions_left_is_a_line() -> None:
    read = ev.ArchiveRead(archive_blob=HASH, mechanisms=2, findings=["a", "b"], sessions=["s1", "s2"])
    lines = summary_lines(view_of([*beginning(), read]))
    assert [line for line in lines if line.startswith("archive")] == [
        "archive    2 mechanisms and 2 findings of 2 earlier sessions"
    ]
    assert not any(line.startswith("archive") for line in summary_lines(view_of(beginning())))


def test_a_real_model_is_named_without_the_word_stand_in() -> None:
    text = "\n".join(summary_lines(view_of(beginning(model="deepseek-chat"))))
    assert "deepseek-chat" in text
    assert "STAND-IN" not in text
    assert "cost unknown" in text


def test_recorded_answers_cost_nothing() -> None:
    text = "\n".join(summary_lines(view_of(beginning(model="replay:20261120-0000-late-owl"))))
    assert "no cost: recorded answers were given again" in text and "STAND-IN" not in text
    paid = ev.ModelCalled(
        "1", "propose", "m", "a" * 64, "b" * 64, 10, 5, 1.0, cost=0.25
    )  # as its price was counted once
    view = view_of([*beginning(model="replay:20261120-0000-late-owl"), paid])
    assert cost(view) is None and unpaid(view) == "recorded answers"


def test_the_lines_hold_at_every_point_of_a_session() -> None:
    events = whole()
    for length in range(1, len(events) + 1):
        lines = summary_lines(view_of(events[:length]))
        assert lines[0].startswith("session")


def test_a_search_that_found_nothing_says_so() -> None:
    assert "no trial has ended yet" in "\n".join(summary_lines(view_of(beginning())))
    events = [*beginning(), *run("trial-1", 1, 4.5, changes={"BATCH": 128}, base=0)]
    assert "no trial was better" in "\n".join(summary_lines(view_of(events)))


def test_a_confirmation_without_enough_runs_claims_nothing() -> None:
    events = [*beginning(), *trials(), ev.Confirmed(baseline=[4.0], best=[], trial=3)]
    assert "confirmed  no" in "\n".join(summary_lines(view_of(events)))


def test_levels_that_did_not_run_are_not_spoken_of() -> None:
    text = "\n".join(summary_lines(view_of([*beginning(levels=["1"]), *ending()])))
    assert "level 1.5" not in text
    assert "level 2" not in text


def test_a_difference_between_configurations_names_what_changed() -> None:
    assert changes_from({"A": 1, "B": [0.5, 0.9]}, {"A": 1, "B": [0.5, 0.8]}) == "B (0.5, 0.8) → (0.5, 0.9)"
