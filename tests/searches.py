"""A search without a trainer: a real record, real mechanism hosts, the real chain and Level 1, metrics by the test.

    async with search(tmp_path) as s:
        await s.inject("halver", "def suggest(self, view): ...")
        s.runs.metrics = [3.9, 4.2]
        await s.go(2)

The baseline has run three times (4.00, 4.02, 3.98). The model answers what it is given by `purpose`; where nothing is
left for a trial, it proposes another LR. A run without a metric of its own gives 4.5, which is never kept.
"""

import contextlib
import hashlib
import json
import textwrap
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from engine.levels.inner import InnerLoop
from engine.levels.protocols import Watch
from engine.mechanism.chain import Chain
from engine.model.asking import Asker, Budget
from engine.model.client import Prompt, Reply, Retried
from engine.record import events as ev
from engine.record.journal import Journal
from engine.record.settings import Settings
from engine.record.store import Store
from engine.record.view import View
from engine.search.parameters import Config, Parameter, Space, space_to_json
from engine.search.proposals import Proposal
from engine.search.trials import Trial
from engine.session.boundary import SessionBoundary
from engine.session.notify import Notifier
from engine.session.workshop import Workshop
from engine.training.judging import RunResult
from engine.training.output import Progress

SPACE = Space(
    {
        "BATCH": Parameter("BATCH", "int", 1024, 16, 65536, log=True, meaning="tokens a step"),
        "LR": Parameter("LR", "float", 0.1, 0.0001, 1.0, log=True, meaning="step size"),
        "WD": Parameter("WD", "float", 0.2, 0.0, 1.0),
        "MODE": Parameter("MODE", "choice", "a", choices=("a", "b")),
        "BETAS": Parameter("BETAS", "tuple", [0.8, 0.95], [0.5, 0.8], [0.99, 0.999]),
        "DEPTH": Parameter("DEPTH", "int", 4, 1, 8, locked=True),
    }
)


def mechanism(name: str, body: str) -> str:
    """The source of a mechanism with this name and these methods."""
    head = f'class Mechanism:\n    name = "{name}"\n    purpose = "It tests."\n    source = "own"\n'
    filler = "" if "def suggest" in body else "\n    def suggest(self, view):\n        return None\n"
    return head + textwrap.indent(textwrap.dedent(body).strip("\n"), "    ") + "\n" + filler


def proposing(*proposals: dict[str, Any]) -> str:
    """A model's answer with these ranked proposals."""
    return json.dumps({"proposals": [{"hypothesis": "it should help", **proposal} for proposal in proposals]})


class Answers:
    """A model that gives the answers it was given, by purpose; an exception is raised, not said."""

    name, stand_in = "scripted", False

    def __init__(self) -> None:
        self.by_purpose: defaultdict[str, list[str | Exception]] = defaultdict(list)
        self.prompts: list[Prompt] = []
        self._proposed = 0

    async def complete(self, prompt: Prompt, retried: Retried) -> Reply:
        self.prompts.append(prompt)
        ready = self.by_purpose[prompt.purpose]
        if not ready and prompt.purpose == "propose":
            self._proposed += 1
            ready.append(proposing({"changes": {"LR": 0.1 * 0.97**self._proposed}}))
        answer = ready.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Reply(answer, self.name, 10, 5, 0.1, "stop")

    async def close(self) -> None:
        """Nothing to close."""

    def asked(self, index: int = -1) -> str:
        """The first user message of a prompt."""
        return str(self.prompts[index].messages[1]["content"])


