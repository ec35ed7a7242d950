"""What a trainer printed: from the end of a file that grows, is cut or is gone, and from the record up to a moment."""

import asyncio
import os
from pathlib import Path

import pytest
from fast_sessions import engine_of, events, plan, run_session, until, write_target
from hypothesis import given
from hypothesis import strategies as st
from told_sessions import NAME, beginning, run, write

import tui.trainer_log
from engine.record import events as ev
from engine.record.schema import blob_hash
from engine.record.store import Store
from tui.feed import Feed
from tui.trainer_log import BLOCK_BYTES, LONGEST_LINE, MOST_BYTES, TrainerLog, tail


def tail_of(data: bytes, last: int = 10, end: int | None = None) -> list[str]:
    return tail(lambda start, size: data[start : start + size], len(data) if end is None else end, last)


# --- lines ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("printed", "lines"),
    [
        (b"", []),
        (b"one\ntwo\n", ["one", "two"]),
        (b"one\n\ntwo", ["one", "", "two"]),
        (b"dos\r\nlines\r\n", ["dos", "lines"]),
        (b"step 1\rstep 2\rstep 3\r", ["step 3"]),
        (b"begin\nstep 1\rstep 2\r\n---\nval_bpb: 1.0\n", ["begin", "step 2", "---", "val_bpb: 1.0"]),
        (b"\x1b[31mred\x1b[0m \x1b]0;title\x07end\n", ["red end"]),
        (b"a\tb\n  indented\n", ["a       b", "  indented"]),
        (b"bell\x07 null\x00 \xff\xfe\n", ["bell  null  \ufffd\ufffd"]),
        ("\u202eleft\u2028x\n".encode(), [" left x"]),
        (b"cut \xe2\x82", ["cut \ufffd"]),
    ],
)
def test_lines_are_as_a_terminal_would_have_them_at_last(printed: bytes, lines: list[str]) -> None:
    assert tail_of(printed) == lines


def test_only_the_last_lines_up_to_an_offset_are_shown() -> None:
    data = b"".join(b"line %d\n" % number for number in range(100_000))
    assert tail_of(data, 2) == ["line 99998", "line 99999"]
    assert tail_of(data, 2, end=data.index(b"line 500\n")) == ["line 498", "line 499"]
    assert tail_of(data, 3, end=12) == ["line 0", "line"]
    assert tail_of(data, 0) == []


