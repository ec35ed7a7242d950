"""One rehearsed search: the real Level 1 and the real chain, in a world where a run takes no time.

Replaced are the record (a view in memory), the trainer (a function of the configuration, with noise and failures), the
model (proposals as it has made them so far) and the boundary (which ends after the horizon). Everything else is what
the engine does: turns, reviews, overrides, steering, acceptance, the mechanism's host in its cage, and what takes a
mechanism out. Level 1.5 does not decide: its freezes stay as they are. `advise` is not asked, as what the text would do
to a model cannot be told, nor `watch`, as there is no training to watch.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import numpy as np

from engine.levels.inner import InnerLoop
from engine.levels.protocols import Watch
from engine.mechanism.chain import Chain
from engine.mechanism.client import MechanismHost
from engine.record.events import BudgetExtended, Event, MechanismActivated, TrialFinished, TrialStarted
from engine.record.folding import apply
from engine.record.seeking import copied
from engine.record.view import Mechanism, View
from engine.rehearsal.proposing import Habits, Proposer
from engine.search.parameters import Config
from engine.search.proposals import Proposal
from engine.training.judging import RunResult

OpenHost = Callable[[Mechanism], Awaitable[MechanismHost]]


@dataclass(frozen=True)
class World:
    """What a run of a configuration gives. Two searches in one world differ by what they try alone.

    `value` is the metric without noise, `failure` how likely a run fails, `deviation` that of the noise; `seed` fixes
    the noise, the failures and the model's draws, trial by trial.
    """

    value: Callable[[Config], float]
    failure: Callable[[Config], float]
    deviation: float
    seed: Sequence[int]

    def draws(self, number: int, purpose: int) -> np.random.Generator:
        """The random numbers of a trial for one purpose."""
        return np.random.default_rng([*self.seed, number, purpose])


@dataclass
class Ended:
    """Where a search stands at its end: the value, without noise, of its best trial; what the mechanism did."""

    value: float
    acts: int = 0
    failures: int = 0


async def searched(
    view: View, world: World, habits: Habits, horizon: int, mechanism: str | None, open_host: OpenHost
) -> Ended:
    """The search from where `view` stands, `horizon` trials on; `mechanism` is the hash of the one that takes part."""
    before = 0 if mechanism is None else len(view.mechanisms[mechanism].failures)
    journal = Memory(beginning(view))
    view = journal.view
    await journal.record(BudgetExtended(trials=max(view.settings.trials, view.completed + horizon)))
    chain = Chain(journal, open_host)
    try:
        if mechanism is not None:
            name = view.mechanisms[mechanism].name
            await journal.record(MechanismActivated(hash=mechanism, name=name, trial=view.completed))
            await chain.sync()
        await Rehearsed(journal, world, habits, chain, view.completed + horizon).run()
    finally:
        await chain.close()
    best = view.history.best
    ended = Ended(world.value(best.config) if best is not None else float("nan"))
    if mechanism is not None:
        known = view.mechanisms[mechanism]
        ended.acts, ended.failures = known.acted, len(known.failures) - before
    return ended


def beginning(view: View) -> View:
    """A copy of the view for one rehearsed search: no mechanism is active, and none has acted, be it in the record."""
    copy = copied(view)
    copy.active, copy.running = [], None
    for mechanism in copy.mechanisms.values():
        mechanism.acts = []
    return copy


@dataclass
class Memory:
    """A journal that keeps nothing but its view."""

    view: View

    async def record(self, *events: Event, blobs: Sequence[bytes] = ()) -> None:
        """Fold the events into the view."""
        for event in events:
            apply(self.view, self.view.seq + 1, self.view.time, event)


@dataclass
class Runs:
    """Training runs that a world answers."""

    journal: Memory
    world: World

    async def prepare(self, proposal: Proposal) -> TrialStarted:
        """The start of the next trial."""
        number = self.journal.view.completed + 1
        return TrialStarted(
            run=f"trial-{number}",
            role="search",
            number=number,
            attempt=1,
            token="",
            commit="",
            config=proposal.config,
            seed=number,
            base=proposal.base,
            replicate=proposal.replicate,
            changes=proposal.changes,
            hypothesis=proposal.hypothesis,
            proposed_by=proposal.proposed_by,
            edited_by=list(proposal.edited_by),
            prediction=proposal.prediction,
            overridden=proposal.overridden,
        )

    async def execute(self, started: TrialStarted, watch: Watch | None = None) -> RunResult:
        """The result at once; what it took is what its base took."""
        await self.journal.record(started)
        draws = self.world.draws(started.number, 0)
        luck, noise = draws.random(), draws.standard_normal() * self.world.deviation
        if luck < self.world.failure(started.config):
            return RunResult("crash", "as such configurations did")
        base = self.journal.view.history.trials[started.base or 0]
        return RunResult(
            "ended",
            metric=float(self.world.value(started.config) + noise),
            seconds=base.seconds,
            steps=base.steps,
            tokens_per_second=base.tokens_per_second,
            peak_memory_mb=base.peak_memory_mb,
        )

    async def settle(self, started: TrialStarted, finished: TrialFinished) -> None:
        """There is no workspace."""

    def script(self, base: int | None) -> str:
        """Nobody reads it."""
        return ""


@dataclass
class Horizon:
    """A boundary that lets trials start until so many are completed."""

    view: View
    last: int
    machine: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def crossed(self) -> bool:
        """Whether another trial may start."""
        return self.view.completed < self.last

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[bool]:
        """The machine is always free."""
        yield True


class Asked:
    """No model is asked: `Rehearsed` draws what it would answer, without a prompt."""

    async def ask(self, *asked: object) -> object:
        """Never called."""
        raise AssertionError("a rehearsal asks no model")


class Rehearsed(InnerLoop):
    """Level 1 with drawn proposals in the model's place; the prompt, which costs more than the rest, is spared."""

    def __init__(self, journal: Memory, world: World, habits: Habits, chain: Chain, last: int) -> None:
        super().__init__(journal, Asked(), Runs(journal, world), chain, Horizon(journal.view, last))  # type: ignore[arg-type]
        self._world, self._habits = world, habits
        self._draws = (0, world.draws(0, 1))

    async def ask_the_model(self, number: int) -> Proposal:
        """A proposal as the model makes them, under the mechanism's steering, and chosen by it among its ranks."""
        steering = await self.chain.steer(number)
        proposer = Proposer(self._habits, self.journal.view, self._draws_of(number))
        proposals = proposer.draw(steering, self.validated)
        return proposals[await self.chain.choose(number, proposals)]

    def _draws_of(self, number: int) -> np.random.Generator:
        """The trial's own random numbers, which go on where the model is asked again for it."""
        if self._draws[0] != number:
            self._draws = number, self._world.draws(number, 1)
        return self._draws[1]
