"""The process that rehearses: what comes back, what its faults come to, and that nothing of it is left."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import plan, run_session, until, write_target
from rehearsed_records import HELPS, mechanism, recorded, view_of, write
from searches import mechanism as module
from searches import search

from engine.rehearsal.asking import Request, rehearse
from engine.rehearsal.evidence import Expected

LOOPS = mechanism("loops", "def review(self, view, proposal):\n    while len(view.trials) > 41:\n        pass")


async def request_of(folder: Path, source: str = HELPS, **options: Any) -> Request:
    """A request for a record in the folder that holds this source."""
    events = recorded(**{"count": 40, **options}, sources=[source])
    db = await asyncio.to_thread(write, folder / "sessions.db", events, source)
    view = view_of(events)
    (folder / "hosts").mkdir()
    [digest] = view.mechanisms
    return Request(str(db), "s1", view.seq, digest, str(folder / "hosts"))


def processes(folder: Path) -> list[int]:
    """Rehearsals that this process started, and all that mentions this folder: hosts have theirs in it."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            words = (entry / "cmdline").read_bytes()
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            mine = parent == os.getpid() and b"engine.rehearsal" in words
            if mine or os.fsencode(folder) in words + os.fsencode((entry / "cwd").readlink()):
                found.append(int(entry.name))
    return found


async def under_way(folder: Path) -> None:
    """Wait until hosts of a rehearsal are at work."""
    await until(lambda: any(folder.glob("hosts/rehearsal-*/host-*")))


def nothing_left(folder: Path) -> bool:
    return not processes(folder) and not list(folder.glob("hosts/*"))


@pytest.mark.long
async def test_the_evidence_comes_back_and_is_the_same_for_the_same_record(tmp_path: Path) -> None:
    request = await request_of(tmp_path)
    first, second = await asyncio.gather(rehearse(request), rehearse(request))
    assert set(first) == set(Expected("too few data", "").told())
    assert first["says"] in ("better", "no clear effect") and first["replications"] == 32 and first["seconds"] > 0
    assert {**first, "seconds": 0} == {**second, "seconds": 0}
    assert nothing_left(tmp_path)


async def test_only_what_was_recorded_up_to_the_event_is_seen(tmp_path: Path) -> None:
    request = await request_of(tmp_path, count=60)
    early = Request(request.db, "s1", 60, request.hash, request.hosts)
    told = await rehearse(early)  # at the event 60 the mechanism was not written yet
    assert told["says"] == "not simulated" and told["reason"]


async def test_a_record_that_is_gone_is_a_reason(tmp_path: Path) -> None:
    request = await request_of(tmp_path)
    Path(request.db).unlink()  # noqa: ASYNC240
    told = await rehearse(request)
    assert told["says"] == "not simulated" and "sessions.db" in told["reason"]


async def test_a_rehearsal_that_takes_too_long_is_ended_with_its_hosts(tmp_path: Path) -> None:
    request = await request_of(tmp_path, LOOPS)
    told = await rehearse(request, limit=6.0)
    assert (told["says"], told["reason"]) == ("not simulated", "the rehearsal took more than 6 s")
    await until(lambda: nothing_left(tmp_path))


async def test_a_process_that_is_killed_is_a_reason_and_leaves_nothing(tmp_path: Path) -> None:
    request = await request_of(tmp_path, LOOPS)
    task = asyncio.create_task(rehearse(request))
    await under_way(tmp_path)
    for pid in processes(tmp_path):
        if b"engine.rehearsal" in Path(f"/proc/{pid}/cmdline").read_bytes():  # noqa: ASYNC240
            os.kill(pid, signal.SIGKILL)
    told = await task
    assert told["says"] == "not simulated"
    assert told["reason"] == "the rehearsal gave no answer: its process ended with code -9"
    await until(lambda: nothing_left(tmp_path))


async def test_one_that_is_cancelled_leaves_nothing(tmp_path: Path) -> None:
    task = asyncio.create_task(rehearse(await request_of(tmp_path, LOOPS)))
    await under_way(tmp_path)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert nothing_left(tmp_path)


async def test_when_whoever_asked_dies_the_rehearsal_ends_too(tmp_path: Path) -> None:
    request = await request_of(tmp_path, LOOPS)
    code = "import asyncio, sys; from engine.rehearsal.asking import Request, rehearse; " + (
        "asyncio.run(rehearse(Request(*sys.argv[1:3], int(sys.argv[3]), *sys.argv[4:])))"
    )
    words = [request.db, "s1", str(request.seq), request.hash, request.hosts]
    root = Path(__file__).parent.parent
    asker = subprocess.Popen([sys.executable, "-c", code, *words], cwd=root)  # noqa: ASYNC220
    try:
        await under_way(tmp_path)
    finally:
        asker.kill()
        await asyncio.to_thread(asker.wait)
    await until(lambda: not processes(tmp_path))


# --- in a session -----------------------------------------------------------------------------------------------------
async def test_a_valid_mechanism_is_rehearsed_and_the_evidence_recorded(tmp_path: Path) -> None:
    async with search(tmp_path, rehearsal=True) as s:
        s.runs.metrics = [4.0 + 0.01 * number for number in range(12)]
        await s.go(12)
        written, source = s.written("turner", module("turner", "def review(self, view, proposal):\n    return None"))
        await s.journal.record(written, blobs=[source.encode()])
        assert await s.workshop.test(written, source) != []
        assert "expected" not in s.view.mechanisms[written.hash].evidence  # it failed its tests
        body = "def review(self, view, proposal):\n    return {'changes': {'LR': 0.05}, 'why': 'so'}"
        written, source = s.written("turner", module("turner", body))
        await s.journal.record(written, blobs=[source.encode()])
        assert await s.workshop.test(written, source) == []
        expected = s.view.mechanisms[written.hash].evidence["expected"]
        assert expected["data"] == 15 and expected["says"] and expected["reason"]


async def test_without_rehearsals_there_is_none(tmp_path: Path) -> None:
    async with search(tmp_path, rehearsal=False) as s:
        await s.go(12)
        body = "def review(self, view, proposal):\n    return {'changes': {'LR': 0.05}, 'why': 'so'}"
        written, source = s.written("turner", module("turner", body))
        await s.journal.record(written, blobs=[source.encode()])
        assert await s.workshop.test(written, source) == []
        assert "expected" not in s.view.mechanisms[written.hash].evidence


async def test_a_session_records_what_its_injections_were_expected_to_bring(tmp_path: Path) -> None:
    what = plan(write_target(tmp_path / "t"), trials=13, confirm=False, rehearsal=True)
    view = await run_session(tmp_path / "sessions.db", what)
    assert view.status == "finished" and view.completed == 13
    tested = [known for known in view.mechanisms.values() if known.evidence and not known.problems]
    assert tested and all(known.evidence["expected"]["says"] for known in tested)
    assert nothing_left(tmp_path / ".bilevel" / "s1")
