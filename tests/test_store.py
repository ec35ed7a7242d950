"""The record as it is meant to be used: what is appended is read back, in order, chained, once."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from record_files import content, created, finished, note, notes, progress, started, texts

from engine.errors import InputError
from engine.record.events import KINDS
from engine.record.reader import Reader
from engine.record.schema import VIEW_ONLY_KINDS
from engine.record.store import (
    DuplicateAttempt,
    DuplicateResult,
    RecordBroken,
    RecordError,
    Store,
    blob_hash,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


async def test_events_come_back_in_order_with_number_time_and_content(path: Path) -> None:
    store = await Store.open(path)
    first = await store.append("s", [created(), note("größer")])
    second = await store.append("s", [started()])
    await store.close()
    assert [stamp.seq for stamp in first + second] == [1, 2, 3]
    with Reader(path) as reader:
        rows = list(reader.events("s"))
        assert [row.event for row in rows] == [created(), note("größer"), started()]
        assert [(row.seq, row.time) for row in rows] == first + second
        assert [row.seq for row in reader.events("s", after=1, limit=1)] == [2]
        assert [row.seq for row in reader.events("s", kinds=["noted", "trial_started"])] == [2, 3]
        assert (reader.last_seq("s"), reader.last_seq("none"), reader.verify("s")) == (3, 0, 3)


async def test_appends_of_several_tasks_do_not_interleave(path: Path) -> None:
    store = await Store.open(path)
    batches = [[note(f"{task}.{number}") for number in range(3)] for task in range(20)]
    stamps = await asyncio.gather(*(store.append("s", batch) for batch in batches))
    await store.close()
    assert [stamp.seq for batch in stamps for stamp in batch] == list(range(1, 61))
    assert texts(path) == [event.text for batch in batches for event in batch]


async def test_sessions_are_numbered_and_chained_apart(path: Path) -> None:
    store = await Store.open(path)
    for session in ("a", "b", "a"):
        await store.append(session, [note(session)])
    await store.close()
    with Reader(path) as reader:
        assert (reader.verify("a"), reader.verify("b")) == (2, 1)


async def test_a_run_has_one_result_and_a_refused_one_leaves_nothing(path: Path) -> None:
    store = await Store.open(path)
    await store.append("s", [started(), finished()])
    with pytest.raises(DuplicateResult):
        await store.append("s", [note("with it"), finished()])
    await store.append("other", [finished()])
    await store.append("s", [finished("r2")])
    await store.close()
    with Reader(path) as reader:
        assert [row.kind for row in reader.events("s")] == ["trial_started", "trial_finished", "trial_finished"]
        assert reader.verify("s") == 3


async def test_an_attempt_is_started_once_and_another_attempt_may_follow(path: Path) -> None:
    store = await Store.open(path)
    await store.append("s", [started(attempt=1)])
    with pytest.raises(DuplicateAttempt):
        await store.append("s", [started(attempt=1)])
    await store.append("s", [started(attempt=2), started("r2", attempt=1)])
    await store.close()


async def test_a_session_is_created_once(path: Path) -> None:
    store = await Store.open(path)
    await store.append("s", [created()])
    with pytest.raises(RecordError, match="created already"):
        await store.append("s", [created()])
    await store.close()


async def test_state_only_leaves_out_what_changes_no_state_through_its_index(path: Path) -> None:
    assert set(VIEW_ONLY_KINDS) <= set(KINDS)
    store = await Store.open(path)
    await store.append("s", [started(), *(progress(step) for step in range(1200)), finished()])
    await store.close()
    with Reader(path) as reader:
        assert [row.kind for row in reader.events("s", state_only=True)] == ["trial_started", "trial_finished"]
        assert len(list(reader.events("s"))) == 1202
        assert len(list(reader.events("s", after=100, limit=700))) == 700


async def test_blobs_are_kept_once_compressed_and_checked(path: Path) -> None:
    text = b"step 1 | loss 5.1\r" * 5000
    store = await Store.open(path)
    await store.append("s", [note("log")], [text, b""])
    await store.append("s", [note("same")], [text])
    await store.close()
    with Reader(path) as reader:
        assert (reader.blob(blob_hash(text)), reader.blob(blob_hash(b""))) == (text, b"")
        with pytest.raises(RecordError, match="holds no content"):
            reader.blob("0" * 64)
    assert len(content(path)) < len(text)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE blobs SET data = zeroblob(9) WHERE size > 0")
    connection.close()
    with Reader(path) as reader, pytest.raises(RecordBroken):
        reader.blob(blob_hash(text))


async def test_a_changed_a_missing_and_a_foreign_event_break_the_chain(path: Path) -> None:
    store = await Store.open(path)
    await store.append("s", notes(range(10)))
    await store.close()
    for change, first in (
        ("UPDATE events SET body = replace(body, 'note 6', 'note 7') WHERE seq = 7", "event 7"),
        ("UPDATE events SET time = time + 1 WHERE seq = 4", "event 4"),
        ("DELETE FROM events WHERE seq = 3", "event 3"),
        ("UPDATE events SET body = x'00ff' WHERE seq = 2", "event 2"),
    ):
        connection = sqlite3.connect(path)
        connection.execute(change)
        connection.commit()
        connection.close()
        with Reader(path) as reader, pytest.raises(RecordBroken, match=first):
            reader.verify("s")


async def test_a_backup_is_a_whole_record_in_one_file(path: Path, tmp_path: Path) -> None:
    store = await Store.open(path)
    await store.append("s", notes(range(5)), [b"content"])
    copy = tmp_path / "backups" / "copy.db"
    await store.backup(copy)
    await store.append("s", notes(range(5, 7)))
    with pytest.raises(InputError, match="the record itself"):
        await store.backup(path)
    with pytest.raises(InputError, match="is a directory"):
        await store.backup(tmp_path)
    await store.close()
    assert [file.name for file in copy.parent.iterdir()] == ["copy.db"]
    assert texts(copy) == [f"note {number}" for number in range(5)]
    with Reader(copy) as reader:
        assert reader.blob(blob_hash(b"content")) == b"content"


async def test_a_deleted_session_goes_with_the_contents_that_only_it_used(path: Path) -> None:
    mine, shared = b"mine" * 50_000, b"shared"
    store = await Store.open(path)
    await store.append("old", [created("old"), note(f"uses {blob_hash(mine)} and {blob_hash(shared)}")], [mine, shared])
    await store.append("new", [created("new"), note(f"uses {blob_hash(shared)}")])
    await store.delete_session("old")
    await store.vacuum()
    with Reader(path) as reader:
        assert [row.id for row in reader.sessions()] == ["new"]
        assert reader.verify("new") == 2
        assert reader.blob(blob_hash(shared)) == shared
        with pytest.raises(RecordError):
            reader.blob(blob_hash(mine))
    await store.close()


async def test_a_closed_store_says_so_and_leaves_one_file(path: Path) -> None:
    store = await Store.open(path)
    appended = asyncio.create_task(store.append("s", [note("last words")]))
    await asyncio.sleep(0)
    await store.close()
    await store.close()
    await appended
    with pytest.raises(RecordError, match="closed"):
        await store.append("s", [note("too late")])
    assert texts(path) == ["last words"]
