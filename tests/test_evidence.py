"""What a person is shown of a mechanism: before it is active, while it waits, and what came of it."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import plan, run_session, write_target
from told_sessions import HASH, beginning, mechanism, run, trials, view_of, write

from engine.errors import InputError
from engine.record import events as ev
from engine.record.account import summary_lines
from engine.record.evidence import acts_lines, evidence_lines, named, verdict
from engine.record.view import View
from tui.cli import COMMANDS, main, parser_of
from tui.deciding import decision_lines
from tui.plain import Narrator

OTHER = "b" * 64
EVIDENCE: dict[str, Any] = {
    "trials": 12,
    "kept": 3,
    "touched": 7,
    "called": 24,
    "blocked": 6,
    "kept_blocked": 0,
    "replaced": 1,
    "suggested": 2,
    "milliseconds": 3.2,
    "sandbox": "A",
    "hooks": {"review": {"called": 12, "acted": 7}, "suggest": {"called": 12, "acted": 2}},
}
EXPECTED: dict[str, Any] = {
    "says": "better",
    "reason": "over 20 trials the best would end 0.012 lower",
    "effect": -0.0123,
    "interval": [-0.02, -0.004],
    "replications": 64,
}


def told(base: int | None = 3, replicate: int | None = None, **changes: Any) -> dict[str, Any]:
    """A proposal as an act tells of it."""
    return {"base": base, "changes": changes, "replicate": replicate, "hypothesis": "h", "proposed_by": "model"}


def act(trial: int, hook: str, before: Any, after: Any, why: str = "") -> ev.MechanismActed:
    return ev.MechanismActed(hash=HASH, name="tabu_search", trial=trial, hook=hook, before=before, after=after, why=why)


def waits(evidence: dict[str, Any]) -> list[ev.Event]:
    """The told mechanism with this evidence, up to the moment at which it waits."""
    written, _, waiting, *_ = mechanism()
    return [written, ev.MechanismValidated(hash=HASH, name="tabu_search", evidence=evidence), waiting]


def session() -> View:
    """Seven trials; the mechanism waits since the fifth, was let in, and edited the sixth trial's proposal."""
    let_in = [*waits({**EVIDENCE, "expected": EXPECTED}), *mechanism()[3:5]]
    events = [*beginning(), *trials()]
    begins = next(number for number, event in enumerate(events) if isinstance(event, ev.MechanismWritten))
    edited = act(6, "review", told(BATCH=128), told(BATCH=16), "128 repeats a move\x1b[2J that failed")
    return view_of([*events[:begins], *let_in, edited, *events[begins + 6 :]])


def lines_of(view: View) -> list[str]:
    return evidence_lines(view, view.mechanisms[HASH])


def test_an_act_in_the_trial_that_runs_is_told_with_the_call_that_it_was() -> None:
    events = [*beginning(), *mechanism()[:5], run("trial-1", 1, None)[0], act(1, "review", told(BATCH=16), None)]
    known = view_of(events).mechanisms[HASH]
    assert (known.acted, known.calls, known.called) == (1, 1, {})
    assert any("called 1, acted 1" in line for line in summary_lines(view_of(events)))


def test_an_active_mechanism_is_told_in_eighty_columns() -> None:
    text = "\n".join(lines_of(session()))
    assert (
        text
        == f"""\
verdict    would have acted in 7 of 12 trials, blocked none of the 3 kept
expected   better: over 20 trials the best would end 0.012 lower; -0.0123, 95 %
           interval -0.0200 to -0.0040 (64 pairs of searches on a surrogate)
mechanism  tabu_search ({HASH[:12]}), active since trial 5, let in by the clock
purpose    avoid repeats
literature own
written    by the model
sandbox    level A
file       /m/tabu.py

Over the 12 recorded trials it would have             times     of
  blocked a proposal                                      6     12
    of these one that was kept                            0      6
  replaced a proposal                                     1     12
  suggested a trial                                       2     12
  a call took 3.2 ms in the median

Since trial 5                                         acted called
  review                                                  1      6
  advise                                                  0      3

The trials meanwhile            trials   kept   improvement         mean val_bpb
  those that it touched              1      0             -               2.6500
  the others                         1      0             -               2.9000

The last acts
  trial 6 review: BATCH 128 → 16 (128 repeats a move [2J that failed)"""
    )
    assert all(len(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        ({}, "it has not been tested yet"),
        ({**EVIDENCE, "kept_blocked": 2}, "would have acted in 7 of 12 trials, blocked 2 of the 3 kept"),
        ({**EVIDENCE, "kept": 1}, "would have acted in 7 of 12 trials, did not block the one that was kept"),
        (
            {**EVIDENCE, "kept": 1, "kept_blocked": 1},
            "would have acted in 7 of 12 trials, blocked the one that was kept",
        ),
        ({**EVIDENCE, "kept": 0}, "would have acted in 7 of 12 trials; none of them was kept"),
        ({**EVIDENCE, "hooks": {"suggest": {"called": 12, "acted": 7}}}, "in 7 of 12 trials; it blocks nothing"),
        ({"blocked": 6, "replaced": 1, "trials": 12}, "would have acted 7 times over 12 trials"),
    ],
)
def test_the_verdict_is_a_sentence_of_plain_words(evidence: dict[str, Any], said: str) -> None:
    assert said in verdict(view_of([*beginning(), *waits(evidence)]).mechanisms[HASH])


