"""What is decided while a proposal is made, or while a rehearsal has the machine, holds for the trial that follows."""

import asyncio
from pathlib import Path

import pytest
from fast_sessions import opened, plan, run_session, until, write_target

from engine.control import Command
from engine.model.client import Prompt, Reply
from engine.model.offline import OfflineModel


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


def command(word: str, **args: object) -> Command:
    return Command(word, args, "person")  # type: ignore[arg-type]


async def test_a_stop_while_a_rehearsal_has_the_machine_starts_no_trial(db: Path, tmp_path: Path) -> None:
    async with opened(db, plan(write_target(tmp_path / "t"), trials=50, confirm=False)) as session:
        view = session.journal.view
        await session.session.boundary.machine.acquire()
        task = asyncio.create_task(session.session.run())
        await until(lambda: view.phase == "baseline")
        session.session.boundary.machine.release()
        await until(lambda: view.completed >= 1)
        await session.session.boundary.machine.acquire()
        await until(lambda: view.running is None)  # the trial that has just trained is decided on
        completed = view.completed
        await until(lambda: "a rehearsal has the machine" in view.activity.get("1", ""))
        assert (await session.commands.handle(command("stop", now=True))).applied
        session.session.boundary.machine.release()
        await task
    assert view.status == "finished" and view.status_by == "person"
    assert view.completed == completed and view.running is None
    assert not view.activity.get("1")


async def test_a_proposal_made_before_a_person_s_freeze_does_not_run(
    db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thinking, go_on = asyncio.Event(), asyncio.Event()
    complete = OfflineModel.complete

    async def slow(self: OfflineModel, prompt: Prompt, retried: object) -> Reply:
        reply = await complete(self, prompt, retried)  # type: ignore[arg-type]
        if prompt.purpose == "propose" and not thinking.is_set():
            thinking.set()
            await go_on.wait()
        return reply

    monkeypatch.setattr(OfflineModel, "complete", slow)
    async with opened(db, plan(write_target(tmp_path / "t"), trials=2, confirm=False)) as session:
        task = asyncio.create_task(session.session.run())
        await thinking.wait()
        view = session.journal.view
        await session.commands.handle(command("pause"))
        go_on.set()
        await until(lambda: 1 in view.proposals)
        assert view.proposals[1][0]["changes"].keys() == {"BATCH"}  # the stand-in's first idea
        await session.commands.handle(command("freeze", name="BATCH"))
        await session.commands.handle(command("resume"))
        await task
    assert view.completed == 2 and all("BATCH" not in trial.changes for trial in view.history)
    assert any("froze BATCH meanwhile" in refused.reason for refused in view.refused_proposals)


async def test_a_person_s_stop_goes_before_an_automatic_end(db: Path, tmp_path: Path) -> None:
    async with opened(db, plan(write_target(tmp_path / "t"), trials=2)) as session:
        boundary = session.session.boundary
        boundary.end("the budget is used up")
        boundary.end("a person stopped it", by_person=True)
        boundary.end("something else")
        assert (boundary.ending, boundary.stopped_by_person) == ("a person stopped it", True)


@pytest.mark.long
async def test_a_confirmation_begun_for_one_best_is_not_counted_for_another(db: Path, tmp_path: Path) -> None:
    target = write_target(tmp_path / "t", seconds=0.3)
    async with opened(db, plan(target, trials=14)) as session:
        view = session.journal.view
        task = asyncio.create_task(session.session.run())
        await until(lambda: any(run.startswith("confirm-1-best") for run in view.finished_runs))
        await session.commands.handle(command("stop", now=True))
        await task
        first = view.history.best
    view = await run_session(db, {"resume": "s1", "extend": {"trials": 20}})
    best = view.history.best
    assert first is not None and best is not None and view.confirmed is not None
    assert best.number != first.number, "the search found nothing better: the case is not tested"
    runs = [run.number for name, run in view.finished_runs.items() if name.startswith(f"confirm-1-best-{best.number}-")]
    assert runs == [best.number] * 2 and len(view.confirmed.best) == 2
