"""The list of sessions: read by a thread, kept up to date, and never older than the record."""

from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
import told_sessions as told
from fast_sessions import until

from engine.record.lock import EngineLock
from engine.record.store import Store
from tui.listing import Listing

OTHER = "20261122-0000-late-owl"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """A record of a finished session, open for writing."""
    store = await Store.open(tmp_path / "sessions.db")
    await store.append(told.NAME, told.whole())
    yield store
    await store.close()


async def test_a_session_is_summarized_and_found_by_what_was_written_in_it(tmp_path: Path, store: Store) -> None:
    with closing(Listing(tmp_path / "sessions.db")) as listing:
        await until(lambda: listing.read == 1)
        (entry,) = listing.entries
        known = entry.summary
        assert known is not None
        assert (entry.state, known.done, known.of, known.best, known.confirmed) == ("finished", 7, 7, 2.61, -1.38)
        assert known.gain == pytest.approx(-1.3867, abs=1e-4)
        assert entry.has(["tabu", "stand-in", "otter", "finished", "toy"])
        assert not entry.has(["tabu", "owl"])


async def test_what_grows_is_read_on_and_what_begins_comes_first(tmp_path: Path, store: Store) -> None:
    db = tmp_path / "sessions.db"
    with closing(Listing(db)) as listing, EngineLock(db) as lock:
        await store.append(OTHER, [told.created(OTHER), *told.beginning()[1:], *told.trials()[:2]])
        lock.acquire(OTHER, db.with_name("none.sock"))
        await until(lambda: listing.read == 2 and listing.entries[0].alive)
        assert [(entry.id, entry.state) for entry in listing.entries] == [(OTHER, "running"), (told.NAME, "finished")]
        await store.append(OTHER, told.trials()[2:6])
        await until(
            lambda: (found := listing.entries[0].summary) is not None and found.done == 3 and found.best == 2.61
        )
        lock.release()
        await until(lambda: listing.entries[0].state == "interrupted")


async def test_a_record_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    with closing(Listing(tmp_path / "sessions.db")) as listing:
        await until(lambda: listing.listed)
        assert "there is no record at" in listing.trouble
        store = await Store.open(tmp_path / "sessions.db")
        await store.append(told.NAME, told.whole())
        await store.close()
        await until(lambda: listing.read == 1)
        assert listing.trouble == ""


async def test_a_record_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    for name, session in (("sessions.db", told.NAME), ("other.db", OTHER)):
        store = await Store.open(tmp_path / name)
        await store.append(session, [told.created(session), *told.whole()[1:]])
        await store.close()
    with closing(Listing(tmp_path / "sessions.db")) as listing:
        await until(lambda: listing.read == 1)
        (tmp_path / "other.db").replace(tmp_path / "sessions.db")
        await until(lambda: [entry.id for entry in listing.entries if entry.summary] == [OTHER])
