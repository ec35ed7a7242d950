"""The file of the record under the writer: its log stays, a second writer is refused, and its absence is noticed."""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from record_files import created, end, line, note, notes, python, texts

from engine.record.creation import prepare
from engine.record.reader import Reader
from engine.record.recovery import open_or_recover
from engine.record.store import RecordError, RecordInUse, RecordMissing, Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")


# --- the log stays ----------------------------------------------------------------------------------------------------
ENGINE = """
import asyncio, os, signal, sys
from pathlib import Path
from record_files import notes
from engine.record.reader import Reader
from engine.record.store import Store

async def main():
    path = Path(sys.argv[1])
    store = await Store.open(path)
    await store.append("s", notes(range(50)))
    if sys.argv[2] == "reader":
        with Reader(path) as reader:
            assert reader.last_seq("s") == 50
    else:
        path.read_bytes()
    print("read", flush=True)
    sys.stdin.readline()
    await store.append("s", notes(range(50, 60)))
    print("acknowledged", flush=True)
    sys.stdin.readline()

asyncio.run(main())
"""
LOOK = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
print(connection.execute("SELECT count(*) FROM events").fetchone()[0])
connection.close()
"""


def look(path: Path) -> str:
    """What any SQLite program counts that opens the record, reads it, and closes it again."""
    return python(LOOK, path).communicate(timeout=30)[0].strip()


def go_on(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.mark.parametrize("way", ["reader", "plain"])
def test_looking_with_another_program_costs_a_running_engine_nothing(path: Path, way: str) -> None:
    engine = python(ENGINE, path, way)
    assert line(engine) == "read"
    before = log_of(path).stat()
    assert look(path) == "50"
    assert log_of(path).exists() and os.path.samestat(log_of(path).stat(), before)
    go_on(engine)
    assert line(engine) == "acknowledged"
    engine.kill()
    engine.communicate()
    assert texts(path) == [event.text for event in notes(range(60))]


async def test_a_reader_leaves_the_locks_of_its_process_alone(path: Path) -> None:
    """Within one process, so that the writer's own hold is not what answers: only SQLite's locks are asked for."""
    store = await Store.open(path)
    await store.append("s", [note("note 0")])
    viewer = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    viewer.execute("SELECT count(*) FROM events").fetchone()
    locks = locked_by_this_process(path)
    assert locks
    Reader(path).close()
    assert locked_by_this_process(path) == locks
    viewer.close()
    await store.close()


def locked_by_this_process(path: Path) -> list[str]:
    """The POSIX locks of this process on the file, as the system lists them."""
    inode = f":{path.stat().st_ino}"
    found = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return sorted(
        " ".join(words[1:]) for words in found if "POSIX" in words and words[-3].endswith(inode) and _ours(words)
    )


def _ours(words: list[str]) -> bool:
    return str(os.getpid()) in words


async def test_what_is_written_after_the_log_was_removed_is_in_the_database(path: Path, tmp_path: Path) -> None:
    store = await Store.open(path)
    await store.append("s", [note("note 0")])
    log_of(path).unlink()
    await store.append("s", [note("note 1")])
    await store.append("s", [note("note 2")])
    # What a kill would leave.
    left = tmp_path / "left.db"
    shutil.copyfile(path, left)
    assert texts(left) == ["note 0", "note 1", "note 2"]
    await store.close()
    assert texts(path) == ["note 0", "note 1", "note 2"]


async def test_a_closed_store_leaves_the_file_to_others(path: Path) -> None:
    for number in range(3):
        store = await Store.open(path)
        await store.append("s", [note(f"note {number}")])
        await store.close()
        assert sorted(file.name for file in path.parent.iterdir()) == [".bilevel", "sessions.db"]
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode = DELETE").fetchone() == ("delete",)
    connection.close()
    assert len(texts(path)) == 3


# --- one writer -------------------------------------------------------------------------------------------------------
HOLD = """
import asyncio, sys
from pathlib import Path
from record_files import note
from engine.record.store import Store

async def main():
    store = await Store.open(Path(sys.argv[1]))
    await store.append("s", [note("theirs")])
    print("held", flush=True)
    sys.stdin.read()
    await store.close()