def test_of_a_log_of_a_gigabyte_the_end_is_read(tmp_path: Path) -> None:
    asked: list[int] = []

    def read(start: int, size: int) -> bytes:
        asked.append(size)
        return b"x" * 99 + b"\n" if size == 100 else (b"x" * 99 + b"\n") * (size // 100 + 1)

    assert len(tail(read, 1 << 30, 500)) == 500
    assert sum(asked) == BLOCK_BYTES
    asked.clear()
    assert tail(lambda start, size: asked.append(size) or b"y" * size, 1 << 30, 500) == ["…" + "y" * LONGEST_LINE]
    assert sum(asked) == MOST_BYTES


@given(st.binary(max_size=400), st.integers(0, 20), st.integers(1, 40))
def test_no_bytes_reach_the_terminal_as_they_are_wherever_the_blocks_fall(data: bytes, last: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        whole = tail_of(data, last)
        patch.setattr(tui.trainer_log, "BLOCK_BYTES", block)
        assert tail_of(data, last) == whole
    assert len(whole) <= last and all(line.isprintable() for line in whole)


@given(st.text(alphabet="ab\n\r", max_size=200))
def test_a_line_is_what_follows_its_last_carriage_return(printed: str) -> None:
    lines = [line.rstrip("\r").rpartition("\r")[2] for line in printed.split("\n")]
    assert tail_of(printed.encode(), 999) == (lines if printed.rpartition("\n")[2] else lines[:-1])


# --- files ------------------------------------------------------------------------------------------------------------
def begun(folder: Path, run_name: str = "trial-1", offset: int | None = None) -> tuple[TrainerLog, Path]:
    """The log of a run that trains, and where its file is."""
    told: list[ev.Event] = [*beginning(), run(run_name, 1, 4.2)[0]]
    if offset is not None:
        told.append(ev.TrialProgress(run=run_name, attempt=1, step=1, offset=offset))
    db = write(folder / "sessions.db", told)
    path = folder / ".bilevel" / NAME / "runs" / f"{run_name}.1" / "trainer.log"
    path.parent.mkdir(parents=True)
    return TrainerLog(Feed(db, NAME)), path


def test_a_log_that_grows_is_cut_and_is_removed(tmp_path: Path) -> None:
    log, path = begun(tmp_path)
    assert log.lines(5) == [] and "has printed nothing yet" in log.note and log.shown == "trial-1"
    path.write_bytes(b"one\n")
    assert log.lines(5) == ["one"] and log.note == ""
    with path.open("ab") as file:
        for number in range(1000):
            file.write(b"%d\n" % number)
            file.flush()
            assert log.lines(1) == [str(number)]
    path.write_bytes(b"new\n")
    assert log.lines(5) == ["new"]
    path.unlink()
    assert log.lines(5) == [] and log.note
    log.feed.close()


def test_what_is_no_file_is_neither_followed_nor_waited_for(tmp_path: Path) -> None:
    log, path = begun(tmp_path)
    os.mkfifo(path)
    assert log.lines(5) == [] and "is no file" in log.note
    path.unlink()
    (tmp_path / "secret").write_text("secret")
    path.symlink_to(tmp_path / "secret")
    assert log.lines(5) == [] and "cannot be read" in log.note
    path.unlink()
    path.mkdir()
    assert log.lines(5) == [] and log.note
    log.feed.close()


def test_a_name_in_the_record_leads_to_no_other_folder(tmp_path: Path) -> None:
    told = [*beginning(), run("../../../elsewhere", 1, 4.2)[0]]
    db = write(tmp_path / "sessions.db", told)
    (tmp_path / "elsewhere.1").mkdir()
    (tmp_path / "elsewhere.1" / "trainer.log").write_text("secret")
    with Feed(db, NAME) as feed:
        assert TrainerLog(feed).lines(5) == []


def test_while_it_is_held_the_log_ends_where_the_last_progress_was(tmp_path: Path) -> None:
    log, path = begun(tmp_path, offset=8)
    path.write_bytes(b"step 1\r\nstep 2\r\n")
    assert log.lines(5) == ["step 1", "step 2"]
    assert log.lines(5, live=False) == ["step 1"]
    log.feed.close()


def test_before_anything_ran_there_is_nothing(tmp_path: Path) -> None:
    db = write(tmp_path / "sessions.db", beginning()[:3])
    with Feed(db, NAME) as feed:
        log = TrainerLog(feed)
        assert log.lines(5) == [] and log.note == "no run has begun"
        assert log.lines(5, "trial-9") == [] and log.note == "trial-9 has not begun"


# --- the record -------------------------------------------------------------------------------------------------------
def finished(folder: Path, text: bytes) -> Feed:
    """A run that printed this, made progress at each line and ended."""
    begin, end = run("trial-1", 1, 4.2, log_blob=blob_hash(text))
    steps = [
        ev.TrialProgress(run="trial-1", attempt=1, step=index, offset=index + 1)
        for index, byte in enumerate(text)
        if byte == 10
    ]

    async def fill() -> None:
        store = await Store.open(folder / "sessions.db")
        await store.append(NAME, [*beginning(), begin, *steps, end], [text])
        await store.close()

    asyncio.run(fill())
    return Feed(folder / "sessions.db", NAME)


def test_in_replay_a_log_ends_where_the_last_progress_had_been(tmp_path: Path) -> None:
    with finished(tmp_path, b"a\nb\nc\n---\nval_bpb: 1\n") as feed:
        log = TrainerLog(feed)
        assert log.lines(9) == ["a", "b", "c", "---", "val_bpb: 1"]
        first = len(beginning()) + 1
        shown = []
        for seq in range(first, feed.head):
            feed.seek(seq)
            shown.append(len(log.lines(9)))
        assert shown == [0, 1, 2, 3, 4, 5]
        feed.seek(first - 1)
        assert log.shown == "trial-1" and log.lines(9, "trial-1") == [] and "has not begun" in log.note


def test_a_large_content_is_unpacked_only_where_the_file_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tui.trainer_log, "LARGEST_BLOB", 3)
    with finished(tmp_path, b"recorded\n") as feed:
        log = TrainerLog(feed)
        path = tmp_path / ".bilevel" / NAME / "runs" / "trial-1.1" / "trainer.log"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"on the disk\n")
        assert log.lines(9) == ["on the disk"]
        path.unlink()
        assert log.lines(9) == ["recorded"]


def test_a_session_that_ran_shows_the_same_from_the_record_as_from_its_files(tmp_path: Path) -> None:
    target = write_target(tmp_path / "target", seconds=1.2)
    asyncio.run(run_session(tmp_path / "sessions.db", plan(target, trials=1, baseline_runs=2, confirm=False)))
    with Feed(tmp_path / "sessions.db", "s1") as feed:
        log = TrainerLog(feed)
        lines = log.lines(50, "trial-1")
        assert lines[0].startswith("step 00003") and "num_steps: 4" in lines and log.note == ""
        moments = [row for row in feed.rows(0, 10_000, ["trial_progress"]) if row.event.run == "trial-1"]
        assert moments, "a run of more than a second tells of its progress"
        for row in moments:
            feed.seek(row.seq)
            from_record = log.lines(50)
            assert from_record and from_record[-1].startswith(f"step {row.event.step:05d}")
            assert log._of_file("trial-1", 1, row.event.offset, 50) == from_record


async def test_the_log_of_a_run_that_trains_grows_before_its_next_progress(tmp_path: Path) -> None:
    db = tmp_path / "sessions.db"
    target = write_target(tmp_path / "target", seconds=4.0)
    with engine_of(db, plan(target, trials=1, confirm=False)):
        await until(lambda: db.exists() and any(events(db, "s1", "trainer_spawned")))
        with Feed(db, "s1") as feed:
            log = TrainerLog(feed)
            await until(lambda: feed.poll() or log.lines(5))
            await until(lambda: any(line.startswith("step ") for line in log.lines(5)))
            first = log.lines(5)[-1]
            await until(lambda: log.lines(5) and log.lines(5)[-1] != first)
