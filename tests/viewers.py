"""The application over a recorded session, without a terminal: keys go in, and what it shows is read as text.

async with viewer(db, told.NAME, size=(80, 24)) as pilot:
    await press(pilot, "4", "r")
    assert "verdict" in text(pilot)
"""

import asyncio
import sqlite3
import zlib
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import told_sessions as told
from textual.pilot import Pilot
from textual.widgets._toast import Toast

from engine.record import events as ev
from engine.record.creation import prepare
from engine.record.schema import GENESIS, blob_hash, chain_hash
from tui.app import BilevelApp
from tui.screens.session import SessionScreen

BEGAN = 1_795_000_000.0
"""Unix time of the first event of a session that `write_at` writes."""


@asynccontextmanager
async def viewer(
    db: Path, session: str | None = told.NAME, *, size: tuple[int, int] = (120, 40), fails: bool = False, **how: Any
) -> AsyncIterator[Pilot[str]]:
    """The application on a screen of this size, once it rests. Only where it `fails` may a part of it have failed."""
    app = BilevelApp(db, session, **how)
    async with app.run_test(size=size) as pilot:
        if session is not None:
            await again(pilot)
        yield pilot
        assert fails or not app._failures, app._failures


def screen_of(pilot: Pilot[str]) -> SessionScreen:
    """The screen of the session, whatever lies over it."""
    return next(screen for screen in pilot.app.screen_stack if isinstance(screen, SessionScreen))


async def again(pilot: Pilot[str]) -> None:
    """As the clock of the screen does four times a second; twice, for what is shown may change the layout."""
    for _ in range(2):
        screen_of(pilot)._tick()
        await pilot.pause()


async def press(pilot: Pilot[str], *keys: str) -> None:
    """Press keys, and wait until what they do is shown."""
    await pilot.press(*keys)
    await pilot.app.workers.wait_for_complete()
    await pilot.pause()


def lines(pilot: Pilot[str]) -> list[str]:
    """The screen line by line, without blanks at the ends."""
    screen = pilot.app.screen
    return [strip.text.rstrip() for strip in screen._compositor.render_strips()]


def text(pilot: Pilot[str]) -> str:
    """The screen as one text."""
    return "\n".join(lines(pilot))


def said(pilot: Pilot[str]) -> str:
    """What the application has told the person so far that is still shown."""
    return "\n".join(f"{note.title}: {note.message}" for note in pilot.app._notifications)


def quiet(pilot: Pilot[str]) -> None:
    """Take away what was said."""
    pilot.app.clear_notifications()
    assert not pilot.app.screen.query(Toast)


async def written(db: Path, events: Sequence[ev.Event], name: str = told.NAME) -> Path:
    """Append events to a record, beside this loop; the database's path."""
    with ThreadPoolExecutor(1) as other:
        return await asyncio.get_running_loop().run_in_executor(other, told.write, db, events, name)


def write_at(
    db: Path,
    events: Sequence[ev.Event],
    blobs: Sequence[bytes] = (),
    *,
    every: float = 7.0,
    name: str = told.NAME,
    began: float = BEGAN,
) -> Path:
    """Write a session into a record, its events `every` so many seconds from `began` on: the same each time."""
    if not db.exists():
        hold, _ = prepare(db)
        hold.close()
    digest = GENESIS
    with closing(sqlite3.connect(db)) as connection, connection:
        for seq, event in enumerate(events, 1):
            kind, body, time = ev.kind_of(event), ev.encode(event).decode(), began + every * (seq - 1)
            digest = chain_hash(digest, name, seq, time, kind, ev.SCHEMA, body)
            row = (name, seq, time, kind, body, ev.SCHEMA, digest)
            connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        connection.executemany("INSERT OR IGNORE INTO blobs VALUES (?, ?, ?)", map(_blob, blobs))
    return db


def _blob(data: bytes) -> tuple[str, int, bytes]:
    return blob_hash(data), len(data), zlib.compress(data)
