"""Finding and taking away: search, trials by number, the clipboard, files, pictures, themes, the palette, the help."""

import hashlib
import os
import re
from pathlib import Path

import pytest
import told_sessions as told
from fast_sessions import until
from test_app_injection import waiting
from test_app_mechanisms import GUARD, REVISED
from textual.pilot import Pilot
from viewers import lines, press, said, screen_of, text, viewer, write_at

from engine.record import events as ev
from tui.actions import ACTIONS, COMPARE_ACTIONS, INJECTION_ACTIONS, SESSIONS_ACTIONS, Action, exists
from tui.app import THEMES, BilevelApp
from tui.panes.trials import TrialsPane
from tui.screens.help import help_page, told_lines

OTHER = "20261122-0000-late-owl"


@pytest.fixture
def db(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished session; the working directory is empty but for its record."""
    monkeypatch.chdir(tmp_path)
    return write_at(tmp_path / "sessions.db", told.whole(), [told.SOURCE.encode()])


def written_here(db: Path) -> list[str]:
    return sorted(path.name for path in db.parent.glob("bilevel-*"))


async def search(pilot: Pilot[str], expression: str) -> None:
    await press(pilot, "slash", *(["ctrl+u"] if pilot.app.screen is not screen_of(pilot) else ()))
    await press(pilot, *expression, "enter")


# --- finding ----------------------------------------------------------------------------------------------------------
async def test_n_and_shift_n_go_through_the_matches_of_an_expression_and_mark_them(db: Path) -> None:
    async with viewer(db, size=(120, 40)) as pilot:
        rows = screen_of(pilot).query_one(TrialsPane).rows
        await press(pilot, "1")
        await search(pilot, "model.*batch")
        found = [rows.trial_at(rows.cursor)]
        while "no further match" not in said(pilot):
            await press(pilot, "N")
            found.append(rows.trial_at(rows.cursor))
        assert found[:-1] == [7, 6, 3, 1]
        await press(pilot, "n")
        assert rows.trial_at(rows.cursor) == 3


async def test_a_search_in_a_source_finds_each_match_of_the_last_page_too(db: Path) -> None:
    async with viewer(db, size=(80, 24)) as pilot:
        screen = screen_of(pilot)
        await press(pilot, "4", "s", "tab")
        side = screen.query_one("#side")
        assert screen.focused is side
        side.show_lines([f"line {index}{' here' if index in (3, 95, 98) else ''}" for index in range(100)])
        await search(pilot, "here")
        found = [side._found]
        for _ in range(3):
            await press(pilot, "n")
            found.append(side._found)
        assert found == [3, 95, 98, 98] and "no further match" in said(pilot)


async def test_the_last_line_says_which_match_it_is_until_the_person_goes_elsewhere(db: Path) -> None:
    async with viewer(db, size=(60, 16)) as pilot:
        await press(pilot, "1")
        await search(pilot, "batch ")
        assert lines(pilot)[-1].endswith("match 4 of 4") and "q Leave" in lines(pilot)[-1]
        await press(pilot, "N", "N")
        assert lines(pilot)[-1].endswith("match 2 of 4")
        await press(pilot, "up")
        assert "match" not in lines(pilot)[-1]
        await press(pilot, "n")
        assert lines(pilot)[-1].endswith("match 2 of 4")
        await press(pilot, "3")
        assert "match" not in lines(pilot)[-1]
        await press(pilot, "1", "n", "n", "n")
        assert "no further match" in said(pilot) and lines(pilot)[-1].endswith("match 4 of 4")
        await press(pilot, "slash", "ctrl+u", "enter")
        assert "match" not in lines(pilot)[-1]


async def test_which_match_it_is_goes_with_the_lines(db: Path) -> None:
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "4", "s", "tab")
        side = screen_of(pilot).query_one("#side")
        side.show_lines([f"line {index}" for index in range(100)])
        await search(pilot, "9$")
        assert lines(pilot)[-1].endswith("match 1 of 10")
        side.show_lines([f"line {index}" for index in range(100)])
        await pilot.pause()
        assert lines(pilot)[-1].endswith("match 1 of 10")
        side.show_lines([f"line {index}" for index in range(200)])
        await pilot.pause()
        assert "match" not in lines(pilot)[-1]
        await press(pilot, "n")
        assert lines(pilot)[-1].endswith("match 2 of 20")


async def test_of_too_many_lines_to_be_counted_it_is_said_that_one_matches(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.widgets.lines.COUNT_SECONDS", 1e-4)
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "4", "s", "tab")
        side = screen_of(pilot).query_one("#side")
        side.show_lines([f"line {index}" for index in range(100_000)])
        await search(pilot, "line 1")
        assert lines(pilot)[-1].endswith("  match") and side.pattern is not None
        looked = side.line
        monkeypatch.setattr(side, "line", lambda index: looked(index) if index < 50_000 else pytest.fail("counted"))
        await press(pilot, "n")  # it is not tried again
        assert lines(pilot)[-1].endswith("  match") and side._found == 10


async def test_what_is_no_expression_and_what_matches_nothing_is_said(db: Path) -> None:
    async with viewer(db) as pilot:
        await press(pilot, "1", "n")
        assert "search for something first" in said(pilot)
        await search(pilot, "(")
        assert "( is no regular expression" in said(pilot)
        await search(pilot, "a{99999999999}")
        assert "a{99999999999} is no regular expression" in said(pilot)
        await search(pilot, "nowhere")
        assert "nothing matches nowhere" in said(pilot)
        await press(pilot, "5", "slash")
        assert "there are no lines to search here" in said(pilot)


async def test_an_expression_that_would_take_for_ever_is_given_up_and_its_marks_taken_away(tmp_path: Path) -> None:
    source = told.SOURCE + f"# {'a' * 60}!\n"
    digest = hashlib.sha256(source.encode()).hexdigest()
    written_now = ev.MechanismWritten(hash=digest, name="slow", purpose="p", source="s", written_by="model", path="/m")
    db = write_at(tmp_path / "sessions.db", [*told.beginning(), written_now], [source.encode()])
    async with viewer(db) as pilot:
        await press(pilot, "4", "s", "tab")
        lines = screen_of(pilot).lines_in_focus()
        assert lines is not None and "aaaa" in lines.text()
        await search(pilot, "(a+)+$")
        assert "takes too long" in said(pilot) and lines.pattern is None
        await search(pilot, "a+!")
        assert lines.pattern is not None and "nothing matches" not in said(pilot)


async def test_a_trial_is_gone_to_by_its_number(db: Path) -> None:
    async with viewer(db) as pilot:
        await press(pilot, "colon", "3", "enter")
        assert screen_of(pilot).selection.trial == 3 and "trial 3" in text(pilot)
        await press(pilot, "colon", "4", "2", "enter")
        assert "there is no trial 42 yet" in said(pilot)
        await press(pilot, "colon", "x", "enter")
        assert "x is no trial's number" in said(pilot) and screen_of(pilot).selection.trial == 3
        await press(pilot, "colon", "escape", "colon", "enter")
        assert screen_of(pilot).selection.trial == 3


async def test_the_palette_goes_to_a_trial(db: Path) -> None:
    async with viewer(db) as pilot:
        await press(pilot, "ctrl+p", *"go to trial 6")
        await pilot.pause(0.2)
        await press(pilot, "enter", "enter")
        assert screen_of(pilot).selection.trial == 6


async def test_brackets_in_what_a_model_said_are_no_markup_in_the_palette(tmp_path: Path) -> None:
    said_by_model = r"drop [/red] and [$x=1] at C:\[ or \[/b]"
    events = [*told.beginning(), *told.run("trial-1", 1, 4.2, base=0, hypothesis=said_by_model)]
    async with viewer(write_at(tmp_path / "sessions.db", events)) as pilot:
        await press(pilot, "ctrl+p", *"go to trial 1")
        await until(lambda: said_by_model in text(pilot))


# --- taking away ------------------------------------------------------------------------------------------------------
NOON = "120000"


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time of day in the names of files."""
    monkeypatch.setattr("tui.screens.keeping.time.strftime", lambda form: NOON)


async def test_a_pane_is_copied_and_that_a_terminal_may_drop_it_is_said(db: Path) -> None:
    async with viewer(db) as pilot:
        await press(pilot, "3", "c")
        assert "BATCH" in pilot.app.clipboard and "may drop it" in said(pilot)
        await press(pilot, "5", "c")
        assert "val_bpb" in pilot.app.clipboard


@pytest.mark.usefixtures("noon")
async def test_a_pane_and_the_screen_are_written_to_new_files(db: Path) -> None:
    async with viewer(db) as pilot:
        await press(pilot, "1", "o", "up", "o", "x")
        names = [f"bilevel-{told.NAME}-{NOON}-{name}" for name in ("screen.svg", "trials-2.txt", "trials.txt")]
        assert written_here(db) == names
        assert "BATCH" in (db.parent / names[2]).read_text() and (db.parent / names[0]).read_text().startswith("<svg")
        assert "url(" not in (db.parent / names[0]).read_text().replace("url(#", "")
        assert str(db.parent / names[1]) in said(pilot)


@pytest.mark.usefixtures("noon")
async def test_the_list_is_taken_away_as_the_filter_leaves_it(db: Path) -> None:
    write_at(db, [told.created(OTHER), *told.beginning()[1:]], name=OTHER)
    async with viewer(db, None, size=(80, 24)) as pilot:
        await until(lambda: "! interrupted" in text(pilot) and "finished" in text(pilot))
        await press(pilot, "o", "slash", *"finished", "enter", "c", "o", "x")
        names = [f"bilevel-sessions-{NOON}-{name}" for name in ("list-2.txt", "list.txt", "screen.svg")]
        assert written_here(db) == names and "may drop it" in said(pilot)
        heading, *rows = (db.parent / names[1]).read_text().splitlines()
        assert heading.split()[:2] == ["session", "state"] and len(rows) == 2
        left = (db.parent / names[0]).read_text()
        assert told.NAME in left and OTHER not in left and pilot.app.clipboard == left
        assert (db.parent / names[2]).read_text().startswith("<svg")


@pytest.mark.usefixtures("noon")
async def test_a_comparison_is_taken_away_and_searched(db: Path) -> None:
    write_at(db, [told.created(OTHER, profile="cuda"), *told.beginning()[1:]], name=OTHER)
    async with viewer(db, None, size=(80, 24)) as pilot:
        await until(lambda: "! interrupted" in text(pilot) and "finished" in text(pilot))
        await press(pilot, "space", "down", "C")
        await until(lambda: "not comparable" in text(pilot))
        await press(pilot, "c", "o", "x")
        names = [f"bilevel-comparison-{NOON}-{name}" for name in ("screen.svg", "table.txt")]
        assert written_here(db) == names
        table = (db.parent / names[1]).read_text()
        assert table.startswith("! not comparable: ") and OTHER in table and "tabu_search" in table
        assert pilot.app.clipboard == table
        await press(pilot, "slash", *"tabu", "enter")
        assert "tabu_search" in text(pilot) and lines(pilot)[-1].endswith("match 1 of 1")
        await press(pilot, "n", "ctrl+p", *"back")
        assert "no further match" in said(pilot)
        await until(lambda: "Back to the list" in text(pilot))
        await press(pilot, "enter")
        await until(lambda: "2 sessions" in text(pilot))


@pytest.mark.usefixtures("noon")
async def test_the_part_of_a_decision_that_has_the_focus_is_taken_away(tmp_path: Path, db: Path) -> None:
    blobs = [GUARD.encode(), REVISED.encode()]
    db = write_at(tmp_path / "waiting.db", waiting(), blobs)
    async with viewer(db, size=(80, 24)) as pilot:
        await press(pilot, "i", "o", "s", "c", "o", "x")
        kept = [f"bilevel-{told.NAME}-{NOON}-{name}" for name in ("injection-evidence.txt", "injection-source.txt")]
        assert written_here(db) == [*kept, f"bilevel-{told.NAME}-{NOON}-screen.svg"]
        assert "verdict" in (tmp_path / kept[0]).read_text()
        assert "MORE = 1" in (tmp_path / kept[1]).read_text() and "MORE = 1" in pilot.app.clipboard


async def test_a_full_disk_is_said_in_a_sentence_and_leaves_nothing(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def full(path: Path, mode: str = "r", *how: object, **more: object) -> object:
        if not path.name.startswith("bilevel-"):
            return opened(path, mode, *how, **more)  # type: ignore[call-overload]
        opened(path, mode).close()
        assert path.exists()
        return opened(Path("/dev/full"), "wb")

    monkeypatch.setattr(Path, "open", full)
    async with viewer(db) as pilot:
        await press(pilot, "o", "x")
        place = re.escape(f"{db.parent}/bilevel-{told.NAME}-")
        there = r"cannot be written: No space left on device; make room there"
        assert re.search(place + rf"\d+-trials\.txt {there}, or copy it with c$", said(pilot), re.MULTILINE)
        assert re.search(place + rf"\d+-screen\.svg {there}$", said(pilot), re.MULTILINE)
        assert not written_here(db)


async def test_a_directory_that_takes_no_files_is_said_with_what_to_do(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/sys")  # which takes none from root either
    async with viewer(db) as pilot:
        await press(pilot, "o")
        assert re.search(r"/sys/bilevel-\S+ cannot be written: .+; start bilevel in a directory that", said(pilot))


@pytest.mark.skipif(os.geteuid() == 0, reason="a read-only directory does not hinder root")
async def test_a_read_only_directory_is_said_in_a_sentence(db: Path) -> None:
    async with viewer(db) as pilot:
        db.parent.chmod(0o500)
        try:
            await press(pilot, "o")
        finally:
            db.parent.chmod(0o700)
        assert "cannot be written: Permission denied" in said(pilot) and not written_here(db)


async def test_a_directory_that_is_gone_is_said_in_a_sentence(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with viewer(db) as pilot:
        monkeypatch.setattr("tui.screens.keeping.Path.absolute", lambda self: Path("/dev/null/there") / self)
        await press(pilot, "o")
        assert "cannot be written: Not a directory" in said(pilot)


async def test_a_working_directory_that_was_removed_is_said_too(db: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = db.parent / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    async with viewer(db) as pilot:
        gone.rmdir()
        await press(pilot, "o", "x")
        assert said(pilot).count("cannot be written: No such file or directory; the working directory was removed") == 2


async def test_themes_go_round(db: Path) -> None:
    async with viewer(db) as pilot:
        seen = [pilot.app.theme]
        for _ in THEMES:
            await press(pilot, "t")
            seen.append(pilot.app.theme)
        assert seen == [*THEMES, THEMES[0]]


# --- the help ---------------------------------------------------------------------------------------------------------
TABLES = {"live": (ACTIONS, False), "replay": (ACTIONS, True), "sessions": (SESSIONS_ACTIONS, False)}
TABLES |= {"injection": (INJECTION_ACTIONS, False), "comparison": (COMPARE_ACTIONS, False)}


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (200, 60)])
@pytest.mark.parametrize("table", TABLES)
def test_every_action_stands_on_one_page_of_any_screen(table: str, size: tuple[int, int]) -> None:
    actions, replay = TABLES[table]
    here = [action for action in actions if exists(action, replay=replay, read_only=replay)]
    width, height = size[0] - 2, size[1] - 2
    page = help_page(here, width, height)
    assert len(page) <= height and max(line.cell_len for line in page) <= width
    whole = "\n".join(line.plain for line in page)
    for keys, _, help in told_lines(here):
        assert keys in whole
        assert all(word in whole for word in help.split())


def test_every_key_is_of_one_action_in_each_way_of_seeing_a_session() -> None:
    for replay in (False, True):
        here = [action for action in ACTIONS if exists(action, replay=replay, read_only=False)]
        keys = [key for action in here for key in action.key.split(",")]
        assert len(keys) == len(set(keys))


def test_every_action_has_a_method_that_carries_it_out() -> None:
    from tui.screens.compare import CompareScreen
    from tui.screens.injection import InjectionScreen
    from tui.screens.session import SessionScreen
    from tui.screens.sessions import SessionsScreen

    def missing(actions: tuple[Action, ...], screen: type) -> list[str]:
        names = [action.id.partition("(")[0] for action in actions]
        parts = [name.rpartition(".") for name in names]
        return [name for of, _, name in parts if not hasattr(BilevelApp if of else screen, f"action_{name}")]

    assert missing(ACTIONS, SessionScreen) == missing(INJECTION_ACTIONS, InjectionScreen) == []
    assert missing(SESSIONS_ACTIONS, SessionsScreen) == missing(COMPARE_ACTIONS, CompareScreen) == []


def test_the_readme_names_every_key() -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    table = readme.partition("## Keys")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([^`]+)`", table.replace("`1`–`6`", " ".join(f"`{pane}`" for pane in range(1, 7)))))
    assert named == {action.keys.replace("^", "ctrl+") for action in ACTIONS}


async def test_the_help_of_a_replay_has_its_keys_and_no_commands(db: Path) -> None:
    async with viewer(db, replay=True, size=(80, 24)) as pilot:
        await press(pilot, "question_mark")
        assert "Replay" in text(pilot) and "Steering" not in text(pilot)
        assert any("[ ]" in line and "trial" in line for line in lines(pilot))
        await press(pilot, "question_mark")
        assert pilot.app.screen is screen_of(pilot)
