"""The decision on an injection: what is read before it, who decides, and what becomes of it when another does."""

import time
from pathlib import Path

import pytest
import told_sessions as told
from fast_sessions import until
from test_app_mechanisms import GUARD, REVISED, activated
from test_app_mechanisms import written as module
from textual.pilot import Pilot
from viewers import again, lines, press, quiet, said, screen_of, text, viewer, write_at, written

from engine.control import Answer
from engine.record import events as ev
from engine.record.lock import Holder
from engine.record.schema import blob_hash
from tui.screens.asking import Ask, Confirm
from tui.screens.injection import InjectionScreen
from tui.widgets.lines import LineView

ELDER, DIGEST = blob_hash(GUARD.encode()), blob_hash(REVISED.encode())


def waiting(deadline: float | None = None, trusted: bool = True, reason: str = "") -> list[ev.Event]:
    """A revision of an active guard was tested, and waits."""
    evidence = {
        "trials": 10,
        "touched": 4,
        "kept": 2,
        "kept_blocked": 1,
        "blocked": 4,
        "sandbox": "B",
        "milliseconds": 0.4,
        "hooks": {"review": {"called": 10}},
        "expected": {"says": "helps", "reason": "it saves trials", "effect": -0.2, "interval": [-0.3, -0.1]},
    }
    return [
        *told.beginning(),
        *told.trials()[:6],
        *module(GUARD, "guard"),
        *activated(GUARD, "guard", 3),
        *module(REVISED, "guard", replaces=ELDER, derived_from=ELDER)[:1],
        ev.MechanismValidated(hash=DIGEST, name="guard", evidence=evidence),
        ev.InjectionWaiting(
            hash=DIGEST,
            name="guard",
            approval="grace" if deadline else "ask",
            trusted=trusted,
            reason=reason,
            deadline=deadline,
        ),
    ]


def decided(decision: str, by: str, reason: str = "") -> ev.Event:
    return ev.InjectionDecided(hash=DIGEST, name="guard", decision=decision, by=by, reason=reason)  # type: ignore[arg-type]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A session that no engine runs any more."""
    return write_at(tmp_path / "sessions.db", waiting(), [GUARD.encode(), REVISED.encode()])


def is_deciding(pilot: Pilot[str]) -> bool:
    return isinstance(pilot.app.screen, InjectionScreen)


# --- what is read -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_everything_that_a_decision_needs_stands_on_the_screen(db: Path, size: tuple[int, int]) -> None:
    async with viewer(db, size=size) as pilot:
        await press(pilot, "i")
        await pilot.pause()
        shown = " ".join("\n".join(line.strip("┃ ") for line in lines(pilot)).split())
        for part in ("to be guard", "blocked a proposal", "helps: it saves trials", "-0.3000 to -0.1000", "level B"):
            assert part in shown, part
        assert "blocked 1 of the 2 kept" in shown and f"sha256 {DIGEST}" in shown
        await press(pilot, "s")
        assert "MORE = 1" in text(pilot)
        await press(pilot, "d")
        assert "-    LIMIT = 3" in text(pilot) and "+2 -1 to guard" in text(pilot) and DIGEST in text(pilot)
        await press(pilot, "r")
        assert "blocked a proposal" in text(pilot)
        await press(pilot, "escape")
        assert not is_deciding(pilot)


async def test_the_clock_counts_down_and_says_what_it_will_do(tmp_path: Path) -> None:
    deadline = time.time() + 100
    reason = "It was written by a model and runs at level C: a person has to let it in, or --unsafe has to be given."
    db = write_at(tmp_path / "sessions.db", waiting(deadline, False, reason), [GUARD.encode(), REVISED.encode()])
    async with viewer(db, size=(80, 24)) as pilot:
        screen_of(pilot).engine_watch.close()  # type: ignore[union-attr]
        await press(pilot, "i")
        screen = pilot.app.screen
        assert isinstance(screen, InjectionScreen)
        assert "waits until the session is resumed" in text(pilot) or "clock turns it away: 1:" in text(pilot)
        told_there = " ".join(line.plain.strip() for line in screen._count(78))
        assert reason in told_there or "bilevel resume" in told_there


async def test_who_only_looks_sees_what_is_decided_on_and_decides_nothing(db: Path) -> None:
    async with viewer(db, read_only=True) as pilot:
        assert "i look" in text(pilot) and "a approve" not in text(pilot) and "i Look" in lines(pilot)[-1]
        await press(pilot, "a", "v")
        assert pilot.app.screen is screen_of(pilot)
        await press(pilot, "i", "a", "v", "e")
        assert is_deciding(pilot) and DIGEST in text(pilot) and "Approve" not in lines(pilot)[-1]
        await press(pilot, "question_mark")
        assert "Turn it away" not in text(pilot)


