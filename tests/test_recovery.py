"""Damage to the record: each kind is found, what was there is moved aside whole, and the backup comes back."""

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from record_files import content, created, line, note, notes, python, texts

from engine.errors import BilevelError, InputError
from engine.record.head import head_path
from engine.record.reader import Reader
from engine.record.recovery import backup_path, find_damage, open_or_recover, rolling_backup
from engine.record.schema import NotARecord, RecordBroken, RecordError
from engine.record.store import Store

BACKED_UP = [f"note {number}" for number in range(200)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


async def make(path: Path, backup: bool = True) -> None:
    """A record of 200 notes, of which a backup was made, and 50 more, closed in good order."""
    store = await Store.open(path)
    await store.append("s", [created(), *notes(range(200))], [random.Random(1).randbytes(30_000)])
    if backup:
        await rolling_backup(store)
    await store.append("s", notes(range(200, 250)))
    await store.close()


async def recover(path: Path) -> list[str]:
    """Open the record as the engine does, write one note, and return what the person was told."""
    said: list[str] = []
    store = await open_or_recover(path, said.append)
    await store.append("s", [note("after")])
    await store.close()
    return said


def aside(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.broken-*"))


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def header_garbage(path: Path) -> None:
    overwrite(path, 0, random.Random(2).randbytes(100))


def page_garbage(path: Path) -> None:
    overwrite(path, 3 * 4096, random.Random(3).randbytes(4096))


def truncated(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def empty(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(0)


def bit_flip(path: Path) -> None:
    """One bit in the text of an event, which SQLite's own check passes."""
    offset = path.read_bytes().index(b"note 123")
    overwrite(path, offset, b"o")


DAMAGES = [header_garbage, page_garbage, truncated, empty, bit_flip]


async def test_a_sound_record_is_opened_as_it_is(path: Path) -> None:
    await make(path)
    assert await recover(path) == []
    assert texts(path) == [*BACKED_UP, *(f"note {number}" for number in range(200, 250)), "after"]
    assert aside(path) == []


async def test_a_missing_record_is_created_though_there_is_a_backup_of_an_elder(path: Path) -> None:
    await make(path)
    remove(path)
    assert await recover(path) == []
    assert texts(path) == ["after"]


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_is_found_moved_aside_and_the_backup_restored(path: Path, damage: Callable[[Path], None]) -> None:
    await make(path)
    damage(path)
    broken = content(path)
    said = await recover(path)
    assert len(said) == 1
    assert "was moved aside to sessions.db.broken-" in said[0] and "the backup of" in said[0]
    assert texts(path) == [*BACKED_UP, "after"]
    assert [content(file) for file in aside(path) if not file.name.endswith(("-wal", "-shm"))] == [broken]
    assert await recover(path) == []


@pytest.mark.parametrize("damage", DAMAGES)
async def test_damage_without_a_backup_begins_a_new_record_and_keeps_the_old(
    path: Path, damage: Callable[[Path], None]
) -> None:
    await make(path, backup=False)
    damage(path)
    broken = content(path)
    said = await recover(path)
    assert len(said) == 1 and "a new record was begun" in said[0]
    assert texts(path) == ["after"]
    assert broken in [content(file) for file in aside(path)]


async def test_a_damaged_backup_is_not_restored(path: Path) -> None:
    await make(path)
    bit_flip(backup_path(path))
    page_garbage(path)
    said = await recover(path)
    assert "there is no usable backup" in said[0]
    assert texts(path) == ["after"]


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from record_files import notes
from engine.record.store import Store

async def main():
    store = await Store.open(Path(sys.argv[1]))
    await store.append("s", notes(range(250, 300)))
    print("acknowledged", flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def write_and_die(path: Path) -> None:
    """Another 50 acknowledged notes by a process that is then killed, so that they lie in the WAL."""
    process = python(KILLED, path)
    assert line(process) == "acknowledged"
    process.communicate()
    assert path.with_name("sessions.db-wal").stat().st_size > 0


async def test_a_killed_engine_leaves_no_damage(path: Path) -> None:
    await make(path)
    write_and_die(path)
    assert await recover(path) == []
    assert len(texts(path)) == 301


async def test_a_missing_wal_is_said_and_the_record_kept_where_it_reaches_further(path: Path) -> None:
    await make(path)
    write_and_die(path)
    path.with_name("sessions.db-wal").unlink()
    said = await recover(path)
    assert "lacks events 252 to 301 of s" in said[0] and "no backup that reaches further" in said[0]
    assert len(texts(path)) == 251
    assert await recover(path) == []


async def test_a_missing_wal_is_made_up_for_by_a_backup_that_reaches_further(path: Path) -> None:
    store = await Store.open(path)
    await store.append("s", [created(), *notes(range(100))])
    await store.checkpoint()
    short = content(path)
    await store.append("s", notes(range(100, 200)))
    await rolling_backup(store)
    await store.append("s", notes(range(200, 210)))
    await store.close()
    replace(path, short)
    said = await recover(path)
    assert "lacks events 102 to 211 of s" in said[0] and "was moved aside to" in said[0]
    assert texts(path) == [*BACKED_UP, "after"]
    assert content(aside(path)[0]) == short


async def test_a_damaged_database_is_moved_aside_with_its_wal(path: Path) -> None:
    await make(path)
    write_and_die(path)
    wal = content(path.with_name("sessions.db-wal"))
    header_garbage(path)
    await recover(path)
    assert texts(path) == [*BACKED_UP, "after"]
    assert [content(file) for file in aside(path) if file.name.endswith("-wal")] == [wal]


async def test_a_wal_that_was_left_behind_is_not_taken_for_a_new_record_s(path: Path) -> None:
    await make(path, backup=False)
    write_and_die(path)
    remove(path)
    with pytest.raises(RecordBroken, match="is gone"):
        await Store.open(path)
    said = await recover(path)
    assert "was left behind" in said[0]
    assert texts(path) == ["after"]


async def test_earlier_pieces_are_never_overwritten(path: Path) -> None:
    await make(path)
    for _ in range(3):
        header_garbage(path)
        await recover(path)
    assert len([file for file in aside(path) if not file.name.endswith(("-wal", "-shm"))]) == 3


async def test_what_never_was_a_record_of_ours_is_left_alone(path: Path) -> None:
    foreign = sqlite3.connect(path)
    foreign.execute("CREATE TABLE theirs (a)")
    foreign.close()
    notes_file = path.with_name("notes.txt")
    notes_file.write_text("milk, bread")
    for file in (path, notes_file):
        before = content(file)
        with pytest.raises(NotARecord):
            await open_or_recover(file, lambda _: None)
        assert content(file) == before
    with pytest.raises(InputError):
        await open_or_recover(path.parent, lambda _: None)


async def test_another_record_that_a_person_put_there_is_accepted(path: Path, tmp_path: Path) -> None:
    await make(path)
    other = tmp_path / "other" / "sessions.db"
    store = await Store.open(other)
    await store.append("s", notes(range(3)))
    await store.close()
    shutil.copy(other, path)
    assert await recover(path) == []
    assert texts(path) == ["note 0", "note 1", "note 2", "after"]


async def test_the_session_that_was_last_written_may_be_deleted(path: Path) -> None:
    await make(path)
    store = await Store.open(path)
    await store.delete_session("s")
    await store.close()
    assert await recover(path) == []


async def test_damage_never_reaches_the_backup(path: Path) -> None:
    await make(path)
    bit_flip(path)
    before = content(backup_path(path))
    store = await Store.open(path)
    with pytest.raises(RecordBroken, match="event 125 of s"):
        await rolling_backup(store)
    await store.close()
    assert content(backup_path(path)) == before
    assert [file.name for file in backup_path(path).parent.iterdir()] == [head_path(path).name, backup_path(path).name]


def mutate(path: Path, pristine: bytes, count: int) -> None:
    """Flip one bit at random places: the record is called damaged, or it still gives every event as it was written."""
    places = random.Random(34)
    for _ in range(count):
        data = bytearray(pristine)
        data[places.randrange(len(data))] ^= 1 << places.randrange(8)
        path.write_bytes(data)
        try:
            found = find_damage(path)
        except RecordError as error:
            # As far as can be told the file is another's: that is said, and it is not touched.
            assert isinstance(error, NotARecord) or "newer version" in str(error)
            continue
        if found is None:
            with Reader(path) as reader:
                assert [str(row.event) for row in reader.events("s")] == [
                    str(event) for event in [created(), *notes(range(250))]
                ]


async def test_a_flipped_bit_anywhere_is_found_or_harms_no_event(path: Path) -> None:
    await make(path, backup=False)
    mutate(path, content(path), 60)


@pytest.mark.long
async def test_many_flipped_bits_are_found_or_harm_no_event(path: Path) -> None:
    await make(path, backup=False)
    mutate(path, content(path), 3000)


async def test_a_full_disk_while_restoring_leaves_everything_in_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make(path)
    page_garbage(path)
    broken = content(path)

    def no_room(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copyfile", no_room)
    with pytest.raises(BilevelError, match="No space left"):
        await recover(path)
    assert content(path) == broken
    monkeypatch.undo()
    await recover(path)
    assert texts(path) == [*BACKED_UP, "after"]
