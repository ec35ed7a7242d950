"""Two who decide at once: a veto against an approval, the clock, the setting, a retirement, another veto."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from fast_sessions import until
from level2_searches import SLOW, Held, Level2, decisions, level2
from searches import mechanism
from test_research import BLOCKS, critique

from engine.control import Answer
from engine.record import events as ev


async def vetoed_while(held: Held, told: Level2) -> Answer:
    """The answer to a veto that is given while an event is on its way to the disk."""
    await held.arrived.wait()
    asked = asyncio.create_task(told.order("veto"))
    await asyncio.sleep(0)  # it is begun
    held.go.set()
    return await asked


async def test_a_veto_between_the_tests_and_the_waiting_turns_the_module_away(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="ask") as told:
        s = told.s
        held = Held(s, lambda event: isinstance(event, ev.InjectionWaiting))
        research = told.begin(mechanism("probe", BLOCKS))
        answer = await vetoed_while(held, told)
        assert answer.applied and "is turned away with it" in answer.detail
        assert await research == "vetoed"
        assert s.view.waiting is None and decisions(s) == [("vetoed", "person")]


async def test_a_veto_that_comes_after_the_setting_let_it_in_is_refused_with_what_helps(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="auto") as told:
        s = told.s
        held = Held(s, lambda event: isinstance(event, ev.InjectionDecided))
        research = told.begin(mechanism("probe", BLOCKS))
        answer = await vetoed_while(held, told)
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
        answer = await vetoed_while(held, told)
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
        answer = await vetoed_while(held, told)
        assert not answer.applied and "it is approved by the clock: nobody objected in time" in answer.detail
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


async def test_of_two_vetoes_at_once_the_first_holds_and_the_other_is_told(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="ask") as told:
        research = told.begin(SLOW, name="guard")
        await until(lambda: any(told.s.workshop.hosts.iterdir()))
        first, second = await asyncio.gather(told.order("veto", reason="one"), told.order("veto", reason="two"))
        assert (first.applied, second.applied) == (True, False) and await research == "vetoed"
        assert second.detail == "research 1 had just ended (vetoed): one"
        assert decisions(told.s) == [("vetoed", "person")]
        finished = told.s.view.researches[1].finished
        assert finished is not None and finished.reason == "one"


async def test_a_veto_of_what_was_turned_away_is_about_nothing_else(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="ask") as told:
        research = told.begin(mechanism("probe", BLOCKS))
        await until(lambda: told.s.view.waiting is not None)
        waiting = told.s.view.waiting
        assert waiting is not None and (await told.order("veto", hash=waiting.hash, reason="one")).applied
        late = await told.order("veto", hash=waiting.hash, reason="two")
        assert not late.applied and late.detail == "probe does not wait any more, it is vetoed by a person: one"
        assert await research == "vetoed"
        finished = told.s.view.researches[1].finished
        assert finished is not None and finished.reason.endswith(": one")


async def test_of_two_vetoes_without_a_reason_one_is_told_that_it_came_too_late(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="ask") as told:
        research = told.begin(SLOW, name="guard")
        await until(lambda: any(told.s.workshop.hosts.iterdir()))
        answers = await asyncio.gather(told.order("veto"), told.order("veto"))
        assert [answer.applied for answer in answers] == [True, False] and await research == "vetoed"


async def test_of_two_vetoes_of_what_an_earlier_engine_left_the_first_holds(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="ask") as told:
        s, source = told.s, mechanism("probe", BLOCKS)
        written = msgspec.structs.replace(s.written("probe", source)[0], research=1, written_by="model")
        begun = ev.ResearchStarted(research=1, trial=s.view.completed)
        await s.journal.record(begun, written, blobs=[source.encode()])
        answers = await asyncio.gather(told.order("veto", reason="one"), told.order("veto", reason="two"))
        assert [answer.applied for answer in answers] == [True, False]
        finished, known = s.view.researches[1].finished, s.view.mechanisms[written.hash]
        assert finished is not None and finished.reason == known.reason == "one"
        assert decisions(s) == [("vetoed", "person")]


async def test_a_beginning_of_a_hash_that_fits_what_waits_means_that(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="ask") as told:
        s = told.s
        research = told.begin(mechanism("probe", BLOCKS))
        await until(lambda: s.view.waiting is not None)
        assert s.view.waiting is not None
        begins = s.view.waiting.hash[:2]
        sources = (f"{mechanism('other', BLOCKS)}\n# {number}\n" for number in range(100_000))
        event = next(found for source in sources if (found := s.written("other", source)[0]).hash.startswith(begins))
        late = ev.InjectionDecided(hash=event.hash, name="other", decision="refused", by="person", reason="no")
        await s.journal.record(event, late)
        assert (await told.order("veto", hash=begins)).applied and await research == "vetoed"


async def test_what_was_approved_can_be_taken_back_until_the_boundary(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="ask") as told:
        s = told.s
        research = told.begin(mechanism("probe", BLOCKS))
        await until(lambda: s.view.waiting is not None)
        assert (await told.order("approve")).applied and await research == "proposed"
        wrong = await told.order("veto", hash="0" * 12)
        assert not wrong.applied and "what comes in next is probe" in wrong.detail
        answer = await told.order("veto", reason="on second thoughts")
        assert answer.applied and answer.detail.endswith("does not come in")
        await s.go(1)
        known = next(iter(s.view.mechanisms.values()))
        assert s.view.active == [] and (known.status, known.reason) == ("vetoed", "on second thoughts")


async def test_a_veto_at_the_boundary_comes_too_late_and_says_what_takes_it_out(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="auto") as told:
        s = told.s
        assert await told.begin(mechanism("probe", BLOCKS)) == "proposed"
        held = Held(s, lambda event: isinstance(event, ev.MechanismActivated))
        going = asyncio.create_task(s.go(1))
        answer = await vetoed_while(held, told)
        assert not answer.applied and "`bilevel revert probe` takes it out" in answer.detail
        await going
        known = next(iter(s.view.mechanisms.values()))
        assert s.view.active == [known.hash] and known.status == "active"


async def test_an_activation_on_its_way_when_the_veto_was_recorded_does_not_count(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="auto") as told:
        s = told.s
        assert await told.begin(mechanism("probe", BLOCKS)) == "proposed"
        known = next(iter(s.view.mechanisms.values()))
        assert (await told.order("veto")).applied
        await s.journal.record(ev.MechanismActivated(hash=known.hash, name=known.name, trial=s.view.completed))
        assert s.view.active == [] and s.view.mechanisms[known.hash].status == "vetoed"
