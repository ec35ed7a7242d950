"""Who lets a module in: approval by clock, by `auto`, by a person; what is trusted; and who decided is recorded."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from fast_sessions import opened, plan, read_view, run_session, until, write_target
from searches import SPACE, Search, mechanism, search, started

from engine.control import Command
from engine.levels.research import Researcher
from engine.mechanism.trust import shipped_sources
from engine.record.events import InjectionDecided, LevelActivity, MechanismValidated, MechanismWritten
from engine.search.proposals import Proposal
from engine.session.commands import Commands
from engine.session.editing import Editing

OWN = mechanism("own_idea", "def review(self, view, proposal):\n    return {'block': 'no'}")
SHIPPED = shipped_sources()["tabu_search"].replace("TENURE = ", "TENURE = 1")
SECONDS = 0.2
"""The grace in these tests."""


async def written(s: Search, source: str) -> MechanismWritten:
    """A source that was written and found valid at sandbox level C."""
    name = "own_idea" if source == OWN else "tabu_search"
    event, _ = s.written(name, source)
    validated = MechanismValidated(hash=event.hash, name=name, evidence={"sandbox": "C"})
    await s.journal.record(event, validated, blobs=[source.encode()])
    return event


@pytest.fixture
async def waiting() -> AsyncIterator[list[asyncio.Task[str]]]:
    """Tasks that wait for a decision; they are ended with the test."""
    tasks: list[asyncio.Task[str]] = []
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def decision(s: Search, event: MechanismWritten) -> InjectionDecided:
    found = s.view.mechanisms[event.hash].decision
    assert found is not None
    return found


def commands(s: Search) -> Commands:
    course = Researcher(s.journal, s.asker, s.workshop).course
    editing = Editing(s.journal, s.workshop, course)
    return Commands(s.journal, s.boundary, s.runs, s.workshop, course, editing)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("approval", "source", "unsafe", "outcome", "by", "reason"),
    [
        ("auto", SHIPPED, False, "approved", "auto", "It is the shipped module tabu_search"),
        ("auto", OWN, True, "approved", "auto", "because of --unsafe"),
        ("grace", SHIPPED, False, "approved", "clock", "nobody objected in time"),
        ("grace", OWN, True, "approved", "clock", "nobody objected in time"),
        ("grace", OWN, False, "refused", "clock", "nobody decided in time. Generated code at sandbox level C"),
    ],
    ids=["auto, shipped", "auto, unsafe", "grace, shipped", "grace, unsafe", "grace, untrusted"],
)
async def test_what_is_decided_without_a_person(
    tmp_path: Path, approval: str, source: str, unsafe: bool, outcome: str, by: str, reason: str
) -> None:
    async with search(tmp_path, approval=approval, grace=SECONDS, unsafe=unsafe) as s:
        event = await written(s, source)
        assert await s.workshop.let_in(event, source) == outcome
        told = decision(s, event)
        assert (told.hash, told.decision, told.by) == (event.hash, outcome, by)
        assert reason in told.reason
        await s.boundary.inject()
        assert (s.view.active == [event.hash]) == (outcome == "approved")


@pytest.mark.parametrize(
    ("approval", "source"), [("ask", SHIPPED), ("ask", OWN), ("auto", OWN)], ids=["ask, shipped", "ask", "auto"]
)
async def test_what_waits_for_a_person_while_the_search_goes_on(
    tmp_path: Path, waiting: list[asyncio.Task[str]], approval: str, source: str
) -> None:
    async with search(tmp_path, approval=approval, grace=0.0) as s:
        event = await written(s, source)
        waiting.append(asyncio.create_task(s.workshop.let_in(event, source)))
        await until(lambda: s.view.waiting is not None)
        assert s.view.waiting is not None and s.view.waiting.deadline is None
        assert s.view.waiting.trusted == (source == SHIPPED)
        await s.go(3)
        assert (s.view.completed, s.view.active, waiting[0].done()) == (3, [], False)
        other = await commands(s).handle(Command("approve", {"hash": "0" * 64}, "person"))
        assert not other.applied and f"with hash {event.hash[:12]}, not 000000000000" in other.detail
        assert (await commands(s).handle(Command("approve", {"hash": event.hash}, "person"))).applied
        assert await waiting[0] == "approved" and decision(s, event).by == "person"
        await s.go(1)
        assert s.view.active == [event.hash]
        assert not (await commands(s).handle(Command("approve", {}, "person"))).applied


async def test_what_waits_for_the_end_of_a_trial_is_not_said_to_be_rehearsed(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        s.workshop.machine = asyncio.Lock()
        await s.workshop.machine.acquire()
        event, _ = s.written("own_idea", OWN)
        trains = started(1, Proposal(0, SPACE.initial, {}, "", "model"))
        await s.journal.record(trains, event, blobs=[OWN.encode()])
        testing = asyncio.create_task(s.workshop.test(event, OWN))
        await until(lambda: s.view.activity.get("2") == "waits with own_idea: a trial has the machine")
        s.workshop.machine.release()
        await testing
        assert s.view.activity["2"] == "rehearsing own_idea"
        edit = msgspec.structs.replace(s.written("own_idea", OWN.replace("'no'", "'never'"))[0], written_by="person")
        await s.journal.record(edit, LevelActivity(level="2", activity="asking"))
        await s.workshop.machine.acquire()
        testing = asyncio.create_task(s.workshop.test(edit, OWN.replace("'no'", "'never'")))
        s.workshop.machine.release()
        await testing
        assert s.view.activity["2"] == "asking", "an edit is no work of Level 2"


async def test_a_person_may_veto_before_the_clock_decides(tmp_path: Path, waiting: list[asyncio.Task[str]]) -> None:
    async with search(tmp_path, approval="grace", grace=3600.0) as s:
        event = await written(s, SHIPPED)
        waiting.append(asyncio.create_task(s.workshop.let_in(event, SHIPPED)))
        await until(lambda: s.view.waiting is not None)
        answer = await commands(s).handle(Command("veto", {"hash": event.hash[:8], "reason": "not mine"}, "person"))
        assert answer.applied and await waiting[0] == "vetoed"
        assert (decision(s, event).by, decision(s, event).reason) == ("person", "not mine")
        await s.go(1)
        assert s.view.active == [] and s.view.mechanisms[event.hash].status == "vetoed"


async def test_a_person_may_decide_early_and_the_boundary_be_quicker_than_the_research(
    tmp_path: Path, waiting: list[asyncio.Task[str]]
) -> None:
    async with search(tmp_path, approval="ask") as s:
        event = await written(s, OWN)
        waiting.append(asyncio.create_task(s.workshop.let_in(event, OWN)))
        await until(lambda: s.view.waiting is not None)
        await s.journal.record(InjectionDecided(hash=event.hash, name="own_idea", decision="approved", by="person"))
        await s.boundary.inject()
        assert s.view.mechanisms[event.hash].status == "active" and await waiting[0] == "approved"


async def test_the_end_of_a_session_decides_what_waits(tmp_path: Path, waiting: list[asyncio.Task[str]]) -> None:
    async with search(tmp_path, approval="ask") as s:
        event = await written(s, OWN)
        waiting.append(asyncio.create_task(s.workshop.let_in(event, OWN)))
        await until(lambda: s.view.waiting is not None)
        waiting[0].cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert s.view.waiting is None
        told = decision(s, event)
        assert (told.decision, told.by, told.reason) == ("refused", "engine", "the session ended first")


async def test_an_edited_module_replaces_the_one_that_waits(tmp_path: Path, waiting: list[asyncio.Task[str]]) -> None:
    async with search(tmp_path, approval="ask") as s:
        await s.go(2)
        path = Path(s.workshop.save("own_idea", OWN))
        event, _ = s.written("own_idea", OWN)
        event = MechanismWritten(**{**{n: getattr(event, n) for n in event.__struct_fields__}, "path": str(path)})
        await s.journal.record(event, MechanismValidated(hash=event.hash, name="own_idea"), blobs=[OWN.encode()])
        waiting.append(asyncio.create_task(s.workshop.let_in(event, OWN)))
        await until(lambda: s.view.waiting is not None)
        taken = commands(s)
        await asyncio.to_thread(path.write_text, OWN.replace("'no'", "'never'"))
        assert (await taken.handle(Command("edit", {"name": "own_idea"}, "person"))).applied
        assert await waiting[0] == "refused" and decision(s, event).reason.endswith(" takes its place")
        await until(lambda: any(known.status == "approved" for known in s.view.mechanisms.values()))
        await s.go(1)
        [digest] = s.view.active
        assert digest != event.hash and s.view.mechanisms[digest].written_by == "person"
        await taken.editing.close()


# --- whole sessions ---------------------------------------------------------------------------------------------------
async def interrupted(db: Path, what: dict[str, Any]) -> str:
    """A session whose engine leaves while a module waits, the rest still to come; the hash of what waits."""
    async with opened(db, what) as session:
        task = asyncio.create_task(session.session.run())
        await until(lambda: session.journal.view.waiting is not None)
        session.journal.closed = True
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        waiting = session.journal.view.waiting
        assert waiting is not None
        return waiting.hash


async def test_a_session_that_is_taken_up_still_waits_and_takes_the_decision(tmp_path: Path) -> None:
    db = tmp_path / "sessions.db"
    what = plan(write_target(tmp_path / "t", seconds=0.1), trials=16, confirm=False)
    what["new"]["approval"] = "ask"
    digest = await interrupted(db, what)
    assert read_view(db).waiting is not None
    async with opened(db, {"resume": "s1"}) as session:
        view = session.journal.view
        task = asyncio.create_task(session.session.run())
        await until(lambda: view.running is not None)
        assert (await session.commands.handle(Command("approve", {"hash": digest}, "person"))).applied
        await task
    assert (view.status, view.completed) == ("finished", 16)
    known = view.mechanisms[digest]
    assert known.activated is not None and known.decision is not None and known.decision.by == "person"
    assert [research.finished.outcome for research in view.researches.values() if research.finished] == ["proposed"]
    assert len(view.researches) == 1


async def test_a_research_whose_module_nobody_decided_on_is_told_as_that(tmp_path: Path) -> None:
    what = plan(write_target(tmp_path / "t", seconds=0.1), trials=14, confirm=False)
    what["new"]["approval"] = "ask"
    async with opened(tmp_path / "sessions.db", what) as session:
        await session.session.run()
    view = session.journal.view
    [(name, known)] = [(known.name, known) for known in view.mechanisms.values()]
    ended = view.researches[1].finished
    assert ended is not None and (ended.outcome, ended.reason) == ("refused", f"{name}: the session ended first")
    assert known.status == "refused" and view.status == "finished"


async def test_time_in_which_no_engine_took_a_veto_does_not_count_as_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = tmp_path / "sessions.db"
    what = plan(write_target(tmp_path / "t", seconds=0.1), trials=400, confirm=False)
    what["new"] |= {"approval": "grace", "grace": 60.0}
    digest = await interrupted(db, what)
    an_hour_later = SimpleNamespace(time=lambda: time.time() + 3600, monotonic=time.monotonic)
    monkeypatch.setattr("engine.session.workshop.time", an_hour_later)
    async with opened(db, {"resume": "s1"}) as session:
        view = session.journal.view
        task = asyncio.create_task(session.session.run())
        await until(lambda: view.waiting is None or (view.waiting.deadline or 0.0) > an_hour_later.time())
        assert view.waiting is not None and view.waiting.deadline is not None
        assert view.waiting.deadline <= an_hour_later.time() + 60.0
        assert (await session.commands.handle(Command("veto", {"hash": digest}, "person"))).applied
        assert (await session.commands.handle(Command("stop", {"now": True}, "person"))).applied
        await task
    assert view.mechanisms[digest].status == "vetoed"


async def test_a_session_does_not_wait_for_a_decision_at_its_end(tmp_path: Path) -> None:
    what = plan(write_target(tmp_path / "t"), trials=14, confirm=False)
    what["new"]["approval"] = "ask"
    view = await run_session(tmp_path / "sessions.db", what)
    assert (view.status, view.completed, view.waiting) == ("finished", 14, None)
    [known] = view.mechanisms.values()
    assert (known.status, known.reason) == ("refused", "the session ended first")
