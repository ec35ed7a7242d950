"""Reading a record: the listing, names, what is no record, and directories that a viewer may not write to."""

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from record_files import content, created, note, notes, python

from engine.errors import InputError
from engine.record.reader import Reader
from engine.record.schema import APPLICATION_ID, MIGRATIONS
from engine.record.store import NotARecord, RecordBroken, RecordError, Store


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


async def test_the_listing_is_newest_first_and_names_resolve(path: Path) -> None:
    store = await Store.open(path)
    with Reader(path) as reader, pytest.raises(InputError, match="no session yet"):
        reader.resolve("last")
    for session in ("2026-otter", "2026-owl", "2027-fox"):
        await store.append(session, [created(session), note("x")])
    with Reader(path) as reader:
        assert [(row.id, row.events) for row in reader.sessions()] == [
            ("2027-fox", 2),
            ("2026-owl", 2),
            ("2026-otter", 2),
        ]
        assert all(row.created <= row.last for row in reader.sessions())
        assert [reader.resolve(name) for name in ("last", "2026-ot", "2026-owl")] == [
            "2027-fox",
            "2026-otter",
            "2026-owl",
        ]
        with pytest.raises(InputError, match="2026-owl, 2026-otter"):
            reader.resolve("2026")
        with pytest.raises(InputError, match='no session begins with "x"; there are 2027-fox, 2026-owl'):
            reader.resolve("x")
    await store.close()


async def test_a_reader_sees_what_comes_while_it_is_open(path: Path) -> None:
    store = await Store.open(path)
    await store.append("s", [note("one")])
    with Reader(path) as reader:
        before = reader.data_version()
        assert reader.data_version() == before
        await store.append("s", [note("two")])
        assert reader.data_version() != before
        assert [row.event.text for row in reader.events("s", after=1)] == ["two"]
    await store.close()


@pytest.mark.parametrize(
    ("make", "error", "sentence"),
    [
        (lambda path: path.write_text("once upon a time"), NotARecord, "not a database"),
        (lambda path: path.touch(), RecordBroken, "is empty"),
        (lambda path: path.mkdir(), NotARecord, "not a file"),
        (lambda path: alter(path, "CREATE TABLE t (a)"), NotARecord, "another program"),
        (
            lambda path: alter(
                path, f"PRAGMA application_id={APPLICATION_ID}; PRAGMA user_version={len(MIGRATIONS) + 1}"
            ),
            RecordError,
            "newer version",
        ),
    ],
)
async def test_what_is_no_record_is_refused_in_one_sentence_and_not_touched(
    path: Path, make: Callable[[Path], object], error: type[RecordError], sentence: str
) -> None:
    make(path)
    before = content(path)
    with pytest.raises(error, match=sentence):
        await Store.open(path)
    with pytest.raises(error, match=sentence):
        Reader(path)
    assert content(path) == before


def test_a_reader_of_nothing_says_how_a_record_comes_about(path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no record at .*bilevel run"):
        Reader(path)
    assert not path.exists()


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
from engine.record.reader import Reader
from engine.errors import BilevelError
if os.getuid() == 0:  # root may write to a read-only directory
    os.setgid(65534); os.setuid(65534)
try:
    with Reader(Path(sys.argv[1])) as reader:
        print(reader.verify("s"))
except BilevelError as error:
    print(error)
"""


def read_as_nobody(path: Path) -> str:
    """What a reader without the right to write to the record's directory prints: the events verified, or why not."""
    path.parent.chmod(0o555)
    try:
        return python(READ_AS_NOBODY, path).communicate(timeout=30)[0]
    finally:
        path.parent.chmod(0o755)


@contextlib.contextmanager
def public_directory() -> Iterator[Path]:
    """A directory that other users can enter, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


async def test_a_read_only_directory_is_read_or_the_reason_is_said() -> None:
    with public_directory() as directory, public_directory() as torn:
        store = await Store.open(directory / "sessions.db")
        await store.append("s", notes(range(3)))
        await store.close()
        assert read_as_nobody(store.path) == "3\n"

        store = await Store.open(store.path)
        await store.append("s", notes(range(3)))
        assert read_as_nobody(store.path) == "6\n"

        for name in ("sessions.db", "sessions.db-wal"):
            shutil.copy(directory / name, torn / name)
        assert "copy both files to a writable one" in read_as_nobody(torn / "sessions.db")
        await store.close()


def alter(path: Path, script: str) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(script)
    connection.close()
