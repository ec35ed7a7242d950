"""What a person pastes is text: never a command, whatever it holds and however it arrives; a prompt takes all of it."""

import time
from itertools import pairwise
from pathlib import Path

import pytest
import told_sessions as told
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.widgets import Input
from viewers import press, said, viewer, write_at

from tui.driver import PASTE_BEGINS, PASTE_ENDS, PATIENCE, LenientParser


def heard(*parts: str) -> list[events.Event]:
    """What the parser makes of these parts of the input, one after the other."""
    parser = LenientParser()
    return [message for part in parts for message in parser.feed(part) if isinstance(message, events.Event)]


def cut(text: str, places: list[int]) -> list[str]:
    """The text in parts that begin at these places."""
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[begin:end] for begin, end in pairwise(edges)]


PIECES = st.sampled_from(
    ["a", "P", "Sy", "q", " ", "\n", "\t", "\x1b", "\x1b[", "\x1b[K", "\x1b[200~", "\x1b[20", "[201~", "é"]
)


@given(st.lists(PIECES).map("".join), st.lists(st.integers(0, 200), max_size=6))
def test_a_paste_is_one_text_without_escape_characters(text: str, places: list[int]) -> None:
    if PASTE_ENDS in text:
        return
    said = f"x{PASTE_BEGINS}{text}{PASTE_ENDS}y"
    first, paste, last = heard(*cut(said, places))
    assert isinstance(first, events.Key) and isinstance(last, events.Key) and (first.key, last.key) == ("x", "y")
    assert isinstance(paste, events.Paste) and paste.text == text.replace("\x1b", "")


def waited(parser: LenientParser) -> list[events.Event]:
    """What the parser makes of it that nothing came for longer than a key takes."""
    if parser._timeout_time is not None:
        parser._timeout_time = 0.0
    return [message for message in parser.tick() if isinstance(message, events.Event)]


@pytest.mark.parametrize("place", range(2, len(PASTE_BEGINS)))
def test_the_mark_of_a_paste_may_come_in_two_parts_with_a_pause_between_them(place: int) -> None:
    parser = LenientParser()
    assert list(parser.feed(PASTE_BEGINS[:place])) == waited(parser) == []
    paste, key = parser.feed(f"{PASTE_BEGINS[place:]}Pq{PASTE_ENDS}z")
    assert isinstance(paste, events.Paste) and paste.text == "Pq"
    assert isinstance(key, events.Key) and key.key == "z"


def test_a_mark_whose_first_character_was_taken_for_escape_is_one_still() -> None:
    parser = LenientParser()
    assert list(parser.feed("\x1b")) == []
    [escape] = waited(parser)
    assert isinstance(escape, events.Key) and escape.key == "escape"
    paste, _ = parser.feed(f"{PASTE_BEGINS[1:]}Pq{PASTE_ENDS}z")
    assert isinstance(paste, events.Paste) and paste.text == "Pq"
    assert [key.key for key in (*parser.feed("\x1b"), *waited(parser), *parser.feed("x"))] == ["escape", "x"]  # type: ignore[attr-defined]


def test_a_paste_whose_end_is_never_marked_ends_when_nothing_comes_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = LenientParser()
    assert list(parser.feed(f"{PASTE_BEGINS}Pq")) == waited(parser) == []
    monkeypatch.setattr(time, "monotonic", lambda now=time.monotonic: now() + PATIENCE + 1)
    [paste] = waited(parser)
    assert isinstance(paste, events.Paste) and paste.text == "Pq"
    [key] = parser.feed("z")
    assert isinstance(key, events.Key) and key.key == "z"


def test_two_pastes_are_two_and_keys_between_them_are_keys() -> None:
    one, two = f"{PASTE_BEGINS}one{PASTE_ENDS}", f"{PASTE_BEGINS}\x1bXP{PASTE_ENDS}"
    told_of = [each.text if isinstance(each, events.Paste) else each.key for each in heard(f"{one}\x1b[A{two}")]  # type: ignore[attr-defined]
    assert told_of == ["one", "up", "XP"]


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """A session that no engine runs any more."""
    return write_at(tmp_path / "sessions.db", [*told.beginning(), *told.trials()])


@pytest.mark.parametrize(
    ("pasted", "becomes"),
    [
        ("lower the rate", "lower the rate"),
        ("first\r\n  second\nthird\n", "first second third"),
        ("\n", ""),
        ("  a  line ", "  a  line "),
        ("a\x07b\x1b[31m\u202ec\tand", "ab[31mc and"),
    ],
)
async def test_a_prompt_takes_every_line_and_no_control_characters(db: Path, pasted: str, becomes: str) -> None:
    async with viewer(db) as pilot:
        await press(pilot, "m")
        field = pilot.app.screen.query_one(Input)
        await press(pilot, "x")
        field.post_message(events.Paste(pasted))
        await press(pilot, "y")
        assert field.value == f"x{becomes}y"


async def test_what_is_pasted_into_the_filter_of_the_list_filters(db: Path) -> None:
    async with viewer(db, None) as pilot:
        await press(pilot, "slash")
        field = pilot.app.screen.query_one(Input)
        field.post_message(events.Paste(f"{told.NAME}\n"))
        await pilot.pause()
        assert field.value == told.NAME and not said(pilot)


async def test_what_is_too_long_for_a_prompt_is_cut_with_a_word(db: Path) -> None:
    async with viewer(db) as pilot:
        await press(pilot, "m", "x")
        field = pilot.app.screen.query_one(Input)
        field.post_message(events.Paste("long " * 500))
        await pilot.pause()
        assert len(field.value) == 2000 and field.value.startswith("xlong")
        assert "cut: there is room for 2,000 characters" in said(pilot)
        field.select_all()
        field.post_message(events.Paste("short"))
        await pilot.pause()
        assert field.value == "short"
