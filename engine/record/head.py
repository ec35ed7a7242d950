"""The last acknowledged event, noted in a small file outside the database.

A database whose WAL was deleted opens without complaint and merely lacks its last events. The note tells: it names the
newest event that the writer acknowledged, and it is written only after the commit, so an event that it names and that
the database lacks was lost. The note is an aid: it is not synced, an older one is still true, and without one only this
loss goes unnoticed.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path

WIDTH = 512
"""The note is padded to one length, so that a single write replaces it."""


@dataclass(frozen=True)
class Head:
    """An acknowledged event: the database's identity, the session, the event's number and its hash in hex."""

    identity: str
    session: str
    seq: int
    hash: str


def located(path: Path) -> Path:
    """The absolute path of the database itself, links followed: under each of its names one record is one."""
    return Path(os.path.realpath(path))


def run_directory(path: Path) -> Path:
    """Where run-time files of the database lie: `.bilevel` beside it."""
    return located(path).parent / ".bilevel"


def head_path(path: Path) -> Path:
    """The note that belongs to the database at `path`."""
    return run_directory(path) / f"{located(path).name}.head"


def write_head(target: Path, head: Head) -> None:
    """Replace the note at `target`, which `head_path` names. Raises OSError."""
    target.parent.mkdir(exist_ok=True)
    text = json.dumps([head.identity, head.session, head.seq, head.hash]).encode()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT, 0o644)
    try:
        os.pwrite(descriptor, text.ljust(WIDTH), 0)
    finally:
        os.close(descriptor)


def read_head(path: Path) -> Head | None:
    """The note, or None where there is none or it is unreadable."""
    try:
        identity, session, seq, digest = json.loads(head_path(path).read_bytes())
    except (OSError, ValueError, TypeError):
        return None
    return Head(str(identity), str(session), int(seq), str(digest))


def clear_head(path: Path) -> None:
    """Forget the note, because the event that it names was removed on purpose or given up."""
    head_path(path).unlink(missing_ok=True)