def test_an_effect_that_could_not_be_told_comes_with_the_reason() -> None:
    simulated = {"says": "too few data", "reason": "8 valid trials, and 10 are needed", "effect": None}
    lines = lines_of(view_of([*beginning(), *waits({**EVIDENCE, "expected": simulated})]))
    assert lines[1] == "expected   too few data: 8 valid trials, and 10 are needed"
    lines = lines_of(view_of([*beginning(), *waits(EVIDENCE)]))
    assert lines[1] == "expected   no simulation was run"


def test_a_module_that_failed_its_tests_says_with_what() -> None:
    failed = ev.MechanismValidated(hash=HASH, name="tabu_search", problems=["load: it cannot be loaded\n  line 3"])
    lines = lines_of(view_of([*beginning(), mechanism()[0], failed]))
    assert lines[0] == "verdict    it failed its tests: load: it cannot be loaded"
    assert not any(line.startswith(("expected", "Over", "Since")) for line in lines)


@pytest.mark.parametrize(
    ("done", "line"),
    [
        (act(6, "review", told(BATCH=128), "blocked", "tabu"), "trial 6 review: blocked BATCH 32 → 128 (tabu)"),
        (act(6, "suggest", None, told(RATE=0.5)), "trial 6 suggest: suggested RATE 0.1 → 0.5"),
        (act(6, "suggest", None, told(replicate=2)), "trial 6 suggest: suggested trial 2 again"),
        (
            act(
                6,
                "steer",
                {"base": None, "freeze": ["RATE"], "unfreeze": [], "ranges": {}},
                {"base": 1, "freeze": ["BATCH", "RATE"], "unfreeze": [], "ranges": {"RATE": [0.1, 0.5]}},
            ),
            "trial 6 steer: the model asked from trial 1; without BATCH; RATE from 0.1 to 0.5",
        ),
        (act(6, "choose", 0, 1), "trial 6 choose: proposal 2 in place of proposal 1"),
        (act(6, "accept", False, True), "trial 6 accept: kept against the rule"),
        (act(6, "accept", True, False), "trial 6 accept: not kept, against the rule"),
        (act(6, "watch", "running", "stopped", "it diverges"), "trial 6 watch: stopped it (it diverges)"),
        (act(6, "review", None, None, "an elder record"), "trial 6 review: acted (an elder record)"),
    ],
)
def test_an_act_is_one_line_that_says_what_became_of_what(done: ev.MechanismActed, line: str) -> None:
    view = view_of([*beginning(), *trials()[:8], *mechanism()[:5], done])
    assert acts_lines(view, view.mechanisms[HASH]) == [line]


def test_the_periods_of_an_elder_that_came_back_are_named() -> None:
    stated: dict[str, Any] = {"purpose": "p", "source": "own", "written_by": "person", "path": "/m/h.py"}
    heir: list[ev.Event] = [
        ev.MechanismWritten(hash=OTHER, name="heir", replaces=HASH, derived_from=HASH, **stated),
        ev.MechanismActivated(hash=OTHER, name="heir", trial=7, replaces=HASH),
    ]
    later = run("trial-8", 8, 2.5, base=3, changes={"BATCH": 24}, proposed_by="model")
    back = ev.MechanismDeactivated(hash=OTHER, name="heir", trial=8, status="reverted", by="person", restored=HASH)
    view = view_of([*beginning(), *trials(), *heir, *later, back])
    assert any(line.startswith("In trials 6 to 7, since trial 8 ") for line in lines_of(view))
    lines = evidence_lines(view, view.mechanisms[OTHER])
    assert f"written    by a person; replaces tabu_search ({HASH[:12]})" in lines
    assert any(line.startswith("In trials 8 to 8 ") for line in lines)