asyncio.run(main())
"""


@pytest.mark.parametrize("make", [os.symlink, os.link, None])
async def test_a_second_writer_is_refused_under_every_name_and_touches_nothing(
    path: Path, make: Callable[[Path, Path], None] | None
) -> None:
    other = path.with_name("alias.db") if make else path
    engine = python(HOLD, path)
    assert line(engine) == "held"
    if make:
        make(path, other)
    there = sorted(path.parent.iterdir())
    for opening in (Store.open(other), open_or_recover(other, pytest.fail)):
        with pytest.raises(RecordInUse, match="another engine writes the record"):
            await opening
    assert sorted(path.parent.iterdir()) == there
    assert end(engine) == 0
    store = await open_or_recover(path, pytest.fail)
    await store.close()
    assert texts(path) == ["theirs"]


async def test_one_record_is_one_under_a_link_s_name(path: Path) -> None:
    alias = path.with_name("alias.db")
    alias.symlink_to("sessions.db")
    store = await Store.open(alias)  # the link leads to nothing yet: the record is made where it leads
    await store.append("s", [note("note 0")])
    assert alias.is_symlink() and store.path == path
    assert store.wal_bytes > 0
    await store.close()
    assert texts(alias) == texts(path) == ["note 0"]


def test_a_link_in_a_circle_is_no_record_and_stays(path: Path) -> None:
    path.symlink_to(path.name)
    with pytest.raises(RecordError, match="Too many levels of symbolic links"):
        prepare(path)
    assert path.is_symlink()


# --- the file is gone -------------------------------------------------------------------------------------------------
async def test_a_record_that_was_moved_away_takes_nothing_until_it_is_back(path: Path) -> None:
    store = await Store.open(path)
    await store.append("s", [note("note 0")])
    elsewhere = path.with_name("elsewhere.db")
    move(path, elsewhere)
    for _ in range(2):
        with pytest.raises(RecordMissing, match=r"no longer at .*sessions.db: put it back"):
            await store.append("s", [note("note 1")])
    assert [file.name for file in path.parent.glob("*.db")] == ["elsewhere.db"]
    shutil.copyfile("/dev/null", path)
    with pytest.raises(RecordMissing, match=r"another file lies at .*sessions.db"):
        await store.append("s", [note("note 1")])
    move(elsewhere, path)
    assert [stamp.seq for stamp in await store.append("s", [note("note 1")])] == [2]
    await store.close()
    assert texts(path) == ["note 0", "note 1"]


async def test_a_record_that_was_deleted_is_saved_whole_and_the_engine_says_where(path: Path) -> None:
    store = await Store.open(path)
    await store.append("s", [created(), *notes(range(100))])
    remove(path)
    for _ in range(2):
        with pytest.raises(RecordMissing, match=rf"was deleted .* saved as .*kill {os.getpid()}.*rename that file"):
            await store.append("s", [note("never")])
    await store.close()
    move(saved_of(path), path)
    store = await open_or_recover(path, pytest.fail)
    await store.append("s", [note("after")])
    await store.close()
    assert texts(path) == [*(f"note {number}" for number in range(100)), "after"]


async def test_a_deleted_record_is_saved_as_soon_as_there_is_room_for_it(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "sessions.db"
    store = await Store.open(path)
    await store.append("s", [note("note 0")])
    shutil.rmtree(path.parent)
    path.parent.touch()
    with pytest.raises(RecordMissing, match=r"could not be saved yet: the backup .* cannot be written"):
        await store.append("s", [note("note 1")])
    remove(path.parent)
    with pytest.raises(RecordMissing, match="saved as"):
        await store.append("s", [note("note 1")])
    await store.close()
    assert texts(saved_of(path)) == ["note 0"]


def move(path: Path, to: Path) -> None:
    path.replace(to)


def remove(path: Path) -> None:
    path.unlink()


def saved_of(path: Path) -> Path:
    """The one file that the content of a deleted record was saved to."""
    (saved,) = path.parent.glob("sessions.db.saved-*")
    return saved
