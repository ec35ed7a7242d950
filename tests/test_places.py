"""Where a record may lie: read-only directories, names of any bytes, paths of any length; which file is blamed."""

import os
from pathlib import Path

import pytest
from record_files import note, notes, python, texts
from test_reader import public_directory

from engine.control.place import socket_path
from engine.errors import BilevelError, InputError
from engine.record.creation import LONGEST_COMPANION, prepare
from engine.record.reader import Reader
from engine.record.recovery import rolling_backup
from engine.record.schema import LONGEST_PATH, NotARecord
from engine.record.store import Store
from engine.tools.keeping import backup

BACK_UP_AS_NOBODY = """
import os, sys
from pathlib import Path
from engine.errors import BilevelError
from engine.tools.keeping import backup
if os.getuid() == 0:  # root may write to a read-only directory
    os.setgid(65534); os.setuid(65534)
try:
    print(backup(Path(sys.argv[1]), Path(sys.argv[2]), force=False) > 0)
except BilevelError as error:
    print(error)
"""


def back_up_as_nobody(path: Path, destination: Path) -> str:
    """What a backup prints by a user who may not write to the record's directory: that it was made, or why not."""
    path.parent.chmod(0o555)
    try:
        return python(BACK_UP_AS_NOBODY, path, destination).communicate(timeout=30)[0].strip()
    finally:
        path.parent.chmod(0o755)


async def test_a_record_in_a_read_only_directory_is_backed_up_and_errors_name_the_file_that_failed() -> None:
    with public_directory() as directory, public_directory() as free:
        free.chmod(0o777)
        store = await Store.open(directory / "sessions.db")
        await store.append("s", notes(range(3)))
        await store.close()
        assert back_up_as_nobody(store.path, free / "copy.db") == "True"
        assert texts(free / "copy.db") == ["note 0", "note 1", "note 2"]
        there = directory / "copy.db"
        assert back_up_as_nobody(store.path, there) == f"the backup {there} cannot be written: Permission denied"
        make_file(directory / "sessions.db-wal", b"left")
        said = back_up_as_nobody(store.path, free / "second.db")
        assert said.startswith(f"the last events of {store.path} lie in sessions.db-wal")


async def test_a_damaged_record_is_blamed_and_not_the_backup(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "sessions.db")
    await store.append("s", notes(range(500)))
    await store.close()
    data = store.path.stat().st_size
    os.truncate(store.path, data - 4096 * 5)
    with pytest.raises(BilevelError, match=rf"the record {store.path} is damaged"):
        backup(store.path, tmp_path / "copy.db", force=False)


@pytest.mark.parametrize("name", [b"gr\xfc\xdfe?%41#", "größe".encode()])
async def test_a_path_may_have_any_bytes(tmp_path: Path, name: bytes) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)) / "sessions.db"
    store = await Store.open(path)
    await store.append("s", [note("x")])
    await rolling_backup(store)
    await store.close()
    assert texts(path) == ["x"]
    assert socket_path(path, "s", {}).suffix == ".sock"
    make_file(path, b"no longer a database")
    with pytest.raises(NotARecord) as refused:
        Reader(path)
    assert str(refused.value).encode()  # so it can be printed and recorded


def test_a_path_that_is_too_long_is_said(tmp_path: Path) -> None:
    path = tmp_path
    while len(str(path)) < LONGEST_PATH:
        path /= "long" * 20
    for opening in (prepare, Reader):
        with pytest.raises(InputError, match=r"has \d+ bytes, more than the \d+ that SQLite has room for"):
            opening(path / "sessions.db")
        with pytest.raises(BilevelError, match="File name too long"):
            opening(tmp_path / ("x" * 300))


async def test_the_longest_path_that_is_taken_has_room_for_its_backup(tmp_path: Path) -> None:
    length = LONGEST_PATH - LONGEST_COMPANION
    folder = tmp_path / ("x" * 200)
    path = folder / ("x" * (length - len(str(folder)) - len("//sessions.db"))) / "sessions.db"
    assert len(str(path)) == length
    store = await Store.open(path)
    await store.append("s", [note("x")])
    assert texts(await rolling_backup(store)) == ["x"]
    await store.close()


def make_file(path: Path, data: bytes) -> None:
    path.write_bytes(data)
