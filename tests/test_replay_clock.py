"""The clock of a replay: speeds, gaps, steps from mark to mark. No record and no view; times and marks alone."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.marks import Mark
from tui.replay_clock import SPEEDS, ReplayClock


class Line:
    """A timeline of events at these times."""

    def __init__(self, times: Sequence[float], marks: Sequence[Mark] = ()) -> None:
        self._times, self._marks = list(times), list(marks)
        self.position = 1

    @property
    def head(self) -> int:
        return len(self._times)

    def times(self, after: int, limit: int) -> list[float]:
        return self._times[after : after + limit]

    def marks(self) -> list[Mark]:
        return self._marks

    def grow(self, time: float) -> None:
        self._times.append(time)


def mark(seq: int, kind: str, trial: int | None = None) -> Mark:
    return Mark(seq, float(seq), kind, trial)


def playing(times: Sequence[float], speed: float = 1.0, idle: float | None = None) -> ReplayClock:
    clock = ReplayClock(Line(times), idle=idle)
    clock.speed = speed
    clock.play_or_hold()
    return clock


def test_events_come_when_their_recorded_time_has_passed() -> None:
    clock = playing([100.0, 101.0, 103.0, 103.0, 110.0])
    assert [clock.advance(0.5) for _ in range(6)] == [1, 2, 2, 2, 2, 4]
    assert clock.now == pytest.approx(103.0)
    assert clock.advance(6.9) == 4
    assert clock.now == pytest.approx(109.9)
    assert clock.advance(0.2) == 5
    assert not clock.playing  # at the end it holds


def test_nothing_moves_while_it_holds() -> None:
    clock = ReplayClock(Line([0.0, 1.0, 2.0]))
    assert clock.advance(100.0) == 1
    clock.play_or_hold()
    assert clock.advance(1.0) == 2
    clock.play_or_hold()
    assert clock.advance(100.0) == 2 and clock.now == 1.0


@pytest.mark.parametrize("speed", SPEEDS)
def test_recorded_time_passes_at_the_chosen_speed(speed: float) -> None:
    clock = playing([float(second) for second in range(5000)], speed)
    for _ in range(4):
        clock.advance(1.0)
    assert clock.position == 1 + int(4 * speed)


def test_speeds_go_from_a_quarter_to_a_thousand_and_no_further() -> None:
    clock = ReplayClock(Line([0.0]))
    assert clock.speed == 1.0
    assert [clock.slower() for _ in range(3)] == [0.5, 0.25, 0.25]
    assert [clock.faster() for _ in range(20)][-1] == 1000.0
    clock.speed = 3.0  # set by hand, it joins the row again
    assert clock.faster() == 4.0 and clock.slower() == 2.0


def test_a_long_gap_is_shortened_and_a_clock_that_was_set_back_takes_no_time() -> None:
    clock = playing([0.0, 3600.0, 100.0, 101.0], idle=5.0)
    assert clock.advance(4.9) == 1
    assert clock.now == pytest.approx(4.9)
    assert clock.advance(0.1) == 3
    assert clock.advance(1.0) == 4


@given(
    st.lists(st.floats(0, 1e4), min_size=1, max_size=40),
    st.lists(st.floats(0, 50), max_size=30),
    st.sampled_from(SPEEDS),
)
def test_it_never_goes_back_nor_out_of_the_record(times: list[float], pieces: list[float], speed: float) -> None:
    clock = playing(times, speed, 60.0)
    positions = [clock.advance(piece) for piece in pieces]
    assert positions == sorted(positions)
    assert all(1 <= position <= len(times) for position in positions)


@given(st.lists(st.integers(0, 100), min_size=1, max_size=40), st.lists(st.integers(0, 50), min_size=1, max_size=30))
def test_it_makes_no_difference_in_how_many_pieces_time_passes(gaps: list[int], pieces: list[int]) -> None:
    times = [float(sum(gaps[:count])) for count in range(len(gaps) + 1)]
    clock, at_once = playing(times), playing(times)
    for piece in pieces:
        clock.advance(float(piece))
    assert at_once.advance(float(sum(pieces))) == clock.position


def test_played_again_at_the_end_it_begins_anew() -> None:
    clock = playing([0.0, 1.0])
    assert clock.advance(5.0) == 2 and not clock.playing
    assert clock.play_or_hold() == 1 and clock.playing


def test_a_session_that_grows_is_played_on() -> None:
    line = Line([0.0, 1.0])
    clock = ReplayClock(line)
    clock.play_or_hold()
    clock.advance(1.0)
    line.grow(2.0)
    assert clock.position == 2
    clock.play_or_hold()  # there is more: it goes on from where it stands
    assert clock.advance(1.0) == 3


def test_steps_go_from_mark_to_mark_and_hold() -> None:
    marks = [mark(3, "trial", 1), mark(5, "trial", 2), mark(5, "best", 2), mark(8, "injection", 2), mark(9, "trial", 3)]
    clock = ReplayClock(Line([float(number) for number in range(10)], marks))
    clock.play_or_hold()
    assert clock.step("trial", 1) == 3 and not clock.playing
    assert [clock.step("trial", 1) for _ in range(3)] == [5, 9, None]
    assert clock.position == 9
    assert [clock.step("trial", -1) for _ in range(3)] == [5, 3, None]
    assert clock.step("injection", 1) == 8 and clock.step("best", -1) == 5 and clock.step("best", 1) is None
    assert clock.step("event", 1) == 6 and clock.step("event", -1) == 5
    clock.seek(99)
    assert clock.position == 10 and clock.step("event", 1) is None
    clock.seek(-4)
    assert clock.position == 1 and clock.step("event", -1) is None


def test_a_trial_is_found_by_its_number_and_the_baseline_by_its_last_run() -> None:
    clock = ReplayClock(Line([0.0] * 9, [mark(2, "trial", 0), mark(4, "trial", 0), mark(7, "trial", 1)]))
    assert clock.jump_to_trial(1) == 7
    assert clock.jump_to_trial(0) == 4
    assert clock.jump_to_trial(2) is None and clock.position == 4


def test_only_as_many_times_are_asked_for_as_are_passed() -> None:
    class Counting(Line):
        asked = 0

        def times(self, after: int, limit: int) -> list[float]:
            found = super().times(after, limit)
            self.asked += len(found)
            return found

    line = Counting([float(number) for number in range(100_000)])
    clock = ReplayClock(line)
    clock.speed = 1000.0
    clock.play_or_hold()
    clock.advance(0.25)
    assert clock.position == 251 and line.asked < 2000
