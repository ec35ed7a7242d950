"""What a user is shown and told who may read a record and no more, or not even that."""

import os
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import told_sessions as told
from terminal import ROOT, Terminal, environment

from engine.record.lock import EngineLock

RIGHTS = "-dac_override,-dac_read_search,-fowner"
BOUND = ("setpriv", f"--bounding-set={RIGHTS}", f"--inh-caps={RIGHTS}") if os.geteuid() == 0 else ()
"""In front of a command: permissions hold for the superuser as well."""
PROGRAM = (
    "-c",
    f"import os, sys; line = [*{BOUND!r}, sys.executable, '-m', 'tui.cli', *sys.argv[1:]];os.execvp(line[0], line)",
)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    """The record of a finished session."""
    return told.write(tmp_path / "sessions.db", told.whole())


def bound(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Python with these words, for whom permissions hold."""
    command = [*BOUND, sys.executable, *words]
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, timeout=60)


def test_a_record_in_a_directory_that_is_read_only_is_shown_and_what_cannot_be_written_is_said(db: Path) -> None:
    db.parent.chmod(0o555)
    try:
        for words in (("attach", told.NAME), ("replay", told.NAME)):
            with Terminal(db.parent, *words, size=(120, 40), program=PROGRAM) as terminal:
                terminal.wait("1 Trials").keys("x").wait("cannot be").wait("Permission denied")
                assert terminal.keys("q").exit_code() == 0
        with Terminal(db.parent, size=(120, 40), program=PROGRAM) as terminal:
            terminal.wait("1 session ").wait("✓ finished")
            assert terminal.keys("q").exit_code() == 0
        for command in ("status", "sessions", "show", "tail"):
            found = bound(db.parent, "-m", "tui.cli", command)
            assert (found.returncode, found.stderr) == (0, "") and found.stdout
    finally:
        db.parent.chmod(0o755)


@pytest.mark.parametrize("live", [False, True])
def test_a_record_that_may_not_be_read_is_said_as_that_also_while_it_is_written(db: Path, live: bool) -> None:
    with closing(sqlite3.connect(db)) as writer:
        if live:
            writer.execute("PRAGMA user_version = 5")
            writer.execute("CREATE TABLE more (x)")
            writer.commit()
            assert db.with_name("sessions.db-wal").stat().st_size
        db.chmod(0)
        found = bound(db.parent, "-m", "tui.cli", "sessions")
        db.chmod(0o644)
    assert found.returncode == 1 and found.stderr.count("\n") == 1
    assert "check the permissions" in found.stderr and "wal" not in found.stderr


def test_the_engine_of_another_user_is_alive_and_takes_no_commands(db: Path) -> None:
    path = db.parent / "socket"
    with socket.socket(socket.AF_UNIX) as server, EngineLock(db) as lock:
        server.bind(str(path))
        server.listen()
        path.chmod(0)
        lock.acquire("s1", path)
        look = f"from pathlib import Path; from tui.engine_watch import look; print(look(Path({str(db)!r}), 's1'))"
        found = bound(ROOT, "-c", look)
        assert "state='answers'" in found.stdout, found.stderr
        assert "the engine of session s1 is another user's" in found.stdout and "kill" not in found.stdout
        asked = bound(db.parent, "-m", "tui.cli", "pause")
        assert asked.returncode == 2 and "takes commands from that one alone" in asked.stderr
