"""The course of a research: begun, worked at, ended in the record; and how a person calls it off.

The rounds run in a task of their own. To call them off is to cancel that task alone: Level 2 goes on to its next turn,
and the end of a session, which cancels the level, is never mistaken for it.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from engine.levels.protocols import Journal
from engine.model.answers import AnswerError
from engine.record.events import Event, InjectionDecided, LevelActivity, ResearchFinished, ResearchStarted
from engine.record.view import Mechanism, Research
from engine.record.wording import reason_alone

Rounds = Callable[[int], Coroutine[Any, Any, tuple[str, str]]]
"""Does the research with this number; its outcome and the reason."""


class Course:
    """One research after another, at most one at a time."""

    def __init__(self, journal: Journal, rounds: Rounds) -> None:
        self.journal = journal
        self._rounds = rounds
        self._number: int | None = None
        """The research that goes on in this engine."""
        self._work: asyncio.Task[tuple[str, str]] | None = None
        """Its rounds, while they can be called off."""
        self._called_off: str | None = None
        """Why a person called off the one that goes on."""
        self._closing = False
        """Whether one that an earlier engine left is being called off."""

    async def run(self) -> str:
        """One research from its start to its recorded end; its outcome. Raises what the rounds raise."""
        view = self.journal.view
        number = self._number = max(view.researches, default=0) + 1
        self._called_off = None
        await self.journal.record(ResearchStarted(research=number, trial=view.completed))
        outcome, reason = "failed", "it was interrupted"
        try:
            outcome, reason = await self._worked(number)
        except AnswerError as error:
            reason = str(error)
        except Exception as error:
            reason = str(error)
            raise
        finally:
            self.commit()
            decided = view.researches[number].decided
            if outcome == "failed" and decided is not None:  # the end of the session decides what waits
                outcome, told = come_to(decided)
                reason = f"{decided.name}: {told}"
            try:
                outcome = await self._finish(number, outcome, reason, self._called_off)
            finally:
                self._number = None
        return outcome

    async def _worked(self, number: int) -> tuple[str, str]:
        self._work = asyncio.create_task(self._rounds(number))
        try:
            return await self._work
        except asyncio.CancelledError:
            level = asyncio.current_task()
            if self._called_off is None or (level is not None and level.cancelling()):
                raise  # the session ends, whatever else was asked
            return "vetoed", self._called_off

    def commit(self) -> None:
        """From here on the research does what it decided: it ends in a moment, and cannot be called off halfway."""
        self._work = None

    async def _finish(self, number: int, outcome: str, reason: str, called_off: str | None) -> str:
        """Record how a research ended; its outcome. One that a person called off, and why, takes its source along."""
        # Records are made one after the other: what cancelled rounds had on its way is in the view after this one.
        await self.journal.record(LevelActivity(level="2"))
        events: list[Event] = []
        if called_off is not None:
            written = self.written(number)
            if written is not None and written.status in ("approved", "active"):
                outcome, reason = "proposed", f"{written.name} was let in before it could be called off"
            else:
                outcome, reason = "vetoed", called_off
                if written is not None and written.status != "vetoed":
                    events.append(_vetoed(written, reason))
        events.append(ResearchFinished(research=number, outcome=outcome, reason=reason))  # type: ignore[arg-type]
        await self.journal.record(*events)
        return outcome

    # --- what a person asks -------------------------------------------------------------------------------------------
    def under_way(self) -> Research | None:
        """The research that can be called off: the one that goes on, or one that an earlier engine left undecided."""
        researches = self.journal.view.researches
        number = self._number if self._number is not None else max(researches, default=0)
        research = researches.get(number)
        return research if research is not None and research.finished is None else None

    def written(self, number: int) -> Mechanism | None:
        """What the model wrote last in a research: all others that it wrote in it were refused by their tests."""
        mechanisms = self.journal.view.mechanisms.values()
        found = [known for known in mechanisms if known.research == number and known.written_by != "person"]
        standing = [known for known in found if known.status != "refused"] or found
        return standing[-1] if standing else None

    async def call_off(self, research: Research, reason: str) -> bool:
        """Have the research that is under way end, for a person's reason, and wait for that.

        Whether this call did it: it may have been called off, or ended by itself, a moment before.
        """
        does = False
        if self._number is None and not self._closing:
            does = self._closing = True
            try:
                await self._finish(research.number, "vetoed", reason, reason)
            finally:
                self._closing = False
        elif self._work is not None and self._called_off is None and not self._work.done():
            does, self._called_off = True, reason
            self._work.cancel()
        while research.finished is None:
            await self.journal.changed()
        return does


def come_to(decided: InjectionDecided) -> tuple[str, str]:
    """What a research came to by a decision on its module: its outcome, and why, in words to stand behind a name."""
    if decided.decision == "approved":
        return "proposed", "let in"
    return decided.decision, reason_alone(decided.decision, decided.reason) or decided.decision


def _vetoed(written: Mechanism, reason: str) -> InjectionDecided:
    return InjectionDecided(hash=written.hash, name=written.name, decision="vetoed", by="person", reason=reason)
