"""The panes of the mechanisms and of Level 2's dialogue: what a person reads there, and what it costs."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import told_sessions as told
from fast_sessions import plan, run_session, until, write_target
from viewers import again, press, screen_of, text, viewer, write_at

from engine.record import events as ev
from engine.record.reader import Reader
from engine.record.schema import blob_hash
from tui.panes.dialogue import DialoguePane
from tui.panes.mechanisms import MechanismsPane
from tui.widgets.lines import LineView

GUARD = 'class Mechanism:\n    """Blocks."""\n\n    LIMIT = 3\n'
REVISED = GUARD.replace("LIMIT = 3", "LIMIT = 5\n    MORE = 1")
OTHER = "class Mechanism:\n    pass  # another\n"
HOSTILE = "class Mechanism:\n    name = '\x1b[31m\u202eevil'  # [bold red]no markup[/] \x07\n"
SOURCES = [source.encode() for source in (GUARD, REVISED, OTHER, HOSTILE)]


def written(source: str, name: str, **more: str) -> list[ev.Event]:
    """A module was written and tested."""
    digest = blob_hash(source.encode())
    told_of = {"purpose": f"to be {name}", "source": "own", "written_by": "model", "path": f"/m/{name}.py", **more}
    evidence = {"trials": 10, "touched": 4, "kept": 2, "kept_blocked": 0, "blocked": 4, "sandbox": "B"}
    evidence |= {"hooks": {"review": {"called": 10}}}
    return [
        ev.MechanismWritten(hash=digest, name=name, **told_of),  # type: ignore[arg-type]
        ev.MechanismValidated(hash=digest, name=name, evidence=evidence),
    ]


def activated(source: str, name: str, trial: int, replaces: str | None = None) -> list[ev.Event]:
    digest = blob_hash(source.encode())
    return [
        ev.InjectionDecided(hash=digest, name=name, decision="approved", by="person"),
        ev.MechanismActivated(hash=digest, name=name, trial=trial, replaces=replaces),
    ]


def chain() -> list[ev.Event]:
    """A guard that was revised, another that a person reverted, and one that its tests refused."""
    guard, other = blob_hash(GUARD.encode()), blob_hash(OTHER.encode())
    return [
        *told.beginning(),
        *told.trials()[:8],
        *written(GUARD, "guard"),
        *activated(GUARD, "guard", 3),
        *written(OTHER, "other"),
        *activated(OTHER, "other", 3),
        *written(REVISED, "guard", replaces=guard, derived_from=guard),
        *activated(REVISED, "guard", 4, guard),
        ev.MechanismDeactivated(
            hash=other, name="other", trial=4, status="reverted", by="person", reason="it slowed the search down"
        ),
        ev.MechanismWritten(
            hash=blob_hash(HOSTILE.encode()),
            name="evil [red]\x1b[2J",
            purpose="p",
            source="own",
            written_by="model",
            path="/m/evil.py",
        ),
        ev.MechanismValidated(hash=blob_hash(HOSTILE.encode()), name="evil", problems=["it does not \x1b]0;import"]),
    ]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return write_at(tmp_path / "sessions.db", chain(), SOURCES)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real session of two researches."""
    folder = tmp_path_factory.mktemp("real")
    what = plan(write_target(folder / "target"), trials=22, confirm=False, baseline_runs=1)
    with ThreadPoolExecutor(1) as other:
        other.submit(asyncio.run, run_session(folder / "sessions.db", what)).result()  # type: ignore[arg-type]
    return folder / "sessions.db"


# --- the mechanisms ---------------------------------------------------------------------------------------------------
async def test_the_chain_comes_first_in_its_order_then_what_is_out_with_the_reason(db: Path) -> None:
    async with viewer(db, size=(120, 40)) as pilot:
        await press(pilot, "4", "z")
        rows = screen_of(pilot).query_one("#known", LineView).text().splitlines()
        assert [row.split()[:4] for row in rows[:1]] == [["1", "●", "guard", "active"]]
        assert rows[1].split()[0] == "✗" and "evil [red]" in rows[1] and "refused" in rows[1]
        assert rows[2].split()[:3] == ["▽", "other", "reverted"] and "it slowed the search down" in rows[2]
        by = blob_hash(REVISED.encode())[:6]
        assert rows[3].split()[:3] == ["▽", "guard", "replaced"] and f"by guard {by}" in rows[3]


