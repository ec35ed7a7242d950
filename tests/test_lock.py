"""One engine runs on a database: the lock tells who, and it ends with its holder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from record_files import end, line, python

from engine.errors import InputError
from engine.record.lock import EngineLock, holder, lock_path, lock_paths

HOLD = """
import sys
from pathlib import Path
from engine.record.lock import EngineLock
lock = EngineLock(Path(sys.argv[1]))
lock.acquire("quiet-otter", "/run/control.sock")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def test_a_second_engine_is_refused_and_told_who_runs(path: Path) -> None:
    process = python(HOLD, path)
    assert line(process) == "held"
    with pytest.raises(InputError) as refused:
        EngineLock(path).acquire("other", "")
    assert f"session quiet-otter is running on this database (process {process.pid})" in str(refused.value)
    assert "--db" in str(refused.value) and "`bilevel stop quiet-otter`" in str(refused.value)
    found = holder(path)
    assert found is not None
    assert (found.pid, found.session, found.socket) == (process.pid, "quiet-otter", "/run/control.sock")
    assert end(process) == 0
    with EngineLock(path) as lock:
        lock.acquire("other", "")


def test_a_killed_holder_holds_nothing_though_its_file_stays(path: Path) -> None:
    process = python(HOLD, path)
    assert line(process) == "held"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert lock_path(path).read_text() != ""
    assert holder(path) is None
    with EngineLock(path) as lock:
        lock.acquire("next", "socket")
        found = holder(path)
        assert found is not None and (found.pid, found.session) == (os.getpid(), "next")
    assert holder(path) is None


def test_nobody_holds_a_database_that_never_had_an_engine(path: Path) -> None:
    assert holder(path) is None
    assert not lock_path(path).exists()


def test_a_program_that_the_engine_started_does_not_keep_the_lock(path: Path) -> None:
    lock = EngineLock(path)
    lock.acquire("s", "")
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE, close_fds=False
    )
    try:
        lock.release()
        assert holder(path) is None
    finally:
        child.communicate()


def test_viewers_that_ask_do_not_keep_an_engine_from_starting(path: Path) -> None:
    with EngineLock(path) as lock:
        lock.acquire("first", "")
    viewer = python(
        "import sys, fcntl\n"
        "file = open(sys.argv[1])\n"
        "fcntl.flock(file, fcntl.LOCK_SH)\n"
        "print('asking', flush=True)\n"
        "sys.stdin.readline()\n",
        lock_path(path),
    )
    assert line(viewer) == "asking"
    assert holder(path) is None
    assert viewer.stdin is not None
    viewer.stdin.write("enough\n")
    viewer.stdin.flush()
    with EngineLock(path) as lock:
        lock.acquire("second", "")
    viewer.communicate()


def test_the_holder_may_write_itself_down_anew(path: Path) -> None:
    with EngineLock(path) as lock:
        lock.acquire("a session with a long name", "")
        lock.acquire("s", "socket")
        found = holder(path)
        assert found is not None and (found.session, found.socket) == ("s", "socket")


@pytest.mark.parametrize("removed", [0, 1])
def test_a_removed_lock_file_neither_lets_a_second_engine_in_nor_hides_the_first(path: Path, removed: int) -> None:
    process = python(HOLD, path)
    assert line(process) == "held"
    lock_paths(path)[removed].unlink()
    for _ in range(2):  # also once the file is there again
        with pytest.raises(InputError, match="session quiet-otter is running"):
            EngineLock(path).acquire("other", "")
        found = holder(path)
        assert found is not None and found.pid == process.pid
    assert end(process) == 0
    assert holder(path) is None
    with EngineLock(path) as lock:
        lock.acquire("other", "")


def test_a_link_to_a_database_has_its_lock(path: Path) -> None:
    folder = path.with_name("folder")
    folder.mkdir()
    alias = folder / "alias.db"
    alias.symlink_to(path)
    process = python(HOLD, alias)
    assert line(process) == "held"
    with pytest.raises(InputError, match="session quiet-otter is running"):
        EngineLock(path).acquire("other", "")
    assert holder(path) is not None and holder(path) == holder(alias)
    assert list(folder.iterdir()) == [alias]
    assert end(process) == 0