async def test_a_replay_has_no_screen_to_decide_on(db: Path) -> None:
    async with viewer(db, replay=True, at=3) as pilot:
        await press(pilot, "i", "a", "v")
        assert pilot.app.screen is screen_of(pilot)


async def test_an_engine_that_is_gone_is_asked_for_no_decision_and_what_waits_may_be_looked_at(db: Path) -> None:
    async with viewer(db) as pilot:
        await until(lambda: "ENGINE GONE" in text(pilot))
        await again(pilot)
        assert "i look" in text(pilot) and "a approve" not in text(pilot) and "i Look" in lines(pilot)[-1]
        await press(pilot, "i")
        assert is_deciding(pilot) and "Approve" not in lines(pilot)[-1] and "Later" in lines(pilot)[-1]
        assert "waits until the session is resumed" in text(pilot) and f"bilevel resume {told.NAME}" in text(pilot)


async def test_below_a_dialogue_the_evidence_is_brought_to_the_width_as_well(db: Path) -> None:
    async with viewer(db, size=(120, 40)) as pilot:
        await press(pilot, "i")
        screen = pilot.app.screen
        assert isinstance(screen, InjectionScreen)
        evidence = screen.query_one("#evidence", LineView)
        wide = evidence.text()
        await press(pilot, "v")
        for size in ((64, 24), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await press(pilot, "escape")
        screen.look()
        await pilot.pause()
        assert evidence.text() == wide


# --- deciding ---------------------------------------------------------------------------------------------------------
async def test_a_decision_that_reaches_no_engine_says_so_and_nothing_is_decided(db: Path) -> None:
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "a", "a")
        assert (
            isinstance(pilot.app.screen, Confirm) and DIGEST in text(pilot) and "blocked 1 of the 2 kept" in text(pilot)
        )
        await press(pilot, "y")
        assert "✗ approve: refused" in said(pilot) and f"bilevel resume {told.NAME}" in said(pilot)
        assert is_deciding(pilot) and screen_of(pilot).feed.newest.waiting is not None


@pytest.mark.parametrize("key", ["n", "enter", "escape"])
async def test_everything_but_y_means_no(db: Path, key: str) -> None:
    async with viewer(db) as pilot:
        await press(pilot, "i", "a", key)
        assert is_deciding(pilot) and said(pilot) == ""


async def test_a_veto_asks_why_and_may_be_thought_better_of(db: Path) -> None:
    async with viewer(db) as pilot:
        await press(pilot, "v", "v")
        assert isinstance(pilot.app.screen, Ask)
        await press(pilot, *"too slow", "escape")
        assert is_deciding(pilot) and said(pilot) == ""


# --- when another decides ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("keys", ["i", "ia", "iv", "ia?"])
@pytest.mark.parametrize(
    ("decision", "by", "reason", "says"),
    [
        ("vetoed", "person", "too slow", "vetoed by a person: too slow"),
        ("vetoed", "person", "a person vetoed it", "vetoed by a person"),
        ("refused", "person", "a person's edit 1a2b3c takes its place", "turned away: a person's edit 1a2b3c takes"),
        ("approved", "clock", "", "let in by the clock"),
        ("refused", "engine", "its sandbox is gone", "turned away by the engine: its sandbox is gone"),
    ],
)
async def test_a_decision_elsewhere_closes_the_screen_and_what_was_asked_and_says_who_decided(
    db: Path, keys: str, decision: str, by: str, reason: str, says: str
) -> None:
    async with viewer(db) as pilot:
        await press(pilot, *(key.replace("?", "question_mark") for key in keys))
        assert pilot.app.screen is not screen_of(pilot)
        await written(db, [decided(decision, by, reason)])
        await again(pilot)
        await until(lambda: pilot.app.screen is screen_of(pilot))
        await until(lambda: f"guard: {says}" in said(pilot))
        assert said(pilot).count("a person") <= 1


@pytest.mark.parametrize(("command", "decision"), [("approve", "approved"), ("veto", "vetoed")])
async def test_who_decides_here_is_told_once_by_the_answer(
    db: Path, monkeypatch: pytest.MonkeyPatch, command: str, decision: str
) -> None:
    answers = iter([Answer(False, "it cannot be written"), Answer(True, "it is done")])
    monkeypatch.setattr("tui.screens.commanding.holder", lambda db: Holder(1, told.NAME, "", 0.0))
    monkeypatch.setattr("tui.screens.commanding.send", lambda *given, **how: next(answers))
    keys = {"approve": ("a", "y"), "veto": ("v", "enter")}[command]
    async with viewer(db) as pilot:
        await press(pilot, "i", *keys)
        assert said(pilot) == f"✗ {command}: refused: it cannot be written" and is_deciding(pilot)
        quiet(pilot)
        await press(pilot, *keys)
        await written(db, [decided(decision, "person", f"a person {decision} it")])
        await again(pilot)
        await until(lambda: pilot.app.screen is screen_of(pilot))
        assert said(pilot) == f"✓ {command}: it is done"


