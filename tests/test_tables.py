"""A table fits the width that it is given, and loses nothing in it."""

import pytest

from engine.record.tables import table

HEADING = ("The trials meanwhile", "trials", "kept", "improvement", "mean val_bpb")
ROWS = [("those that it touched", "12", "3", "-0.0123", "2.9000"), ("the others", "7", "0", "-", "2.9500")]
WIDTHS = (29, 9, 7, 14, 21)


def test_where_there_is_room_columns_have_their_widths() -> None:
    lines = table(HEADING, ROWS, WIDTHS, 80)
    assert lines[0] == "The trials meanwhile            trials   kept   improvement         mean val_bpb"
    assert lines[1] == "  those that it touched             12      3       -0.0123               2.9000"


def test_where_it_is_narrow_they_move_together() -> None:
    lines = table(HEADING, ROWS, WIDTHS, 64)
    assert lines == [
        "The trials meanwhile     trials  kept  improvement  mean val_bpb",
        "  those that it touched      12     3      -0.0123        2.9000",
        "  the others                  7     0            -        2.9500",
    ]


@pytest.mark.parametrize("width", range(30, 82))
def test_no_line_is_wider_than_the_width_and_no_cell_is_lost(width: int) -> None:
    lines = table(HEADING, ROWS, WIDTHS, width)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).replace(":", "").replace(",", "").split()
    assert all(words.count(word) >= 1 for row in (HEADING, *ROWS) for cell in row for word in cell.split())


def test_a_long_heading_stands_above_its_columns() -> None:
    lines = table(("Over the 10 recorded trials it would have", "times"), [("blocked a proposal", "4")], (52, 7), 43)
    assert lines == [
        "Over the 10 recorded trials it would have",
        "                      times",
        "  blocked a proposal      4",
    ]


def test_where_columns_are_too_many_each_row_is_a_sentence() -> None:
    assert table(HEADING, ROWS, WIDTHS, 43)[:3] == [
        "The trials meanwhile",
        "  those that it touched: trials 12, kept 3,",
        "    improvement -0.0123, mean val_bpb",
    ]


def test_a_row_may_have_fewer_cells() -> None:
    assert table(("a", "b", "c"), [("d", "1")], (4, 4, 4), 12) == ["a      b   c", "  d    1"]
