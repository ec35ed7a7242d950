"""Two who decide at once: a veto against an approval, the clock, the setting, a retirement, another veto."""

import asyncio
from pathlib import Path

import pytest
from fast_sessions import until
from level2_searches import SLOW, Held, decisions, level2
from searches import mechanism
from test_research import BLOCKS, critique

from engine.record import events as ev


async def test_a_veto_between_the_tests_and_the_waiting_turns_the_module_away(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="ask") as told:
        s = told.s
        held = Held(s, lambda event: isinstance(event, ev.InjectionWaiting))
        research = told.begin(mechanism("probe", BLOCKS))
        await held.arrived.wait()
        asked = asyncio.create_task(told.order("veto", reason="no"))
        await asyncio.sleep(0)  # it is begun
        held.go.set()
        answer = await asked
        assert answer.applied and "is turned away with it" in answer.detail
        assert await research == "vetoed"
        assert s.view.waiting is None and decisions(s) == [("vetoed", "person")]


async def test_a_veto_that_comes_after_the_setting_let_it_in_is_refused_with_what_helps(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="auto") as told:
        s = told.s
        held = Held(s, lambda event: isinstance(event, ev.InjectionDecided))
        research = told.begin(mechanism("probe", BLOCKS))
        await held.arrived.wait()
        asked = asyncio.create_task(told.order("veto"))
        await asyncio.sleep(0)  # it is begun
        held.go.set()
        answer = await asked
        assert not answer.applied and "probe was let in before it could be called off" in answer.detail
        assert await research == "proposed" and decisions(s) == [("approved", "auto")]
        await s.go(1)
        assert len(s.view.active) == 1


async def test_a_veto_does_not_stop_a_retirement_halfway(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="ask") as told:
        s = told.s
        await s.inject("guard", BLOCKS)
        held = Held(s, lambda event: isinstance(event, ev.MechanismDeactivated))
        research = told.begin("", critique("retire", target="guard"))
        await held.arrived.wait()
        asked = asyncio.create_task(told.order("veto"))
        await asyncio.sleep(0)  # it is begun
        held.go.set()
        answer = await asked
        assert not answer.applied and "research 1 had just ended (retired): guard: so" in answer.detail
        assert await research == "retired" and s.view.active == []


@pytest.mark.parametrize("first", ["veto", "approve"])
async def test_of_two_decisions_at_once_one_holds_and_the_other_is_told(tmp_path: Path, first: str) -> None:
    async with level2(tmp_path, approval="ask") as told:
        research = told.begin(mechanism("probe", BLOCKS))
        await until(lambda: told.s.view.waiting is not None)
        second = "approve" if first == "veto" else "veto"
        applied, refused = await asyncio.gather(told.order(first), told.order(second))
        assert (applied.applied, refused.applied) == (True, False)
        assert "probe does not wait any more, it is" in refused.detail
        assert decisions(told.s) == [("vetoed" if first == "veto" else "approved", "person")]
        assert await research == ("vetoed" if first == "veto" else "proposed")


async def test_a_veto_while_the_clock_decides_comes_too_late_and_is_told_so(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="grace", grace=0.05) as told:
        s = told.s
        held = Held(s, lambda event: isinstance(event, ev.InjectionDecided))
        research = told.begin(mechanism("probe", BLOCKS))
        await held.arrived.wait()
        asked = asyncio.create_task(told.order("veto"))
        await asyncio.sleep(0)  # it is begun
        held.go.set()
        answer = await asked
        assert not answer.applied and "it is approved: nobody objected in time" in answer.detail
        assert await research == "proposed" and decisions(s) == [("approved", "clock")]


async def test_the_end_of_a_session_is_not_taken_for_the_veto_of_the_same_moment(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="ask") as told:
        research = told.begin(SLOW, name="guard")
        await until(lambda: any(told.s.workshop.hosts.iterdir()))
        asked = asyncio.create_task(told.order("veto", reason="no"))
        await asyncio.sleep(0)  # it is begun
        research.cancel()
        await asyncio.wait([research])
        assert research.cancelled() and (await asked).applied
        assert decisions(told.s) == [("vetoed", "person")] and not any(told.s.workshop.hosts.iterdir())


async def test_two_vetoes_at_once_are_one(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="ask") as told:
        research = told.begin(SLOW, name="guard")
        await until(lambda: any(told.s.workshop.hosts.iterdir()))
        answers = await asyncio.gather(told.order("veto", reason="one"), told.order("veto", reason="two"))
        assert all(answer.applied for answer in answers) and await research == "vetoed"
        assert decisions(told.s) == [("vetoed", "person")]
        finished = told.s.view.researches[1].finished
        assert finished is not None and finished.reason == "one"
