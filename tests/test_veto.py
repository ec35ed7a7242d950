"""A person's veto while Level 2 researches: what it calls off, what goes on, and the end of the session meanwhile."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import IMPATIENT, events, opened, plan, read_view, start_engine, until, write_target
from level2_searches import SLOW
from loopback import Loopback, offline_answers, purpose_of
from test_research import SAID, fenced

from engine.control import Answer, Command, send, socket_path
from engine.record import events as ev
from engine.session.startup import Opened

ENVIRON = {"BILEVEL_API_KEY": "sk-any"}
BROKEN = "```python\nclass Mechanism:\n    def suggest(self, view) return None\n```"


class Endpoint(Loopback):
    """Answers as the stand-in would, but the first time at `purpose` not until `release` is set; `others` answer so."""

    def __init__(self, purpose: str, others: dict[str, str] | None = None) -> None:
        answers, others = offline_answers(0), others or {}
        self.hung = asyncio.Event()

        async def answer(request: dict[str, Any]) -> str:
            asked = purpose_of(request["messages"])
            if asked == purpose and not self.hung.is_set():
                self.hung.set()
                await self.release.wait()
            return others.get(asked) or await answers(request)  # type: ignore[misc]

        super().__init__(answer)


def asking(server: Loopback, target: Path, **settings: Any) -> dict[str, Any]:
    settings = {"levels": ["1", "2"], "trials": 13, "confirm": False, "baseline_runs": 1, **settings}
    return plan(target, model="some-model", base_url=server.base_url, **settings)


@asynccontextmanager
async def running(
    server: Endpoint, folder: Path, seconds: float = 0.02, **settings: Any
) -> AsyncIterator[tuple[Opened, asyncio.Task[None]]]:
    """A session that has reached the moment at which its model hangs."""
    what = asking(server, write_target(folder / "target", seconds=seconds), **settings)
    async with opened(folder / "sessions.db", what, ENVIRON) as session:
        task = asyncio.create_task(session.session.run())
        await asyncio.wait_for(server.hung.wait(), 30)
        yield session, task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def ordered(session: Opened, command: str = "veto", **args: Any) -> Answer:
    return await session.commands.handle(Command(command, args, "person"))


# --- in each round ----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("purpose", "doing"),
    [
        ("explore", "diagnosing the search"),
        ("critique", "judging candidates"),
        ("specify", "specifying a mechanism"),
        ("generate", "writing "),
    ],
)
async def test_a_veto_calls_off_the_round_and_the_search_goes_on(tmp_path: Path, purpose: str, doing: str) -> None:
    async with Endpoint(purpose) as server, running(server, tmp_path) as (session, task):
        view = session.journal.view
        begun = view.completed
        await until(lambda: view.completed > begun)  # Level 1 goes on while the model is asked
        refused = await ordered(session, hash="abcdef")
        assert not refused.applied and "research 1 has written nothing yet" in refused.detail
        answer = await ordered(session, reason="not that way")
        assert answer.applied and f"research 1 is called off ({doing}" in answer.detail
        assert answer.detail.endswith("nothing was written yet")
        finished = view.researches[1].finished
        assert finished is not None and (finished.outcome, finished.reason) == ("vetoed", "not that way")
        assert not (await ordered(session)).applied
        await task
    assert (view.status, view.completed, len(view.researches)) == ("finished", 13, 1)
    assert view.research_due_after == 10 and view.mechanisms == {} and view.activity["2"] == ""
    assert [e.detail for e in events(tmp_path / "sessions.db", "s1", "command_refused")][1:] == [
        "no mechanism waits for a decision, and no research is under way"
    ]


async def test_the_next_research_comes_in_its_turn_and_is_told_why_the_last_was_called_off(tmp_path: Path) -> None:
    async with Endpoint("specify") as server, running(server, tmp_path, trials=21) as (session, task):
        assert (await ordered(session, reason="look at the batch first")).applied
        await task
        explored = [r for r in server.requests if purpose_of(r["messages"]) == "explore"]
    view = session.journal.view
    assert (view.status, view.completed) == ("finished", 21)
    assert [research.trial for research in view.researches.values()] == [10, 20]
    first, second = (request["messages"][1]["content"] for request in explored)
    assert "look at the batch first" not in first
    told = second.split("```jsonl called_off\n")[1].split("\n```")[0]
    assert '"after_trial": 10, "reason": "look at the batch first"' in told and '"critique": "' in told


async def test_a_veto_in_a_repair_marks_what_was_written(tmp_path: Path) -> None:
    async with (
        Endpoint("repair", {"generate": BROKEN}) as server,
        running(server, tmp_path) as (session, task),
    ):
        view = session.journal.view
        [written] = view.mechanisms.values()
        assert written.status == "refused"
        wrong = await ordered(session, hash="0" * 12)
        assert not wrong.applied and f"with hash {written.hash[:12]}, not 000000000000" in wrong.detail
        answer = await ordered(session, hash=written.hash[:8], reason="leave it")
        assert answer.applied and f"({written.hash[:12]}) is turned away with it" in answer.detail
        assert (written.status, written.reason) == ("vetoed", "leave it")
        await task
    assert (view.status, view.completed) == ("finished", 13)


async def test_a_veto_ends_the_rehearsal_and_exactly_this_source_is_not_accepted_again(tmp_path: Path) -> None:
    others = {"specify": json.dumps({"name": "guard", **SAID}), "generate": fenced(SLOW)}
    async with Endpoint("generate", others) as server, running(server, tmp_path) as (session, task):
        view, hosts = session.journal.view, session.session.workshop.hosts
        server.release.set()
        await until(lambda: "rehearsing" in view.activity.get("2", "") and any(hosts.iterdir()))
        answer = await ordered(session, reason="too slow")
        assert answer.applied and "is called off (rehearsing guard); guard (" in answer.detail
        assert not any(hosts.iterdir())
        [written] = view.mechanisms.values()
        assert (written.status, written.reason, written.evidence) == ("vetoed", "too slow", {})
        assert written.decision is not None and written.decision.by == "person"
        again = ev.MechanismWritten(written.hash, "guard", "p", "own", "model", written.path, 2)
        await session.journal.record(again)
        assert "a person vetoed exactly this source" in (await session.session.workshop.test(again, SLOW))[0]
        await task
    assert (view.status, view.completed) == ("finished", 13)


# --- with the end of the session --------------------------------------------------------------------------------------
@pytest.mark.parametrize("order", [("veto", "stop"), ("stop", "veto")])
async def test_a_stop_at_the_same_moment_ends_the_session(tmp_path: Path, order: tuple[str, str]) -> None:
    async with Endpoint("critique") as server, running(server, tmp_path, 0.1) as (session, task):
        given = {"veto": {"reason": "no"}, "stop": {"now": True}}
        answers = await asyncio.gather(*(ordered(session, name, **given[name]) for name in order))
        assert all(answer.applied for answer in answers)
        await asyncio.wait_for(task, 30)
    view = session.journal.view
    assert (view.status, view.status_reason) == ("finished", "a person stopped it")
    finished = view.researches[1].finished
    assert finished is not None and (finished.outcome, finished.reason) == ("vetoed", "no")


async def test_an_engine_that_leaves_at_the_same_moment_leaves(tmp_path: Path) -> None:
    async with Endpoint("critique") as server, running(server, tmp_path) as (session, task):
        asked = asyncio.create_task(ordered(session))
        await asyncio.sleep(0)  # it is begun
        session.journal.closed = True
        session.runs.trainer.leave()
        task.cancel()
        await asyncio.wait_for(asyncio.gather(task, return_exceptions=True), 30)
        assert task.cancelled()
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
    assert read_view(tmp_path / "sessions.db").researches[1].finished is None


async def killed_in_research(server: Endpoint, folder: Path, vetoed: bool) -> None:
    """A session whose engine, a process of its own, is killed while its model hangs, or after a veto of that."""
    db = folder / "sessions.db"
    process = start_engine(db, asking(server, write_target(folder / "target", 0.02)), IMPATIENT, **ENVIRON)
    try:
        await asyncio.wait_for(server.hung.wait(), 30)
        if vetoed:
            socket = socket_path(db, "s1", os.environ)
            answer = await asyncio.to_thread(send, socket, "veto", {"reason": "not now"})
            assert answer.applied, answer.detail
    finally:
        process.kill()
        await asyncio.to_thread(process.wait)
    assert (read_view(db).researches[1].finished is not None) == vetoed


async def test_a_veto_survives_the_death_of_the_engine(tmp_path: Path) -> None:
    async with Endpoint("specify") as server:
        await killed_in_research(server, tmp_path, vetoed=True)
        async with opened(tmp_path / "sessions.db", {"resume": "s1"}, ENVIRON) as session:
            await session.session.run()
        view = session.journal.view
    assert (view.status, view.completed, len(view.researches)) == ("finished", 13, 1)
    assert view.researches[1].finished is not None and view.researches[1].finished.reason == "not now"


async def test_a_research_that_an_earlier_engine_began_is_closed_and_begun_anew(tmp_path: Path) -> None:
    db = tmp_path / "sessions.db"
    async with Endpoint("specify") as server:
        await killed_in_research(server, tmp_path, vetoed=False)
        async with opened(db, {"resume": "s1"}, ENVIRON) as session:
            assert session.journal.view.researches[1].interrupted
            await session.session.run()
        view = session.journal.view
    first, second = (view.researches[number].finished for number in (1, 2))
    assert first is not None and (first.outcome, first.reason) == ("failed", "the engine ended in the middle of it")
    assert second is not None and len(view.researches) == 2, "the turn was not taken"


@pytest.mark.parametrize("early", [True, False], ids=["before it goes on", "once it goes on"])
async def test_a_research_that_an_earlier_engine_began_is_called_off(tmp_path: Path, early: bool) -> None:
    async with Endpoint("specify") as server:
        await killed_in_research(server, tmp_path, vetoed=False)
        server.hung.clear()
        async with opened(tmp_path / "sessions.db", {"resume": "s1"}, ENVIRON) as session:
            task = None if early else asyncio.create_task(session.session.run())
            if not early:
                await asyncio.wait_for(server.hung.wait(), 30)
            answer = await ordered(session)
            assert answer.applied, answer.detail
            await (task or session.session.run())
        view = session.journal.view
    assert (view.status, view.completed, len(view.researches)) == ("finished", 13, 1 if early else 2)
    last = view.researches[max(view.researches)].finished
    assert last is not None and (last.outcome, last.reason) == ("vetoed", "a person called it off")