async def test_what_an_engine_was_at_that_is_gone_is_interrupted_live_and_at_the_end_of_a_replay(
    tmp_path: Path,
) -> None:
    answer = ev.ResearchRound(research=1, round="explore", answer_blob=blob_hash(GUARD.encode()), summary="three ideas")
    begun = [ev.ResearchStarted(research=1, trial=3), answer]
    events = [*told.beginning(), *told.trials()[:6], *begun, written(GUARD, "guard", research=1)[0]]  # type: ignore[arg-type]
    db = write_at(tmp_path / "sessions.db", events, SOURCES)
    for how in ({}, {"replay": True, "at": 3}):
        async with viewer(db, size=(120, 40), **how) as pilot:
            if how:
                await until(lambda: screen_of(pilot).engine_watch.state.state == "gone")  # type: ignore[union-attr]
                assert "guard" not in text(pilot)
                await press(pilot, *["full_stop"] * 3)
                await again(pilot)
            await until(lambda: "! guard interrupted" in text(pilot))
            await press(pilot, "4", "r")
            await again(pilot)
            assert "interrupted before its tests had" in " ".join(text(pilot).split())
            await press(pilot, "6")
            await again(pilot)
            rounds = screen_of(pilot).query_one("#rounds", LineView).text().splitlines()
            assert rounds[-1].split()[:2] == ["1", "interrupted"]


async def test_the_newest_is_shown_until_another_is_chosen_and_esc_goes_back_to_it(db: Path) -> None:
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "4", "s")
        assert "no markup" in text(pilot)
        await press(pilot, "g", "d")
        assert "-    LIMIT = 3" in text(pilot) and "+    LIMIT = 5" in text(pilot)
        assert "+2 -1 to guard" in text(pilot)
        await press(pilot, "down", "down", "s")
        assert "pass  # another" in text(pilot)
        await press(pilot, "escape")
        assert "no markup" in text(pilot) and screen_of(pilot).selection.mechanism is None


async def test_a_list_that_is_scrolled_without_the_focus_selects_as_well(db: Path) -> None:
    async with viewer(db, size=(120, 40)) as pilot:
        known = screen_of(pilot).query_one("#known", LineView)
        assert not known.has_focus
        before = known.cursor
        known.action_move(1 if before == 0 else -1)
        await pilot.pause()
        await again(pilot)
        assert known.cursor != before and screen_of(pilot).selection.mechanism is not None


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
async def test_the_evidence_fits_the_pane_at_every_width(db: Path, size: tuple[int, int]) -> None:
    async with viewer(db, size=size) as pilot:
        await press(pilot, "4", "g", "r")
        side = screen_of(pilot).query_one("#side", LineView)
        assert side.size.width > 40
        assert max(side.line(index).cell_len for index in range(side.count())) <= side.size.width
        whole = " ".join(side.text().split())
        assert "would have acted in 4 of 10 trials, blocked none of the 2 kept" in whole
        assert "blocked a proposal 4 10" in whole and "let in by a person" in whole


async def test_a_hostile_source_and_name_are_harmless(db: Path) -> None:
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "4", "s")
        shown = text(pilot)
        assert "[bold red]no markup[/]" in shown and "evil" in shown
        assert not {"\x1b", "\u202e", "\x07"} & set(shown)
        await press(pilot, "r")
        assert "it failed its tests" in text(pilot)


