"""The journal: one order for disk and view, nothing torn apart by a cancellation, trouble waited out and said."""

import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import until
from record_files import end, line, note, progress, python, texts
from searches import created, search

import engine.record.journal as journal_module
from engine.record.events import Event, Noted, TrialStarted
from engine.record.journal import Journal
from engine.record.store import DiskFull, Stamp, Store
from engine.record.view import View

HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.read()
"""


class FillingDisk:
    """A store whose disk is full for the next `refused` appends; what it writes goes to the real one."""

    def __init__(self, store: Store, refused: int = 0) -> None:
        self.store, self.refused, self.path = store, refused, store.path
        self.tries = 0

    async def append(self, session: str, events: Sequence[Event], blobs: Sequence[bytes] = ()) -> list[Stamp]:
        self.tries += 1
        if self.refused:
            self.refused -= 1
            raise DiskFull("the disk is full")
        return await self.store.append(session, events, blobs)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "RETRY_SECONDS", 0.01)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    store = await Store.open(tmp_path / "sessions.db", patience=0.1)
    journal = Journal(store, "s", View())
    await journal.record(created())
    yield journal
    await store.close()


@pytest.fixture
def holder(tmp_path: Path, journal: Journal) -> Iterator["subprocess.Popen[str]"]:
    """A process that holds the record's lock."""
    process = python(HOLD, tmp_path / "sessions.db")
    assert line(process) == "held"
    yield process
    if process.poll() is None:
        end(process)


def told(journal: Journal) -> list[str]:
    """The texts of the notes in the view."""
    return [noted.text for noted in journal.view.notes]


def on_disk(journal: Journal) -> list[str]:
    return texts(journal.store.path, "s")


async def test_disk_and_view_have_one_order_whoever_records(journal: Journal) -> None:
    await asyncio.gather(*(journal.record(note(f"{n}a"), note(f"{n}b")) for n in range(40)))
    assert told(journal) == on_disk(journal) and len(told(journal)) == 80
    pairs = list(zip(told(journal)[::2], told(journal)[1::2], strict=True))
    assert all(first[:-1] == second[:-1] for first, second in pairs)
    assert journal.view.seq == 81


async def test_when_record_returns_the_event_is_on_disk_and_in_the_view(journal: Journal) -> None:
    await journal.record(note("first"))
    assert told(journal) == on_disk(journal) == ["first"]


async def test_a_cancelled_record_is_folded_all_the_same(journal: Journal) -> None:
    task = asyncio.create_task(journal.record(note("late")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await journal.record(note("next"))
    assert told(journal) == on_disk(journal) == ["late", "next"]


async def test_who_waits_for_a_change_is_woken_by_each(journal: Journal) -> None:
    seen: list[int] = []

    async def watch() -> None:
        while len(seen) < 3:
            await journal.changed()
            seen.append(journal.view.seq)

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    await journal.record(note("one"))
    await journal.record(note("two"))
    journal.wake()
    await task
    assert seen == [2, 3, 3]


async def test_a_lock_that_another_process_holds_is_waited_out_and_said(
    journal: Journal, holder: "subprocess.Popen[str]"
) -> None:
    task = asyncio.create_task(journal.record(note("kept")))
    await until(lambda: journal.trouble is not None)
    assert "locked" in str(journal.trouble) and not task.done() and told(journal) == []
    await journal.record(progress())  # dropped, and nobody waits for it
    later = asyncio.create_task(journal.record(note("later")))
    end(holder)
    await asyncio.gather(task, later)
    assert journal.trouble is None
    assert told(journal) == on_disk(journal)
    assert [text for text in told(journal) if "nothing was lost" not in text] == ["kept", "later"]
    assert "locked" in told(journal)[1] and "the session went on after" in told(journal)[1]


@pytest.mark.parametrize("refused", [1, 3])
async def test_a_full_disk_is_waited_out_and_said_once(journal: Journal, refused: int) -> None:
    disk: Any = FillingDisk(journal.store, refused)
    journal.store = disk
    await journal.record(note("kept"))
    assert told(journal)[0] == "kept" and told(journal)[1].startswith("the disk is full; nothing was lost")
    assert (len(told(journal)), disk.tries, journal.trouble) == (2, refused + 2, None)
    assert told(journal) == on_disk(journal)


async def test_trouble_with_the_note_itself_is_over_when_it_is_over(journal: Journal) -> None:
    class FullAgain(FillingDisk):
        async def append(self, session: str, events: Sequence[Event], blobs: Sequence[bytes] = ()) -> list[Stamp]:
            self.refused = self.tries in (0, 2)  # the event, and the note that tells of it
            return await super().append(session, events, blobs)

    disk: Any = FullAgain(journal.store)
    journal.store = disk
    await journal.record(note("kept"))
    assert journal.trouble is None and len(told(journal)) == 3
    seen = journal.view.seq
    await journal.record(progress())
    assert journal.view.seq == seen + 1  # progress is no longer dropped


class FullAtTheStart(FillingDisk):
    """A disk that is full whenever a trial is about to start."""

    full, refusals = True, 0

    async def append(self, session: str, events: Sequence[Event], blobs: Sequence[bytes] = ()) -> list[Stamp]:
        self.refused = int(self.full and any(isinstance(event, TrialStarted) for event in events))
        self.refusals += self.refused
        return await super().append(session, events, blobs)


async def test_no_trial_starts_while_the_disk_is_full(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        disk: Any = FullAtTheStart(s.journal.store)
        s.journal.store, s.runs.metrics = disk, [3.9]
        task = asyncio.create_task(s.go(1))
        await until(lambda: disk.refusals > 5)
        assert s.journal.trouble == "the disk is full"
        assert (s.view.running, s.view.completed, s.runs.metrics) == (None, 0, [3.9])
        disk.full = False
        await task
        assert s.view.completed == 1 and [type(event) for event in s.view.notes] == [Noted]


async def test_an_engine_that_has_left_records_nothing(journal: Journal) -> None:
    journal.closed = True
    with pytest.raises(asyncio.CancelledError):
        await journal.record(note("too late"))
    assert on_disk(journal) == []


async def test_a_record_that_was_moved_away_is_waited_for_and_said(journal: Journal, tmp_path: Path) -> None:
    path, elsewhere = journal.store.path, tmp_path / "elsewhere.db"
    move(path, elsewhere)
    task = asyncio.create_task(journal.record(note("kept")))
    await until(lambda: journal.trouble is not None)
    assert "no longer at" in str(journal.trouble) and not task.done()
    assert told(journal) == []
    move(elsewhere, path)
    await task
    assert journal.trouble is None and told(journal) == on_disk(journal)
    assert told(journal)[0] == "kept" and "put it back there" in told(journal)[1]
    assert "the session goes on; nothing was lost" in told(journal)[1]


def move(path: Path, to: Path) -> None:
    path.rename(to)
