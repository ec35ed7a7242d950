"""Styles by name are readable in every theme, and never the only thing that tells."""

from pathlib import Path

import pytest
import told_sessions as told
from rich.style import Style
from rich.text import Span, Text
from screens import moment_of, staged, text_of

from tui.app import THEMES
from tui.panes.trials import TrialsPane
from tui.widgets.block import Block
from tui.widgets.drawn import STYLES
from tui.widgets.lines import LineView
from tui.widgets.spark import resampled, spark


@pytest.mark.parametrize("theme", THEMES)
async def test_every_style_differs_from_its_background_in_every_theme(tmp_path: Path, theme: str) -> None:
    with moment_of(tmp_path, told.whole()) as moment:
        async with staged(pane := TrialsPane(), moment) as pilot:
            before = text_of(pane)
            pilot.app.theme = theme
            await pilot.pause()
            rows = pane.rows
            for name in STYLES:
                style = rows.rich_style + rows.style_of(name)
                front, back = style.color, style.bgcolor
                assert front != back or front.is_default, f"{name} in {theme}: {style}"
                if front.triplet and back.triplet:
                    distance = sum(abs(a - b) for a, b in zip(front.triplet, back.triplet, strict=True))
                    assert distance > 150, f"{name} in {theme}: {style}"
            assert text_of(pane) == before


async def test_without_colours_the_text_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with moment_of(tmp_path, told.whole()) as moment:
        async with staged(pane := TrialsPane(), moment):
            coloured = text_of(pane)
        monkeypatch.setenv("NO_COLOR", "1")
        async with staged(pane := TrialsPane(), moment):
            assert text_of(pane) == coloured


async def test_a_block_is_as_high_as_its_lines_and_away_without_any(tmp_path: Path) -> None:
    block = Block()
    block.show = lambda moment: block.show_lines([Text("one", "good"), Text("two")])
    with moment_of(tmp_path, told.beginning()) as moment:
        async with staged(block, moment) as pilot:
            assert text_of(block) == ["one", "two"]
            block.show_lines([])
            await pilot.pause()
            assert not block.display


async def test_rich_styles_stand_beside_the_named_ones(tmp_path: Path) -> None:
    block = Block()
    line = Text.assemble(("a", "bold on default"), ("b", Style(italic=True)), ("c", "good"))
    block.show = lambda moment: block.show_lines([line])
    with moment_of(tmp_path, told.beginning()) as moment:
        async with staged(block, moment):
            styles = [segment.style for segment in block.render_line(0) if segment.text.strip()]
            assert (styles[0].bold, styles[1].italic) == (True, True)
            assert styles[2].color == block.style_of("good").color


async def test_nothing_that_a_terminal_acts_on_is_drawn(tmp_path: Path) -> None:
    block = Block()
    hostile = Text("a\x1b[2J\tb\x9b31mc", spans=[Span(0, 4, "bad"), Span(2, 9, "good")])
    block.show = lambda moment: block.show_lines([Text("x\x1by", "dim"), hostile])
    with moment_of(tmp_path, told.beginning()) as moment:
        async with staged(block, moment):
            assert text_of(block) == ["x y", "a [2J b 31mc"]


def test_a_spark_is_clipped_to_its_range_and_has_gaps() -> None:
    assert spark([1.0, None, 2.0, 99.0, float("nan")], 1.0, 2.0) == "▁ ██ "
    assert spark([1.0, 1.0], 1.0, 1.0) == "▁▁"


def test_many_values_are_told_by_the_best_of_each_stretch() -> None:
    assert resampled([5.0, 1.0, None, None, 3.0, 4.0], 3) == [1.0, None, 3.0]
    assert resampled([5.0, 1.0, None, None, 3.0, 4.0], 3, max) == [5.0, None, 4.0]


async def test_a_line_that_is_cut_says_so_at_the_end_where_more_of_it_is(tmp_path: Path) -> None:
    lines = LineView()
    told_there = ["0123456789", "0123456789a", "日本語日本語", "0日本語日本語", "0123      "]
    lines.show = lambda moment: lines.show_lines(told_there)
    with moment_of(tmp_path, told.beginning()) as moment:
        async with staged(lines, moment, (10, 6)) as pilot:
            assert text_of(lines)[:5] == ["0123456789", "012345678›", "日本語日 ›", "0日本語日›", "0123"]
            lines.action_shift(8)
            await pilot.pause()
            assert text_of(lines)[:5] == ["‹9", "‹9a", "‹ 語", "‹本語", "‹"]