async def test_nothing_is_drawn_where_nothing_changed(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with viewer(real, "s1", size=(200, 60)) as pilot:
        drawn: list[str | None] = []
        changed = LineView.changed

        def counting(self: LineView) -> None:
            drawn.append(self.id)
            changed(self)

        monkeypatch.setattr(LineView, "changed", counting)
        await again(pilot)
        assert drawn == []


# --- the dialogue -----------------------------------------------------------------------------------------------------
async def test_each_round_shows_its_answer_and_what_was_asked(real: Path) -> None:
    async with viewer(real, "s1", size=(120, 40)) as pilot:
        await press(pilot, "6", "z", "g")
        pane = screen_of(pilot).query_one(DialoguePane)
        with Reader(real) as reader:
            for entry in pane._entries:
                if entry.round is None:
                    await press(pilot, "down")
                    continue
                shown = pane.query_one("#said", LineView).text()
                answer = reader.blob(entry.round.answer_blob).decode()
                assert "".join(shown.split()) == "".join(answer.split())
                await press(pilot, "b")
                asked = pane.query_one("#said", LineView).text()
                assert asked.startswith("── system ──") and "── user ──" in asked
                rounds = {"explore": "Round 1 of 4", "critique": "Round 2 of 4", "specify": "Round 3 of 4"}
                assert rounds.get(entry.round.round, "Round 4 of 4") in asked
                await press(pilot, "b", "down")
        assert len(screen_of(pilot).feed.view.researches) == 2


async def test_the_newest_round_is_followed_and_an_end_is_told(real: Path) -> None:
    async with viewer(real, "s1", replay=True, size=(80, 24)) as pilot:
        await press(pilot, "6")
        assert "Level 2 has not begun" in text(pilot)
        for _ in range(2):
            await press(pilot, "right_curly_bracket")
        screen = screen_of(pilot)
        rounds = screen.query_one("#rounds", LineView)
        assert rounds.cursor == rounds.count() - 1 > 3
        await press(pilot, "home")
        before = rounds.count()
        screen._at(screen.clock.seek(screen.feed.head))
        await pilot.pause()
        assert rounds.count() > before and rounds.cursor == 0
        await press(pilot, "end")
        assert "Research 2 began after trial 20" in text(pilot)


async def test_the_end_of_the_session_is_told_as_that_of_a_research_at_once(tmp_path: Path) -> None:
    answer = ev.ResearchRound(research=1, round="explore", answer_blob=blob_hash(GUARD.encode()), summary="three ideas")
    end = ev.StateChanged(status="finished", reason="a person stopped it", by="person")
    events = [*told.beginning(), *told.trials()[:6], ev.ResearchStarted(research=1, trial=3), answer, end]
    db = write_at(tmp_path / "sessions.db", events, SOURCES)
    async with viewer(db, size=(120, 40), replay=True, at=3) as pilot:
        rounds = screen_of(pilot).query_one("#rounds", LineView)
        await press(pilot, "6", "full_stop", "full_stop")
        assert "interrupted" not in rounds.text() and "three ideas" in rounds.text()
        await press(pilot, "full_stop")
        assert "1 interrupted" in rounds.text()


async def test_another_engine_is_told_as_the_end_of_a_research_also_where_one_was_ended_by_an_engine_before(
    tmp_path: Path,
) -> None:
    again = ev.EngineStarted(pid=2, boot_id="b", sandbox="C", resumed=True)
    closed = ev.ResearchFinished(research=1, outcome="failed", reason="the engine ended in the middle of it")
    begun = [ev.ResearchStarted(research=number, trial=3) for number in (1, 2)]
    events = [*told.beginning(), *told.trials()[:6], begun[0], again, closed, begun[1], again]
    db = write_at(tmp_path / "sessions.db", events, SOURCES)
    async with viewer(db, size=(120, 40), replay=True, at=3) as pilot:
        rounds = screen_of(pilot).query_one("#rounds", LineView)
        await press(pilot, "6", *["full_stop"] * 4)
        assert "2 begins" in rounds.text()
        await press(pilot, "full_stop")
        assert "2 interrupted" in rounds.text()


async def test_each_call_of_the_model_is_read_once(real: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with viewer(real, "s1", size=(120, 40)) as pilot:
        read: list[int] = []
        rows = screen_of(pilot).feed.rows

        def counting(after: int, limit: int, kinds: tuple[str, ...] | None = None) -> list[object]:
            found = rows(after, limit, kinds)
            read.extend(row.seq for row in found)
            return found  # type: ignore[return-value]

        monkeypatch.setattr(screen_of(pilot).feed, "rows", counting)
        await press(pilot, "6", "b", "g", "down", "down", "down", "up", "G", "k", "k")
        assert len(read) == len(set(read)) > 8
        assert "── system ──" in text(pilot)


async def test_sources_of_a_mechanism_are_read_from_the_record_and_not_from_its_file(real: Path) -> None:
    async with viewer(real, "s1", size=(80, 24)) as pilot:
        pane = screen_of(pilot).query_one(MechanismsPane)
        await press(pilot, "4", "s")
        [*_, newest] = screen_of(pilot).feed.view.mechanisms.values()
        with open(newest.path, "w") as file:  # noqa: ASYNC230, PTH123
            file.write("something else")
        await press(pilot, "d", "s")
        assert "something else" not in pane.query_one("#side", LineView).text()