class Runs:
    """Training runs that give the next of `metrics` (None: a crash), after one line of progress."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.metrics: list[float | None] = []
        self.curve = [(0.5, 3.0)]

    async def prepare(self, proposal: Proposal) -> ev.TrialStarted:
        return started(self.journal.view.completed + 1, proposal)

    async def execute(self, started: ev.TrialStarted, watch: Watch | None = None) -> RunResult:
        await self.journal.record(started)
        reason = await watch(started, Progress(4, 0.5, 3.0, 1000.0)) if watch else None
        if reason:
            return RunResult("stopped", reason)
        metric = self.metrics.pop(0) if self.metrics else 4.5
        return RunResult("crash" if metric is None else "ended", metric=metric, curve=self.curve, steps=8)

    async def settle(self, started: ev.TrialStarted, finished: ev.TrialFinished) -> None:
        """There is no workspace."""

    def script(self, base: int | None) -> str:
        history = self.journal.view.history
        config = history.trials[history.incumbent if base is None else base].config
        return "".join(f"{name} = {value!r}\n" for name, value in config.items())


def started(number: int, proposal: Proposal, run: str = "", role: ev.Role = "search") -> ev.TrialStarted:
    return ev.TrialStarted(
        run=run or f"trial-{number}",
        role=role,
        number=number,
        attempt=1,
        token="t",
        commit="c",
        config=proposal.config,
        seed=number,
        base=proposal.base if role == "search" else None,
        replicate=proposal.replicate,
        changes=proposal.changes,
        hypothesis=proposal.hypothesis,
        proposed_by=proposal.proposed_by,
        edited_by=list(proposal.edited_by),
        prediction=proposal.prediction,
        overridden=proposal.overridden,
    )


@dataclass
class Search:
    """One search; `view` is where it stands."""

    journal: Journal
    model: Answers
    asker: Asker
    runs: Runs
    chain: Chain
    workshop: Workshop
    boundary: SessionBoundary
    inner: InnerLoop

    @property
    def view(self) -> View:
        return self.journal.view

    @property
    def last(self) -> Trial:
        """The last completed trial."""
        return self.view.history.trials[self.view.completed]

    async def go(self, trials: int = 1) -> None:
        """So many trials more."""
        await self.journal.record(ev.BudgetExtended(trials=self.view.completed + trials))
        self.boundary.ending = None
        await self.inner.run()

    async def inject(self, name: str, body: str, replaces: str | None = None) -> str:
        """Let a mechanism with these methods in; its hash."""
        written, source = self.written(name, mechanism(name, body), replaces)
        decided = ev.InjectionDecided(hash=written.hash, name=name, decision="approved", by="person")
        await self.journal.record(written, decided, blobs=[source.encode()])
        await self.boundary.inject()
        return written.hash

    @staticmethod
    def written(name: str, source: str, replaces: str | None = None) -> tuple[ev.MechanismWritten, str]:
        """The event that a source was written, and the source."""
        digest = hashlib.sha256(source.encode()).hexdigest()
        told = {"purpose": "It tests.", "source": "own", "written_by": "model", "path": f"/m/{name}.py", "research": 1}
        return ev.MechanismWritten(hash=digest, name=name, replaces=replaces, **told), source  # type: ignore[arg-type]

    def acts(self, name: str) -> list[tuple[int, str]]:
        """(trial, hook) of everything that mechanisms of this name did."""
        known = [known for known in self.view.mechanisms.values() if known.name == name]
        return [(act.trial, act.hook) for mechanism in known for act in mechanism.acts]

    def refusals(self, by: str) -> list[str]:
        """The reasons of what was refused to a proposer."""
        return [refused.reason for refused in self.view.refused_proposals if refused.by == by]

    def parameter(self, name: str, prompt: int = -1) -> dict[str, Any]:
        """A parameter's line in a proposal prompt."""
        text = self.model.asked(prompt).split("```jsonl parameters\n")[1].split("\n```")[0]
        return next(row for row in map(json.loads, text.splitlines()) if row["name"] == name)  # type: ignore[no-any-return]


def baseline(metrics: Sequence[float] = (4.0, 4.02, 3.98)) -> list[ev.Event]:
    """The baseline's runs."""
    start = Proposal(0, SPACE.initial, {}, "", "engine")
    events: list[ev.Event] = [ev.PhaseStarted(phase="baseline")]
    for index, metric in enumerate(metrics, 1):
        run = f"baseline-{index}"
        events.append(started(0, start, run, "baseline"))
        told: dict[str, Any] = {"role": "baseline", "number": 0, "attempt": 1, "status": "keep", "incumbent": 0}
        events.append(ev.TrialFinished(run=run, metric=metric, seconds=1.0, **told))
    return [*events, ev.PhaseStarted(phase="search")]


def created(space: Space = SPACE, direction: str = "minimize", **settings: Any) -> ev.SessionCreated:
    """A session's first event."""
    target = {"name": "toy", "searched": "train.py", "metric": {"name": "val_bpb", "direction": direction}}
    chosen = msgspec.to_builtins(Settings(target="/t", profile="cpu", **{"rehearsal": False, **settings}))
    return ev.SessionCreated(
        session="s1", version="1", settings=chosen, target=target, space=space_to_json(space), model="m", stand_in=False
    )


@contextlib.asynccontextmanager
async def search(folder: Path, space: Space = SPACE, **settings: Any) -> AsyncIterator[Search]:
    """A search whose baseline has run; its record is `folder`/sessions.db."""
    store = await Store.open(folder / "sessions.db")
    journal = Journal(store, "s1", View())
    (folder / "hosts").mkdir()
    workshop = Workshop(journal, folder / "mechanisms" / "s1", folder / "hosts", Notifier(None, "s1"))
    model, runs, chain = Answers(), Runs(journal), Chain(journal, workshop.open_host)
    boundary = SessionBoundary(journal, chain, [])
    asker = Asker(model, lambda event, blobs: journal.record(event, blobs=blobs), Budget(None, None), None, None)
    inner = InnerLoop(journal, asker, runs, chain, boundary)
    try:
        await journal.record(created(space, **settings), *(baseline() if space is SPACE else ()))
        yield Search(journal, model, asker, runs, chain, workshop, boundary, inner)
    finally:
        await chain.close()
        await store.close()


def config(**changes: Any) -> Config:
    """The baseline's configuration with changes."""
    return {**SPACE.initial, **changes}
