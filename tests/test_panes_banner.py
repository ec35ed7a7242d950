"""The banner: what awaits a person cannot be missed, and what does not, takes no room."""

from pathlib import Path

import told_sessions as told
from screens import again, moment_of, staged, text_of

from engine.record import events as ev
from tui.moment import Moment
from tui.panes.banner import Banner


def waiting(deadline: float | None = None, trusted: bool = True, **more: str) -> list[ev.Event]:
    """A mechanism was written and tested, and waits."""
    asked = ev.InjectionWaiting(
        hash=told.HASH,
        approval="grace" if deadline else "ask",
        trusted=trusted,
        deadline=deadline,
        **{"name": "tabu_search", "reason": "", **more},
    )
    return [*told.beginning(), *told.mechanism()[:2], asked]


def at(moment: Moment, now: float) -> Moment:
    return Moment(moment.feed, moment.engine, now, moment.replay, moment.selection)


async def test_nothing_is_there_while_nothing_is_the_matter(tmp_path: Path) -> None:
    banner = Banner()
    with moment_of(tmp_path, told.whole()) as moment:
        async with staged(banner, moment):
            assert not banner.display and banner.app.bells == 0


async def test_it_counts_down_to_the_clocks_decision_and_rings_once(tmp_path: Path) -> None:
    banner = Banner()
    with moment_of(tmp_path, waiting(deadline=5000.0)) as moment:
        async with staged(banner, at(moment, 5000.0 - 103)) as pilot:
            line = "  ! INJECTION  i look  a approve  v veto  clock lets it in: 1:43  tabu_search"
            assert text_of(banner)[0].startswith(line)
            await again(banner, at(moment, 5000.0 - 5), pilot)
            assert "in: 0:05" in text_of(banner)[0]
            await again(banner, at(moment, 5000.0 + 5), pilot)
            assert "lets it in: now" in text_of(banner)[0]
            assert banner.app.bells == 1


async def test_what_is_not_trusted_is_turned_away_by_the_clock_and_without_a_deadline_it_waits(tmp_path: Path) -> None:
    banner = Banner()
    with moment_of(tmp_path, waiting(deadline=5000.0, trusted=False)) as moment:
        async with staged(banner, at(moment, 4940.0), (120, 40)):
            assert "clock turns it away: 1:00" in text_of(banner)[0]
    (tmp_path / "ask").mkdir()
    with moment_of(tmp_path / "ask", waiting()) as moment:
        async with staged(banner := Banner(), moment, (120, 40)):
            assert f"waits for you  tabu_search ({told.HASH[:12]})" in text_of(banner)[0]


async def test_who_may_not_decide_is_offered_no_keys_and_hears_no_bell(tmp_path: Path) -> None:
    with moment_of(tmp_path, waiting()) as moment:
        async with staged(banner := Banner(), moment, (120, 40), read_only=True):
            assert "approve" not in text_of(banner)[0] and "tabu_search" in text_of(banner)[0]
            assert banner.app.bells == 0


async def test_it_goes_once_the_decision_is_there(tmp_path: Path) -> None:
    decided = ev.InjectionDecided(hash=told.HASH, name="tabu_search", decision="vetoed", by="person")
    events = [*waiting(), decided]
    banner = Banner()
    with moment_of(tmp_path, events, position=len(events) - 1) as moment:
        async with staged(banner, moment) as pilot:
            assert banner.display
            moment.feed.seek(len(events))
            await again(banner, moment, pilot)
            assert not banner.display


async def test_a_lost_engine_is_said_with_what_to_do(tmp_path: Path) -> None:
    says = f"the engine is gone: `bilevel resume {told.NAME}` takes the session up again"
    with moment_of(tmp_path, waiting(), state="gone", says=says) as moment:
        async with staged(banner := Banner(), moment, (120, 40)):
            assert text_of(banner)[0] == f"  ✗ ENGINE GONE  {says}"
            assert "INJECTION  i look  waits until the session is resumed" in text_of(banner)[1]
            assert banner.has_class("-lost")


async def test_an_engine_that_lives_may_have_trouble(tmp_path: Path) -> None:
    with moment_of(tmp_path, told.beginning(), says="the disk is full") as moment:
        async with staged(banner := Banner(), moment):
            assert text_of(banner) == ["  ! ENGINE  the disk is full"] and not banner.has_class("-lost")


async def test_a_crash_is_no_banner(tmp_path: Path) -> None:
    with moment_of(tmp_path, [*told.beginning(), *told.trials()[:8]]) as moment:
        async with staged(banner := Banner(), moment):
            assert moment.view.history.trials[4].status == "crash" and not banner.display


async def test_hostile_names_and_reasons_are_words_on_one_line(tmp_path: Path) -> None:
    events = waiting(name="[bold]x\x1b]0;owned\x07" * 9, reason="\n\n[/] y" * 90)
    with moment_of(tmp_path, events) as moment:
        async with staged(banner := Banner(), moment, (200, 60)):
            (line,) = text_of(banner)
            assert "[bold]x ]0;owned" in line and line.isprintable() and len(line) <= 200
