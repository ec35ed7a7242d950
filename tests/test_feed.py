"""The record as the application sees it: live equals replay, at every event, whatever the events are."""

import asyncio
import itertools
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import plan, run_session, write_target
from hypothesis import given, settings
from hypothesis import strategies as st
from told_sessions import HASH, NAME, SOURCE, beginning, created, ending, mechanism, run, trials, whole, write

import tui.feed
from engine.errors import InputError
from engine.record import events as ev
from engine.record.reader import Reader
from engine.record.schema import MIGRATIONS, RecordError, blob_hash
from engine.record.seeking import advance, copied
from engine.record.store import Store
from engine.record.view import Mechanism, Research, RunningTrial, View, fold
from engine.search.trials import History
from engine.tools.bench_record import SESSION, write_session
from tui.feed import Feed


def fields(value: Any) -> Any:
    """All that a view holds, in plain containers that compare by value; the order within a dict counts."""
    if isinstance(value, View | History | RunningTrial | Mechanism | Research):
        return (type(value).__name__, *((name, fields(part)) for name, part in vars(value).items()))
    if isinstance(value, dict):
        return [(key, fields(part)) for key, part in value.items()]
    if isinstance(value, list):
        return [fields(part) for part in value]
    return value


def told(view: View) -> Any:
    return [fields(view), view.active_seconds]


def folded(db: Path, session: str, upto: int) -> View:
    """The view as the engine folds it: every event, one after the other."""
    with Reader(db) as reader:
        return fold((row.seq, row.time, row.event) for row in reader.events(session, upto=upto))


def append(db: Path, *events: ev.Event, session: str = NAME) -> None:
    write(db, events, session)


def progress(step: int, run: str = "trial-1", offset: int = 0) -> ev.TrialProgress:
    return ev.TrialProgress(run=run, attempt=1, step=step, offset=offset or 100 * step, loss=5.0 - step)