# --- on the command line and in the plain output ----------------------------------------------------------------------
def test_show_prints_one_mechanism_by_name_or_by_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    db = write(tmp_path / "sessions.db", [*beginning(), *trials()])
    for asked in ("tabu_search", HASH[:12]):
        assert main(["show", "--mechanism", asked, "--db", str(db)]) == 0
        assert f"mechanism  tabu_search ({HASH[:12]}), active since trial 5" in capsys.readouterr().out
    assert main(["show", "--json", "--mechanism", "tabu_search", "--db", str(db)]) == 0
    assert '"hash": "' + HASH in capsys.readouterr().out
    assert main(["show", "--mechanism", "nobody", "--db", str(db)]) == 2
    assert "has no mechanism nobody; it has tabu_search" in capsys.readouterr().err


def test_of_several_of_one_name_the_active_one_is_meant() -> None:
    stated: dict[str, Any] = {"purpose": "p", "source": "own", "written_by": "model", "path": "/m/t.py"}
    again = ev.MechanismWritten(hash=OTHER, name="tabu_search", **stated)
    view = view_of([*beginning(), *mechanism()[:5], again])
    assert named(view, "tabu_search").hash == HASH and named(view, "bbbb").hash == OTHER
    assert named(view_of([*beginning(), mechanism()[0], again]), "tabu_search").hash == OTHER
    with pytest.raises(InputError, match="it has none"):
        named(view_of(beginning()), "tabu_search")


def test_what_waits_is_shown_with_the_commands_that_decide(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [*beginning(), *trials()[:10], *waits(EVIDENCE)]
    db = write(tmp_path / "sessions.db", events)
    assert main(["status", "--db", str(db)]) == 0
    status = capsys.readouterr().out
    narrator = Narrator()
    plain = [narrator.tell(number, 1000.0 + number, event) for number, event in enumerate(events, 1)][-1] or ""
    for text in (status, plain):
        assert "verdict    would have acted in 7 of 12 trials, blocked none of the 3 kept" in text
        assert "  blocked a proposal                                      6     12" in text
        given = f" --db {db}" if text is status else ""
        assert f"approve    bilevel approve --hash {HASH[:12]}{given}\n" in text
        assert f'veto       bilevel veto --hash {HASH[:12]}{given} --reason "why not"\n' in text
        assert "else       the clock lets it in at " in text
    assert plain.startswith(f"mechanism tabu_search ({HASH[:12]}) waits for you.\n")


def test_the_commands_that_are_shown_are_understood_and_name_the_source() -> None:
    asked = ev.InjectionWaiting(hash=HASH, name="tabu_search", approval="ask", trusted=False)
    lines = decision_lines(view_of([*beginning(), mechanism()[0], asked]), asked)
    assert lines[-1] == "else       it waits, and the search goes on without it"
    shown = {}
    for line in lines[-3:-1]:
        _, program, command, *words = shlex.split(line)
        assert program == "bilevel"
        shown[command] = parser_of(COMMANDS[command]).parse_args(words)
    assert HASH.startswith(shown["approve"].hash) and HASH.startswith(shown["veto"].hash)
    assert (shown["approve"].session, shown["veto"].session, shown["veto"].reason) == (None, None, "why not")


async def test_the_table_of_a_real_session_agrees_with_its_record(tmp_path: Path) -> None:
    what = plan(write_target(tmp_path / "t"), trials=16, confirm=False, lockstep=True)
    view = await run_session(tmp_path / "sessions.db", what)
    known = next(known for known in view.mechanisms.values() if known.periods)
    lines = evidence_lines(view, known)
    assert known.acted and all(len(line) <= 80 for line in lines if not line.startswith("file "))
    assert f"file       {known.path}" in lines  # whole, so that it can be copied
    assert f"verdict    would have acted in {known.evidence['touched']} of 10 trials" in "\n".join(lines)
    heading = next(number for number, line in enumerate(lines) if line.startswith("Since trial 10"))
    told = {
        line.split()[0]: [int(word) for word in line.split()[1:]] for line in lines[heading + 1 :][: len(known.called)]
    }
    assert told == {hook: [acted, called] for hook, (called, acted) in known.by_hook.items()}
    assert len(acts_lines(view, known)) == known.acted
