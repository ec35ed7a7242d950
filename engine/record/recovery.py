"""Finding damage in sessions.db before the engine writes to it, and going back to the newest backup.

Nothing is ever overwritten: a damaged database is moved aside together with its WAL and shared-memory files, under a
name with the time, and the backup is copied into its place. What is checked: the header, SQLite's structure, the hash
chains of the newest sessions (a flipped bit passes SQLite's own check), and that the last acknowledged event is there
(a deleted WAL leaves a database that looks sound). Not checked here: the content of blobs, whose hash is compared when
they are read, and elder sessions, for which there is `Reader.verify`.

A file that gives no sign of having been a record of ours is left alone, and the person is told.
"""

import asyncio
import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.record.head import Head, clear_head, located, read_head, run_directory
from engine.record.hold import Hold
from engine.record.reader import Reader
from engine.record.schema import NotARecord, RecordBroken, RecordError, beside, has_header, printable, replace_durably
from engine.record.store import Store

CHECKED_SESSIONS = 3
"""How many of the newest sessions have their chain verified when the record is opened."""
PARTS = ("", "-wal", "-shm")
"""What a database consists of on the disk; parts of two databases must never meet."""


@dataclass(frozen=True)
class Damage:
    """What is wrong, in a sentence. `sound`: what is there can be used, but acknowledged events are missing from it."""

    reason: str
    sound: bool = False


def backup_path(path: Path) -> Path:
    """Where the rolling backup of the database at `path` lies."""
    return run_directory(path) / f"{located(path).name}.backup"


async def rolling_backup(store: Store) -> Path:
    """Renew the backup that recovery restores, and return its path. The engine calls it every so often.

    The copy is checked before it replaces the elder one, so that damage never reaches the backup: then RecordBroken is
    raised and the elder backup stays. Takes time with the size of the record, during which writes wait.
    """
    target = backup_path(store.path)
    candidate = beside(target, ".candidate")
    await store.backup(candidate)
    damage = await asyncio.to_thread(find_damage, candidate)
    if damage:
        await asyncio.to_thread(candidate.unlink)
        raise RecordBroken(f"the backup was not renewed, because the record is damaged: {damage.reason}")
    await asyncio.to_thread(replace_durably, candidate, target)
    return target


async def open_or_recover(path: Path, emit_note: Callable[[str], None]) -> Store:
    """Open the record for writing, repairing what can be repaired; `emit_note` gets a sentence on each thing done.

    Call it with the engine's lock held, and before this process has the record open. Raises RecordError where a person
    has to decide: another program's file, a newer version's, one that never was a record, one that is in use.
    """
    await asyncio.to_thread(_repair, located(path), lambda text: emit_note(printable(text)))
    return await Store.open(path)


def find_damage(path: Path, head: Head | None = None) -> Damage | None:
    """What is wrong with the existing record at `path`; `head` is the last acknowledged event, if it is known. Blocks.

    Raises NotARecord for another program's database, RecordError for what is no damage: permissions, a newer version.
    """
    try:
        with Reader(path) as reader:
            reader.check_pages()
            for session in reader.sessions()[:CHECKED_SESSIONS]:
                reader.verify(session.id)
            if head is None or head.identity != reader.identity():
                return None
            if reader.event_hash(head.session, head.seq) == head.hash:
                return None
            last = reader.last_seq(head.session)
    except RecordBroken as error:
        return Damage(str(error))
    lost = f"events {last + 1} to {head.seq}" if last < head.seq else f"event {head.seq}"
    return Damage(
        f"the record {path} lacks {lost} of {head.session}, which had been recorded (its -wal file is gone)",
        sound=True,
    )


def _repair(path: Path, emit_note: Callable[[str], None]) -> None:
    # What another writer has open, by a name that the engine's lock does not know, is not to be judged or moved.
    with contextlib.closing(Hold(path)) if path.is_file() else contextlib.nullcontext():
        _repair_unused(path, emit_note)


def _repair_unused(path: Path, emit_note: Callable[[str], None]) -> None:
    head = read_head(path)
    damage = _diagnose(path, head)
    if damage is None:
        return
    backup = _usable_backup(path, damage, head)
    if damage.sound and backup is None:
        clear_head(path)
        emit_note(f"{damage.reason}; there is no backup that reaches further, so the record goes on without them")
        return
    try:
        emit_note(f"{damage.reason}; {_go_back(path, backup)}")
    except OSError as error:
        raise RecordError(f"{damage.reason}; it could not be replaced by its backup: {error}") from error


def _go_back(path: Path, backup: Path | None) -> str:
    """Move the database aside and put the backup in its place; returns what was done, for the note."""
    restored = beside(path, ".restored")
    if backup:
        # First the copy, which may fail for want of room, then the renames, which do not.
        shutil.copyfile(backup, restored)
    aside = _move_aside(path)
    clear_head(path)
    if backup is None:
        return f"it was moved aside to {aside}, and a new record was begun, because there is no usable backup"
    replace_durably(restored, path)
    made = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(backup.stat().st_mtime))
    return f"it was moved aside to {aside}, and the backup of {made} was restored: later events are not in the record"


def _diagnose(path: Path, head: Head | None) -> Damage | None:
    if not path.exists():
        wal = beside(path, "-wal")
        stray = wal.exists() and wal.stat().st_size > 0
        return Damage(f"the record {path} is gone, but its {wal.name} was left behind") if stray else None
    try:
        if path.is_file() and path.stat().st_size and not has_header(path):
            # Said here, since SQLite looks for the first page in the WAL before it looks into the file.
            raise NotARecord(f"{path} is not a database: name another with --db, or restore this one from a backup")
        return find_damage(path, head)
    except NotARecord:
        # With a note of our own beside it, this was a record, and its header is what was damaged.
        if _is_foreign(path) or (head is None and not backup_path(path).exists()):
            raise
        return Damage(f"the record {path} is damaged: its header is not a database's")


def _is_foreign(path: Path) -> bool:
    # A directory or a device is nothing that damage could have made of a record.
    return not path.is_file() or has_header(path)


def _usable_backup(path: Path, damage: Damage, head: Head | None) -> Path | None:
    """The rolling backup, if it is whole and, beside a database that is sound, reaches further."""
    backup = backup_path(path)
    try:
        if not backup.exists() or find_damage(backup):
            return None
        if damage.sound and head:
            with Reader(backup) as copy, Reader(path) as record:
                further = copy.last_seq(head.session) > record.last_seq(head.session)
                return backup if further and copy.identity() == record.identity() else None
    except RecordError:
        return None
    return backup


def _move_aside(path: Path) -> str:
    """Rename the database and what belongs to it, together, to a name that is free; return the name."""
    base = name = f"{path.name}.broken-{time.strftime('%Y%m%d-%H%M%S')}"
    number = 1
    while any(path.with_name(name + part).exists() for part in PARTS):
        number += 1
        name = f"{base}-{number}"
    for part in PARTS:
        if (file := beside(path, part)).exists():
            file.rename(path.with_name(name + part))
    return name