async def test_a_decision_that_was_turned_down_here_and_made_elsewhere_is_told(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.commanding.holder", lambda db: Holder(1, told.NAME, "", 0.0))
    monkeypatch.setattr("tui.screens.commanding.send", lambda *given, **how: Answer(False, "it cannot be written"))
    async with viewer(db) as pilot:
        await press(pilot, "i", "a", "y")
        await written(db, [decided("approved", "person", "a person approved it")])
        await again(pilot)
        await until(lambda: "guard: let in by a person" in said(pilot))


async def test_another_that_waits_afterwards_does_not_take_the_place_of_the_first_unseen(db: Path) -> None:
    async with viewer(db) as pilot:
        await press(pilot, "i", "a")
        other = ev.InjectionWaiting(hash=ELDER, name="guard", approval="ask", trusted=True)
        await written(db, [decided("vetoed", "person"), other])
        await again(pilot)
        await until(lambda: pilot.app.screen is screen_of(pilot))
        await again(pilot)
        assert "INJECTION" in text(pilot)


async def test_what_was_to_be_drawn_of_a_decision_that_was_closed_is_not(db: Path) -> None:
    async with viewer(db) as pilot:
        await press(pilot, "i")
        closed = pilot.app.screen
        assert isinstance(closed, InjectionScreen)
        await press(pilot, "escape")
        closed._fit_evidence_alone()  # as what is called after the next refresh
        closed._fit()


# --- the editor -------------------------------------------------------------------------------------------------------
async def test_without_an_editor_it_is_said_where_the_file_lies(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setattr("tui.screens.commanding.shutil.which", lambda name: None)
    async with viewer(db) as pilot:
        await press(pilot, "i", "e")
        assert "there is no editor" in said(pilot) and "/m/guard.py" in said(pilot)


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_an_edit_of_what_waits_is_told_while_it_is_tested_and_takes_its_place_with_a_word(
    db: Path, size: tuple[int, int]
) -> None:
    source = REVISED + "LATER = 1\n"
    edit = blob_hash(source.encode())
    begun, fit = module(source, "guard", written_by="person", derived_from=DIGEST, replaces=ELDER)
    async with viewer(db, size=size) as pilot:
        await press(pilot, "i")
        assert "a person's edit" not in text(pilot)
        await written(db, [begun])
        await until(lambda: f"a person's edit {edit[:6]} is tested: it takes the place of what" in text(pilot))
        await written(db, [ev.MechanismValidated(hash=edit, name="guard", problems=["it blocks everything"])])
        await until(lambda: f"a person's edit {edit[:6]} was refused: it blocks everything" in text(pilot))
        assert is_deciding(pilot)
        word = f"a person's edit {edit[:6]} takes its place"
        approved = ev.InjectionDecided(hash=edit, name="guard", decision="approved", by="person")
        await written(db, [begun, fit, decided("refused", "person", word), approved])
        await until(lambda: word in said(pilot))
        assert pilot.app.screen is screen_of(pilot)
        await press(pilot, "4", "z")
        await again(pilot)
        [row] = [line for line in lines(pilot) if "✗ guard" in line]
        assert f"refused  {word}" in row


async def test_nothing_to_veto_is_said(db: Path) -> None:
    await written(db, [decided("vetoed", "person")])
    async with viewer(db) as pilot:
        await press(pilot, "v")
        assert "no mechanism waits for a decision, and Level 2 does no research" in said(pilot)
        await written(db, [ev.ResearchStarted(research=1, trial=3)])
        await again(pilot)
        await press(pilot, "v")
        assert "Calls off research 1" in text(pilot)


async def test_stopping_asks_when_and_reverting_with_the_hash(db: Path) -> None:
    async with viewer(db) as pilot:
        await press(pilot, "S")
        assert "after the trial that trains" in text(pilot) and "w  now" in text(pilot)
        await press(pilot, "enter", "4", "g", "R")
        assert f"source {ELDER}" in text(pilot)
        await press(pilot, "enter")
        assert said(pilot) == ""
        await press(pilot, "down", "R")
        assert "choose an active mechanism first" in said(pilot)