def activity(level: ev.Level, text: str = "") -> ev.LevelActivity:
    return ev.LevelActivity(level=level, activity=text)


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return write(tmp_path / "sessions.db", whole())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A session of eleven trials that really ran, with all three levels."""
    folder = tmp_path_factory.mktemp("recorded")
    target = write_target(folder / "target", seconds=0.6, crashes=8000)
    view = asyncio.run(run_session(folder / "sessions.db", plan(target, trials=11, confirm=False)))
    assert view.status == "finished"
    yield folder / "sessions.db"


# --- live equals replay -----------------------------------------------------------------------------------------------
def test_the_view_at_every_event_of_a_session_that_ran_is_what_the_engine_folded(recorded: Path) -> None:
    with Reader(recorded) as reader:
        kinds = {row.kind for row in reader.events("s1")}
        assert {"trial_progress", "level_activity", "research_started"} <= kinds
        live, expected = View(), []
        for row in reader.events("s1"):
            fold([(row.seq, row.time, row.event)], live)
            expected.append(told(live))
    feed = Feed(recorded, "s1")
    assert told(feed.view) == expected[-1]
    for seq in [*range(feed.head, 0, -1), *range(1, feed.head + 1, 3), *range(feed.head, 0, -7)]:
        feed.seek(seq)
        assert feed.position == feed.view.seq == seq
        assert told(feed.view) == expected[seq - 1]
    assert feed.trouble == ""
    feed.close()


@st.composite
def sessions(draw: st.DrawFn) -> list[ev.Event]:
    """The told session with progress, activity, engines that start, stops, pauses, lost attempts strewn in anywhere."""
    levels: Any = st.sampled_from(["1", "1.5", "2"])
    strewn = st.one_of(
        st.builds(progress, st.integers(0, 9), st.sampled_from(["baseline-1", "trial-1", "trial-3", "trial-6", "no"])),
        st.builds(activity, levels, st.sampled_from(["", "asks", "waits"])),
        st.just(ev.EngineStarted(pid=2, boot_id="b", sandbox="A", resumed=True)),
        st.just(ev.CommandApplied(command="stop", detail="it ends after trial-1")),
        st.builds(lambda status: ev.StateChanged(status=status), st.sampled_from(["paused", "running"])),
        st.builds(lambda run: ev.TrialLost(run=run, attempt=1, reason="gone"), st.sampled_from(["trial-1", "trial-3"])),
    )
    events: list[ev.Event] = []
    for event in whole():
        events += [event, *draw(st.lists(strewn, max_size=3))]
    return events


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_live_equals_replay_whatever_lies_between_the_events(data: st.DataObject) -> None:
    events = data.draw(sessions())
    # The clock may be set back; a recorded time is any time.
    gaps = data.draw(st.lists(st.integers(-5, 90), min_size=len(events), max_size=len(events)))
    times = [1000.0 + total / 7 for total in itertools.accumulate(gaps)]
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(tui.feed, "KEYFRAME_EVENTS", 9)
        db = Path(folder) / "sessions.db"
        cuts = sorted(data.draw(st.sets(st.integers(1, len(events) - 1), max_size=4)))
        pieces = list(itertools.pairwise([0, *cuts, len(events)]))
        write_timed(db, events[: pieces[0][1]], times)
        live = Feed(db, NAME)
        for begin, end in pieces[1:]:
            write_timed(db, events[begin:end], times[begin:])
            assert live.poll() and live.position == live.head == end
        for seq in data.draw(st.lists(st.integers(1, len(events)), min_size=1, max_size=8)):
            expected = told(folded(db, NAME, seq))
            live.seek(seq)
            assert told(live.view) == expected
            with Feed(db, NAME) as other:
                other.seek(seq)
                assert told(other.view) == expected
        live.follow()
        assert told(live.view) == told(folded(db, NAME, len(events)))
        live.close()


def write_timed(db: Path, events: list[ev.Event], times: list[float]) -> None:
    """Append the events with these times."""
    write(db, events)
    with sqlite3.connect(db) as connection:
        last = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
        first = last - len(events) + 1
        stamped = [(time, first + index) for index, time in enumerate(times[: len(events)])]
        connection.executemany("UPDATE events SET time = ? WHERE seq = ?", stamped)
    connection.close()


def test_folding_on_leaves_a_copy_as_it_was(db: Path) -> None:
    events = list(enumerate(whole(), 1))
    for cut in range(1, len(events)):
        view = fold((seq, 1000.0 + seq, event) for seq, event in events[:cut])
        kept = copied(view)
        assert told(kept) == told(view)
        before = told(kept)
        fold(((seq, 1000.0 + seq, event) for seq, event in events[cut:]), view)
        assert told(kept) == before


def test_a_record_of_an_elder_version_is_seen_the_same(tmp_path: Path) -> None:
    events = [*beginning(), activity("1", "asks"), activity("2", "thinks"), activity("1", ""), *trials()]
    db = write(tmp_path / "sessions.db", events)
    with sqlite3.connect(db) as connection:
        connection.execute("DROP INDEX activity_by_level")
        connection.execute("PRAGMA user_version = 1")
    connection.close()
    with Feed(db, NAME) as feed:
        assert feed.view.activity == {"1": "", "2": "thinks"}
        feed.seek(len(beginning()) + 2)
        assert feed.view.activity == {"1": "asks", "2": "thinks"}
    append(db, *ending())  # an engine that takes it up brings it to this version
    with sqlite3.connect(db) as connection:
        assert connection.execute("PRAGMA user_version").fetchone()[0] == len(MIGRATIONS)
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT seq FROM events INDEXED BY activity_by_level WHERE session = 's'"
            " AND kind = 'level_activity' AND json_extract(body, '$.level') = '1' AND seq <= 9"
        ).fetchall()
        assert "activity_by_level" in plan[0][3]
    connection.close()


# --- following --------------------------------------------------------------------------------------------------------
def test_what_comes_is_followed_from_the_newest_event_and_only_from_there(tmp_path: Path) -> None:
    db = write(tmp_path / "sessions.db", beginning())
    feed = Feed(db, NAME)
    assert not feed.poll() and feed.position == feed.head == len(beginning())
    append(db, *run("trial-1", 1, 4.2)[:1], progress(1), progress(2))
    assert feed.poll()
    assert feed.view.running is not None and feed.view.running.progress == progress(2)
    feed.seek(feed.head - 1)
    assert feed.view.running is not None and feed.view.running.progress == progress(1)
    append(db, *run("trial-1", 1, 4.2)[1:])
    assert feed.poll()
    assert (feed.position, feed.head) == (len(beginning()) + 2, len(beginning()) + 4)
    assert feed.view.running is not None and [mark.kind for mark in feed.marks()][-1] == "trial"
    feed.follow()
    assert feed.view.running is None and feed.position == feed.head
    append(db, *trials()[2:])
    assert feed.poll() and feed.position == feed.head
    feed.close()


def test_another_session_of_the_record_is_nothing_new(tmp_path: Path) -> None:
    db = write(tmp_path / "sessions.db", beginning())
    with Feed(db, NAME) as feed:
        append(db, created("other"), session="other")
        assert not feed.poll() and feed.head == len(beginning())


def test_a_replay_begins_at_the_first_event_and_stays_until_it_is_moved(db: Path) -> None:
    with Feed(db, "last", follow=False) as feed:
        assert (feed.session, feed.position, feed.view.seq, feed.view.status) == (NAME, 1, 1, "running")
        assert feed.head == len(whole()) and len(feed.marks()) > 10
        append(db, ev.Noted(severity="info", text="t"))
        assert feed.poll() and feed.position == 1
        feed.seek(10**9)
        assert feed.position == feed.head == len(whole()) + 1
        feed.seek(-3)
        assert feed.position == 1


def test_what_is_no_session_is_said_at_once(db: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no session begins with"):
        Feed(db, "nowhere")
    with pytest.raises(InputError, match="there is no record at"):
        Feed(tmp_path / "none.db", NAME)


# --- windows ----------------------------------------------------------------------------------------------------------
def test_marks_are_where_something_stands_out(db: Path) -> None:
    with Feed(db, NAME) as feed:
        marks = feed.marks()
        assert [(mark.kind, mark.trial) for mark in marks] == [
            ("engine", 0),
            *[("trial", 0)] * 3,
            ("trial", 1),
            ("trial", 2),
            ("trial", 3),
            ("best", 3),
            ("trial", 4),
            ("crash", 4),
            ("trial", 5),
            ("freeze", 5),
            ("waiting", 5),
            ("injection", 5),
            ("trial", 6),
            ("trial", 7),
            ("end", 7),
        ]
        best = next(mark for mark in marks if mark.kind == "best")
        assert best.trial == 3 and [best.time] == feed.times(best.seq - 1, 1)
        feed.seek(best.seq)
        assert feed.view.history.best is not None and feed.view.history.best.number == 3
        feed.seek(best.seq - 1)
        assert feed.view.history.best is not None and feed.view.history.best.number == 0


def test_what_was_vetoed_before_the_boundary_let_it_in_is_no_injection(tmp_path: Path) -> None:
    vetoed = ev.InjectionDecided(hash=HASH, name="tabu_search", decision="vetoed", by="person")
    events = mechanism()
    db = write(tmp_path / "sessions.db", [*beginning(), *events[:4], vetoed, events[4]])
    with Feed(db, NAME) as feed:
        assert "injection" not in [mark.kind for mark in feed.marks()] and feed.view.active == []


def test_windows_on_events_go_forward_by_kind(db: Path) -> None:
    with Feed(db, NAME) as feed:
        assert [row.seq for row in feed.rows(3, 4)] == [4, 5, 6, 7]
        finished = feed.rows(0, 99, ["trial_finished"])
        assert len(finished) == 10 and feed.rows(feed.head, 5) == []


def test_times_of_events_come_by_number(tmp_path: Path) -> None:
    db = tmp_path / "sessions.db"
    events = whole()
    write_timed(db, events, [1000.0 + 10 * index for index in range(len(events))])
    with Feed(db, NAME) as feed:
        assert feed.times(0, 3) == [1000.0, 1010.0, 1020.0]
        assert feed.times(len(events), 3) == []


def test_a_content_is_found_by_its_hash(tmp_path: Path) -> None:
    db = tmp_path / "sessions.db"

    async def fill() -> None:
        store = await Store.open(db)
        await store.append(NAME, beginning(), [SOURCE.encode()])
        await store.close()

    asyncio.run(fill())
    with Feed(db, NAME) as feed:
        assert feed.blob(HASH) == SOURCE.encode() and feed.blob_size(HASH) == len(SOURCE)
        assert feed.blob_size(blob_hash(b"other")) is None
        with pytest.raises(RecordError, match="holds no content"):
            feed.blob(blob_hash(b"other"))


# --- trouble ----------------------------------------------------------------------------------------------------------
def test_a_record_that_disappears_is_told_of_and_taken_up_when_it_is_back(db: Path, tmp_path: Path) -> None:
    feed = Feed(db, NAME)
    db.rename(tmp_path / "away.db")
    assert not feed.poll() and "cannot be found any more" in feed.trouble
    assert feed.view.status == "finished" and feed.position == len(whole())
    feed.seek(5)
    assert feed.view.seq == 5  # what was open can still be read
    feed.follow()
    (tmp_path / "away.db").rename(db)
    append(db, ev.Noted(severity="info", text="back"))
    assert feed.poll() and feed.trouble == "" and feed.position == len(whole()) + 1
    feed.close()


def test_a_record_that_is_replaced_is_read_anew(db: Path, tmp_path: Path) -> None:
    feed = Feed(db, NAME)
    held = Feed(db, NAME)
    held.seek(9)
    shorter = write(tmp_path / "other.db", [*beginning(), *run("trial-1", 1, 3.5, status="keep", incumbent=1)])
    shorter.replace(db)
    assert feed.poll() and feed.trouble == ""
    assert feed.head == len(beginning()) + 2 and feed.view.history.trials[1].metric == 3.5
    assert [mark.trial for mark in feed.marks()][-1] == 1
    assert held.poll() and held.position == 9 and told(held.view) == told(folded(db, NAME, 9))
    feed.close()
    held.close()


def test_a_record_replaced_by_one_without_the_session_leaves_what_was_shown(db: Path, tmp_path: Path) -> None:
    feed = Feed(db, NAME)
    before = told(feed.view)
    write(tmp_path / "other.db", [created("other")], "other").replace(db)
    assert not feed.poll() and f"holds no session {NAME} any more" in feed.trouble
    assert not feed.poll() and told(feed.view) == before
    (tmp_path / "broken.db").write_text("once upon a time")
    (tmp_path / "broken.db").replace(db)
    assert not feed.poll() and "not a database" in feed.trouble
    assert told(feed.view) == before
    feed.close()


async def test_a_session_that_is_pruned_away_leaves_what_was_shown(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "sessions.db")
    await store.append(NAME, whole())
    feed = Feed(tmp_path / "sessions.db", NAME)
    await store.delete_session(NAME)
    assert not feed.poll() and "any more" in feed.trouble and feed.view.completed == 7
    feed.close()
    await store.close()


def test_events_of_a_newer_version_are_counted_and_the_rest_is_shown(tmp_path: Path) -> None:
    db = write(tmp_path / "sessions.db", [*beginning(), *trials()])
    with sqlite3.connect(db) as connection:
        head = connection.execute("SELECT max(seq) FROM events").fetchone()[0]
        new = [
            ("oracle_asked", '{"kind":"oracle_asked"}'),
            ("trial_progress", '{"kind":"trial_progress","run":7}'),
            ("mechanism_activated", '{"kind":"mechanism_activated","hash":"not written here","name":"x","trial":7}'),
            ("noted", '{"kind":"noted","severity":"info","text":"after"}'),
        ]
        rows = [(NAME, head + index, 2e9, kind, body, 2, b"") for index, (kind, body) in enumerate(new, 1)]
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.close()
    with Feed(db, NAME) as feed:
        assert feed.view.completed == 7 and [note.text for note in feed.view.notes] == ["after"]
        assert "2 events of this session could not be read (mechanism_activated, oracle_asked)" in feed.trouble
        assert "update bilevel" in feed.trouble
        feed.seek(feed.head - 3)
        assert feed.position == feed.view.seq == head + 1 and feed.view.completed == 7
        feed.seek(head + 2)
        assert feed.position == feed.view.seq == head + 2


def test_a_damaged_page_is_told_of_and_does_not_end_the_application(tmp_path: Path) -> None:
    db = tmp_path / "sessions.db"
    write_session(db, events=4000, trials=20)
    with sqlite3.connect(db) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    feed = Feed(db, SESSION)
    before = told(feed.view)
    with db.open("r+b") as file:
        file.seek(4096 * 4)
        file.write(os.urandom(db.stat().st_size - 4096 * 8))
    sought = [feed.position]
    for seq in range(1, feed.head, 97):
        feed.seek(seq)
        sought.append(feed.position)
    feed.poll()
    assert feed.trouble
    feed.follow()
    assert told(feed.view) == before
    feed.close()


def test_a_record_in_a_folder_that_is_removed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    db = write(tmp_path / "folder" / "sessions.db", whole())
    feed = Feed(db, NAME)
    shutil.rmtree(db.parent)
    assert not feed.poll() and feed.trouble
    feed.close()


# --- a long session ---------------------------------------------------------------------------------------------------
def test_a_long_session_is_a_record_like_any_other(tmp_path: Path) -> None:
    db = tmp_path / "sessions.db"
    count = write_session(db, events=6000, trials=50)
    with Reader(db) as reader:
        assert reader.verify(SESSION) == count == pytest.approx(6000, rel=0.1)
        assert reader.resolve("last") == SESSION
    with Feed(db, SESSION) as feed:
        assert feed.trouble == "" and feed.view.completed == 50 and len(feed.view.mechanisms) == 5
        for seq in (1, count // 3, count // 2, count):
            feed.seek(seq)
            assert told(feed.view) == told(folded(db, SESSION, seq))


def test_only_what_bears_on_the_state_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import engine.record.reader as reading

    db = tmp_path / "sessions.db"
    count = write_session(db, events=6000, trials=50)
    decoded: list[str] = []
    decode = reading.decode
    monkeypatch.setattr(reading, "decode", lambda kind, body: decoded.append(kind) or decode(kind, body))
    Feed(db, SESSION).close()
    assert count > 5500 and len(decoded) < 1000 and decoded.count("trial_progress") <= 2


def test_what_cannot_be_read_raises_where_nobody_asked_to_be_told(tmp_path: Path) -> None:
    db = write(tmp_path / "sessions.db", mechanism())
    with Reader(db) as reader:
        view = View()
        advance(view, reader, NAME, len(mechanism()))
        assert view.mechanisms[HASH].acted == 1
        with pytest.raises(KeyError):
            advance(View(seq=1), reader, NAME, 5)
