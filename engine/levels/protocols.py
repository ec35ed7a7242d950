"""What a level stands on, as small protocols, so that a test can hand it others.

Journal   records events and holds the view that they fold into
Model     asks the model and returns parsed, valid answers
Runs      carries a training run out and keeps the workspace
Chain     the active mechanisms: each hook is asked here, and what it changed is recorded
Boundary  the place between two trials: pause, end, injections
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from engine.record.events import Event, Level, TrialFinished, TrialStarted
from engine.record.view import View
from engine.search.proposals import Proposal, Reviewed, Steering
from engine.search.trials import Trial
from engine.training.judging import RunResult
from engine.training.output import Progress

T = TypeVar("T")
Watch = Callable[[TrialStarted, Progress], Awaitable[str | None]]


class Journal(Protocol):
    """The record of the session that runs."""

    view: View

    async def record(self, *events: Event, blobs: Sequence[bytes] = ()) -> None:
        """Return once the events are on disk and folded into the view."""

    async def changed(self) -> None:
        """Wait until something was recorded."""

    async def blob(self, digest: str) -> bytes:
        """A blob of the record. Raises RecordError when it is not there."""


class Model(Protocol):
    """The model, as a level asks it."""

    async def ask(self, level: Level, purpose: str, messages: list[dict[str, str]], parse: Callable[[str], T]) -> T:
        """The parsed answer. Raises AnswerError, ModelError or BudgetExhausted when there is none."""


class Runs(Protocol):
    """Training runs in the session's workspace."""

    async def prepare(self, proposal: Proposal) -> TrialStarted:
        """Commit the proposal's script and say what is about to run; nothing is recorded or spawned yet."""

    async def execute(self, started: TrialStarted, watch: Watch | None = None) -> RunResult:
        """Record the start, train, and return what came of it; takes up a run that goes on already."""

    async def settle(self, started: TrialStarted, finished: TrialFinished) -> None:
        """Bring the workspace in line with the decision: the branch at the incumbent, results.tsv."""

    def script(self, base: int | None) -> str:
        """The searched script with the configuration of a trial (None: the incumbent)."""


class Chain(Protocol):
    """The active mechanisms in order of injection. A mechanism that fails is recorded and passed over."""

    async def suggest(self, number: int) -> Proposal | None:
        """A valid suggestion for this trial, if a mechanism has one."""

    async def steer(self, number: int) -> Steering:
        """What the mechanisms ask of the model's next proposal, merged."""

    async def advise(self, number: int) -> list[tuple[str, str]]:
        """(mechanism, text) for the prompt."""

    async def choose(self, number: int, proposals: Sequence[Proposal]) -> int:
        """Which of the model's ranked proposals to take: 0 unless a mechanism has another opinion."""

    async def review(self, number: int, proposal: Proposal) -> Reviewed:
        """The proposal after every review."""

    async def accept(self, trial: Trial, rule: bool) -> tuple[bool, str]:
        """Whether the trial is kept, and who decided: "rule", or the mechanism that reversed it."""

    async def watch(self, started: TrialStarted, progress: Progress) -> str | None:
        """A reason to stop the trial that runs now."""

    async def observe(self, trial: Trial) -> None:
        """Tell every mechanism of a completed trial, and record what was called for it."""


class Boundary(Protocol):
    """Between two trials."""

    machine: asyncio.Lock
    """Held while a trial trains."""

    async def crossed(self) -> bool:
        """Wait while the session is paused, let decided injections in; False when no further trial may start."""

    def turn(self) -> AbstractAsyncContextManager[bool]:
        """The machine for one training run, once the session is open; False when it ended before that."""
