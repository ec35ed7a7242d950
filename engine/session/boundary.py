"""The boundary between two trials: where a session pauses, ends, and lets decided injections in.

What a person or an outer level decides about the search takes effect here, between two trials; only a mechanism that is
taken out, a trial that is killed and `stop --now` do so at once.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from engine.record.events import LevelActivity, MechanismActivated
from engine.record.journal import Journal
from engine.record.view import Mechanism


class Membership(Protocol):
    """The part of the chain that is needed here."""

    async def sync(self) -> None:
        """Bring the hosts in line with the view."""


class SessionBoundary:
    """The boundary of one session. `ending` is the reason once no further trial may start."""

    def __init__(self, journal: Journal, chain: Membership, limits: Sequence[Callable[[], str | None]]) -> None:
        self.journal = journal
        self.chain = chain
        self.machine = asyncio.Lock()
        self.ending: str | None = None
        self.stopped_by_person = False
        self.waits_for: Callable[[], bool] = lambda: False
        """Whether an outer level has yet to decide; asked only in lockstep."""
        self.held = False
        """Whether the search waits here: in lockstep the outer levels begin then, once a trial is concluded."""
        self._limits = limits
        self._began = time.monotonic() - journal.view.active_seconds

    async def crossed(self) -> bool:
        """Wait while the session is paused, let decided injections in; False when no further trial may start."""
        while True:
            if self.ending is None:
                self.ending = self._limit_reached()
            if self.ending is not None:
                return False
            view = self.journal.view
            if view.status != "paused" and not (view.settings.lockstep and self.waits_for()):
                break
            if not self.held:
                self.held = True
                self.journal.wake()
            await self.journal.changed()
        self.held = False
        await self.inject()
        return True

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """The machine for one training run, once the session is open; False when it ended before that.

        A rehearsal may have the machine for a while: what a person decided meanwhile holds.
        """
        while await self.crossed():
            async with self._machine_awaited():
                if self.ending is None and self.journal.view.status != "paused":
                    yield True
                    return
        yield False

    @asynccontextmanager
    async def _machine_awaited(self) -> AsyncIterator[None]:
        """The machine; while another has it, a word to those who watch that Level 1 waits for it."""
        waits = self.machine.locked()  # Level 1 trains one run after the other, so it can only be a rehearsal
        if waits:
            told = f"waits with trial {self.journal.view.completed + 1}: a rehearsal has the machine"
            await self.journal.record(LevelActivity(level="1", activity=told))
        async with self.machine:
            if waits:
                await self.journal.record(LevelActivity(level="1"))
            yield

    async def inject(self) -> None:
        """Activate what was approved, and end the hosts of what was taken out."""
        view = self.journal.view
        for mechanism in list(view.mechanisms.values()):
            if mechanism.status == "approved":
                replaces = self._elder(mechanism)
                await self.journal.record(
                    MechanismActivated(
                        hash=mechanism.hash, name=mechanism.name, trial=view.completed, replaces=replaces
                    )
                )
        await self.chain.sync()

    def _elder(self, mechanism: Mechanism) -> str | None:
        """What a mechanism replaces: what it says, or else its namesake, as trials and refusals go by the name."""
        active = self.journal.view.active
        if mechanism.replaces in active:
            return mechanism.replaces
        known = self.journal.view.mechanisms
        return next((digest for digest in active if known[digest].name == mechanism.name), None)

    def end(self, reason: str, by_person: bool = False) -> None:
        """No further trial starts. The first reason holds, but a person's stop goes before every other."""
        if self.ending is None or (by_person and not self.stopped_by_person):
            self.ending, self.stopped_by_person = reason, by_person
        self.journal.wake()

    async def pause_or_end(self, seconds: float) -> None:
        """Sleep, but no longer than until the session ends."""
        try:
            async with asyncio.timeout(seconds):
                while self.ending is None:
                    await self.journal.changed()
        except TimeoutError:
            return

    def _limit_reached(self) -> str | None:
        view = self.journal.view
        settings = view.settings
        if view.trials_left() == 0:
            return "the one trial is done" if settings.trials == 1 else f"all {settings.trials} trials are done"
        # Active time is told by the wall clock; where that jumps ahead, the session is no older than its engine knows.
        active = min(view.active_seconds, time.monotonic() - self._began)
        if settings.hours is not None and active >= settings.hours * 3600:
            return f"{settings.hours:g} hours are over"
        return next((reason for limit in self._limits if (reason := limit())), None)
