"""What a person pastes is text: never a command, whatever it holds and however it arrives; a prompt takes all of it."""

from itertools import pairwise
from pathlib import Path

import pytest
import told_sessions as told
from hypothesis import given
from hypothesis import strategies as st
from textual import events
from textual.widgets import Input
from viewers import press, said, viewer, write_at

from tui.driver import PASTE_BEGINS, PASTE_ENDS, LenientParser


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
