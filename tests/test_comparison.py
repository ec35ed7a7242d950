"""Two sessions beside each other: when they are not comparable, what differs, and one drawing of both curves."""

from typing import Any

import msgspec
import pytest
import told_sessions as told

from engine.record import events as ev
from engine.record.view import View
from tui.comparison import Pair, curves, hindrances, pairs
from tui.screens.compare import row


def session(target: dict[str, Any] | None = None, **settings: object) -> View:
    """The session told by hand, with another name, and with what is given changed in target and settings."""
    created, *rest = told.whole()
    assert isinstance(created, ev.SessionCreated)
    created = msgspec.structs.replace(
        created,
        session="other",
        target={**created.target, **(target or {})},
        settings={**created.settings, **settings},
    )
    return told.view_of([created, *rest])


FIRST = told.view_of(told.whole())


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (session(), []),
        (session(seed=7, trials=30), []),
        (session({"name": "else"}), ["other targets (toy, else)"]),
        (session({"budget": {"kind": "seconds", "value": 60.0}}), ["other budgets (8 s a trial, 60 s a trial)"]),
        (session({"metric": {"name": "acc", "direction": "maximize"}}), ["other metrics (val_bpb, minimize, acc,"]),
        (session(profile="cuda"), ["other profiles (cpu, cuda)"]),
        (session({"searched_sha256": "b"}), []),
    ],
)
def test_what_hinders_a_comparison_is_said(other: View, said: list[str]) -> None:
    found = hindrances(FIRST, other)
    assert len(found) == len(said)
    assert all(reason.startswith(words) for reason, words in zip(found, said, strict=True)), found


def test_another_script_or_evaluation_hinders_where_both_are_known() -> None:
    known = [session({"searched_sha256": script, "fixed_sha256": fixed}) for script, fixed in ("aa", "ba", "ab")]
    assert hindrances(known[0], known[1]) == ["another script to begin with"]
    assert hindrances(known[0], known[2]) == ["another evaluation (the target's fixed files differ)"]
    longer = session({"fixed_sha256": "b", "budget": {"kind": "seconds", "value": 60.0}})
    assert hindrances(known[0], longer) == ["other budgets (8 s a trial, 60 s a trial)"], "it is written in them"


def test_the_facts_stand_in_pairs_and_settings_only_where_they_differ() -> None:
    facts = {pair.label: pair for pair in pairs(FIRST, session(seed=7, approval="ask"), None)}
    assert facts["state"] == Pair("state", "finished", "finished")
    assert facts["best"].first == facts["best"].second == "2.6100, -1.3867, trial 3"
    assert (facts["seed"].first, facts["seed"].second) == ("0", "7")
    assert facts["approval"].differs and "grace" not in facts["trials"].label
    assert "hours" not in facts
    assert facts["BATCH"].first == "64 → 32"
    assert facts["tabu_search"].first.startswith("active, called 9, acted 1")


def test_a_session_that_has_not_ended_is_interrupted_unless_an_engine_runs_it() -> None:
    unfinished = told.view_of([*told.beginning(), *told.trials()])
    for running, state in ((told.NAME, "running"), (None, "interrupted")):
        assert pairs(unfinished, FIRST, running)[0].first == state


def test_both_curves_end_where_their_sessions_do() -> None:
    short = told.view_of([*told.beginning(), *told.trials()[:4]])
    drawing = curves(FIRST, short)
    assert drawing is not None
    assert (list(drawing.stairs)[-1], list(drawing.against)) == ((3, 2.61), [(0, drawing.stairs[0][1])])
    assert drawing.ends == (7, 2)
    assert curves(View(), View()) is None


def test_a_fact_takes_as_many_lines_as_it_needs_and_no_more_columns() -> None:
    lines = row(Pair("trials", "14 of 30: 1 crash, 2 discard, 11 keep", "7 of 7"), 60)
    assert lines[0].plain.startswith("≠ trials  ")
    assert len(lines) == 2 and all(line.cell_len <= 60 for line in lines)
    assert not row(Pair("x", "1", "1"), 60)[0].plain.startswith("≠")
