"""A session: baseline, search, confirmation, with the levels as tasks of one group.

Level 1 runs the trial loop. Level 1.5 wakes after each cycle of five trials, Level 2 after every second; both think
while training goes on. No fault of a model or a mechanism ends a session: Level 1 backs off and then pauses, the others
skip their turn. Where the session stands is the view and nothing else, so that a resumed session runs through the same
code.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

from engine.errors import BilevelError
from engine.levels.course import come_to
from engine.levels.inner import InnerLoop
from engine.levels.research import Researcher
from engine.levels.strategy import Strategist
from engine.model.answers import AnswerError
from engine.model.asking import Asker, BudgetExhausted
from engine.model.client import ModelError
from engine.record.events import (
    Level,
    LevelBackedOff,
    LevelSkipped,
    Noted,
    ResearchFinished,
    StateChanged,
    TrialStarted,
)
from engine.record.journal import Journal
from engine.record.recovery import rolling_backup
from engine.record.store import RecordError
from engine.record.view import CYCLE
from engine.session.boundary import SessionBoundary
from engine.session.editing import Editing
from engine.session.measuring import Measuring, SessionFailed
from engine.session.notify import Notifier
from engine.session.watching import Watching
from engine.session.workshop import Workshop
from engine.training.room import NoRoom
from engine.training.runs import Runs

log = logging.getLogger(__name__)
RESEARCH = 2 * CYCLE
FIRST_WAIT, LONGEST_WAIT, PATIENCE = 5.0, 600.0, 600.0
"""Seconds that Level 1 waits after a failure of its model, at most each time, and in all before the session pauses."""
BACKUP_TRIALS = 10


class Session:
    """One session, over parts that were opened for it."""

    def __init__(
        self,
        journal: Journal,
        asker: Asker,
        runs: Runs,
        inner: InnerLoop,
        boundary: SessionBoundary,
        workshop: Workshop,
        notifier: Notifier,
    ) -> None:
        self.journal = journal
        self.asker = asker
        self.runs = runs
        self.inner = inner
        self.boundary = boundary
        self.workshop = workshop
        self.notifier = notifier
        self.measuring = Measuring(journal, runs, boundary)
        self.strategist = Strategist(journal, asker)
        self.researcher = Researcher(journal, asker, workshop)
        self.editing = Editing(journal, workshop, self.researcher.course)
        runs.room.leaving = lambda: boundary.ending is not None
        boundary.waits_for = lambda: self.strategy_due() or self.research_due()

    async def run(self) -> None:
        """To the end, or until the task is cancelled. A failure is recorded as the session's state."""
        watching = asyncio.create_task(self.runs.room.watch())
        try:
            await self._back_up()
            await self._phases()
        except SessionFailed as error:
            await self._state("failed", str(error))
        except NoRoom as error:
            await self._state("finished", f"{self.boundary.ending}; {error}", "person")
        except (BilevelError, OSError) as error:
            log.exception("the session cannot go on")
            await self._state("failed", str(error))
        finally:
            watching.cancel()
        self.notifier.tell(f"{self.journal.view.status}: {self.journal.view.status_reason}")

    async def _phases(self) -> None:
        view = self.journal.view
        await self.measuring.baseline()
        if self.boundary.ending is None and view.phase != "confirmation":
            await self._search()
        reason = self.boundary.ending or "all trials are done"
        if view.settings.confirm and not self.boundary.stopped_by_person:
            await self.measuring.confirmation()
        if self.boundary.stopped_by_person:
            reason = self.boundary.ending or reason
        await self._state("finished", reason, "person" if self.boundary.stopped_by_person else "engine")

    async def _state(self, status: str, reason: str, by: str = "engine") -> None:
        await self.journal.record(StateChanged(status=status, reason=reason, by=by))  # type: ignore[arg-type]

    # --- the search ---------------------------------------------------------------------------------------------------
    async def _search(self) -> None:
        """The levels as tasks, until Level 1 says that the search is over."""
        await self.measuring.phase("search")
        await self.boundary.inject()
        try:
            await self._levels()
        except ExceptionGroup as failed:  # the others are cancelled when one fails, so there is one
            raise failed.exceptions[0] from failed

    async def _levels(self) -> None:
        view = self.journal.view
        async with asyncio.TaskGroup() as group:
            watching = Watching(self.journal, self.workshop.folder, self.editing)
            others = [group.create_task(self._keep_record()), group.create_task(watching.run())]
            if "1.5" in view.settings.levels:
                others.append(group.create_task(self._outer("1.5", self.strategy_due, self._decide_strategy)))
            if "2" in view.settings.levels:
                others.append(group.create_task(self._level2()))
            await self._level1()
            for task in others:
                task.cancel()

    async def _level1(self) -> None:
        """The trial loop; a failing model is waited for, then the session pauses until a person resumes it."""
        view = self.journal.view
        if view.running is not None and view.running.started.role == "search":
            await self.inner.take_up(view.running.started)
        while view.trials_left() and (known := await self._unrecorded()):
            await self.inner.take_up(known)
        waited, wait, completed = 0.0, FIRST_WAIT, view.completed
        while True:
            try:
                return await self.inner.run()
            except BudgetExhausted as error:
                return self.boundary.end(str(error))
            except (ModelError, AnswerError) as error:
                if view.completed > completed:
                    waited, wait, completed = 0.0, FIRST_WAIT, view.completed
                if waited >= PATIENCE:
                    await self._state("paused", f"the model failed for {waited:.0f} s: {error}")
                    self.notifier.tell(f"paused, the model fails: {error}")
                    waited, wait = 0.0, FIRST_WAIT
                    continue
                pause = wait * random.uniform(0.5, 1.0)
                await self.journal.record(LevelBackedOff(level="1", wait=round(pause, 1), reason=str(error)))
                await self.boundary.pause_or_end(pause)
                waited, wait = waited + pause, min(2 * wait, LONGEST_WAIT)

    async def _unrecorded(self) -> TrialStarted | None:
        """The next trial, where it has trained already and a restored record does not know it."""
        number = self.journal.view.completed + 1
        return await self.runs.unrecorded(f"trial-{number}", number)

    async def _outer(self, level: Level, due: Callable[[], bool], work: Callable[[], Awaitable[object]]) -> None:
        """An outer level: whenever its turn has come, its work; a failure skips the turn."""
        while True:
            while not (due() and (self.boundary.held or not self.journal.view.settings.lockstep)):
                await self.journal.changed()
            trial = self.journal.view.completed
            try:
                await work()
            except Exception as error:  # the model's, a full disk's or our own: no ground to end a session
                log.warning("level %s skips its turn", level, exc_info=not isinstance(error, BilevelError))
                await self.journal.record(LevelSkipped(level=level, trial=trial, reason=str(error)))
                if isinstance(error, BudgetExhausted):
                    return self.boundary.end(str(error))

    async def _decide_strategy(self) -> None:
        await self.strategist.decide()

    async def _level2(self) -> None:
        """Settle what an earlier engine left waiting or cut short, then research whenever it is due."""
        view = self.journal.view
        if view.waiting is not None:
            await self.workshop.taken_up()
        for research in [research for research in view.researches.values() if research.finished is None]:
            if research.finished is not None:  # called off while another was closed
                continue
            if research.decided is None:  # a turn that was not taken: it is due again
                outcome, reason = "failed", "the engine ended in the middle of it"
            else:
                outcome, told = come_to(research.decided)
                reason = f"{research.decided.name}: {told}"
            finished = ResearchFinished(research=research.number, outcome=outcome, reason=reason)  # type: ignore[arg-type]
            await self.journal.record(finished)
        await self._outer("2", self.research_due, self.researcher.research)

    def strategy_due(self) -> bool:
        """Whether a cycle is complete on which Level 1.5 has not decided."""
        view = self.journal.view
        return (
            "1.5" in view.settings.levels
            and view.trials_left() > 0
            and view.completed // CYCLE > view.strategy_due_after // CYCLE
        )

    def research_due(self) -> bool:
        """Whether two cycles are complete on which Level 2 has not researched."""
        view = self.journal.view
        return (
            "2" in view.settings.levels
            and view.trials_left() > 0
            and view.completed // RESEARCH > view.research_due_after // RESEARCH
        )

    async def _keep_record(self) -> None:
        """After each trial a checkpoint, now and then a backup: what keeps the record small and safe."""
        done, hindered = self.journal.view.completed, False
        while True:
            await self.journal.changed()
            completed = self.journal.view.completed
            if completed == done:
                continue
            done = completed
            try:
                kept = await self.journal.store.checkpoint()
            except RecordError as error:
                log.warning("the record could not be tidied: %s", error)
                continue
            if done % BACKUP_TRIALS == 0:
                await self._back_up()
            if not kept and not hindered:
                megabytes = self.journal.store.wal_bytes / 1e6
                text = f"a long reader keeps the record's log from being emptied: it has {megabytes:.1f} MB and grows"
                await self.journal.record(Noted(severity="warning", text=text))
            hindered = not kept

    async def _back_up(self) -> None:
        """Renew the backup; without it the session goes on, and the elder one stays."""
        try:
            await rolling_backup(self.journal.store)
        except (RecordError, OSError) as error:
            log.warning("the record was not backed up: %s", error)
