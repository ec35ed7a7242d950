"""From a plan to a session that runs: lock, database, workspace, model; for a new session or one taken up again.

The plan is what the launcher hands over, as JSON: {"new": settings, "session": id}, or {"resume": id} with an optional
"extend": {"trials": n, ...}. A session that is taken up is folded from its events, its target from its own description:
what changed in the target's directory since then does not touch it. Errors before the session runs are raised; from
then on they are recorded.
"""

import asyncio
import ctypes
import hashlib
import logging
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import msgspec

from engine.control import ControlServer, socket_path
from engine.errors import InputError
from engine.levels.inner import InnerLoop
from engine.mechanism.chain import Chain
from engine.mechanism.failures import MechanismError
from engine.mechanism.sandbox import probe_sandbox
from engine.model.asking import Asker, Budget
from engine.model.client import Model, model_from_settings
from engine.model.recorded import RecordedModel, recorded_calls
from engine.record.archive import take_over
from engine.record.events import (
    BudgetExtended,
    EngineStarted,
    Noted,
    PhaseStarted,
    SessionCreated,
    StateChanged,
)
from engine.record.head import located
from engine.record.journal import Journal
from engine.record.lock import EngineLock
from engine.record.origin import by_stand_in
from engine.record.reader import Reader
from engine.record.recovery import open_or_recover
from engine.record.settings import Settings, replayed
from engine.record.view import View, fold
from engine.search.parameters import space_to_json
from engine.session.boundary import SessionBoundary
from engine.session.commands import Commands
from engine.session.leftovers import swept
from engine.session.notify import Notifier
from engine.session.session import Session
from engine.session.workshop import Workshop
from engine.training.processes import boot_id
from engine.training.results import Result
from engine.training.runs import Runs
from engine.training.target import Target, describe, load_target, target_from_description
from engine.training.workspace import Workspace

log = logging.getLogger(__name__)
PR_SET_DUMPABLE = 4


@dataclass(frozen=True)
class Places:
    """Where a session's run-time files lie, beside the database."""

    db: Path
    session: str

    @property
    def folder(self) -> Path:
        """Workspace, logs, attempts."""
        return self.db.parent / ".bilevel" / self.session

    @property
    def mechanisms(self) -> Path:
        """What Level 2 wrote, for a person to read and edit."""
        return self.db.parent / "mechanisms" / self.session


@dataclass
class Opened:
    """A session that is ready to run, and what it is controlled by."""

    session: Session
    journal: Journal
    runs: Runs
    commands: Commands


class Startup:
    """Opens one session. `stack` closes everything again, in the right order."""

    def __init__(self, db: Path, plan: Mapping[str, Any], environ: Mapping[str, str], stack: AsyncExitStack) -> None:
        self.db = located(db)
        self.plan = plan
        self.environ = environ
        self.stack = stack
        self.name: str = plan.get("session") or plan["resume"]
        self.places = Places(self.db, self.name)
        self.notes: list[str] = []

    async def open(self) -> Opened:
        """Everything up to a session that can run; from here on the control socket answers."""
        keep_secrets()
        self.db.parent.mkdir(parents=True, exist_ok=True)
        lock = self.stack.enter_context(EngineLock(self.db))
        socket = socket_path(self.db, self.name, self.environ)
        lock.acquire(self.name, socket)
        store = await open_or_recover(self.db, self.notes.append)
        for note in self.notes:
            log.warning("%s", note)
        self.stack.push_async_callback(store.close)
        view = View()
        journal = Journal(store, self.name, view)
        if "new" in self.plan:
            target, workspace, model, fixed = await self._create(journal)
        else:
            target, workspace, model, fixed = await self._take_up(journal)
        self.stack.push_async_callback(model.close)
        await self._announce(journal)
        return await self._assemble(journal, target, workspace, model, fixed, socket)

    # --- a new session ------------------------------------------------------------------------------------------------
    async def _create(self, journal: Journal) -> tuple[Target, Workspace, Model, dict[str, str]]:
        settings = msgspec.convert(self.plan["new"], Settings)
        model = self._model(settings)
        target = load_target(
            Path(settings.target),
            settings.profile,
            seconds=settings.seconds,
            flops=settings.flops,
            initial=settings.initial or None,
        )
        self._asker(model, settings, journal, View())  # refuses a budget in money without prices
        place = self.places.folder / "workspace"
        if place.exists():
            shutil.rmtree(place)  # of a creation that was cut short before its first event
        workspace = await Workspace.create(place, target)
        fixed = workspace.hashes()
        created = SessionCreated(
            session=self.name,
            version=_version(),
            settings=msgspec.to_builtins(settings),
            target={**describe(target), "fixed_sha256": fixed, "searched_sha256": _searched_hash(target)},
            space=space_to_json(target.space),
            model=model.name,
            stand_in=model.stand_in,
        )
        archive, blobs, trouble = await asyncio.to_thread(take_over, self.db, fold([(1, time.time(), created)]))
        self.notes += trouble
        engine = EngineStarted(pid=os.getpid(), boot_id=boot_id(), sandbox=await self._sandbox())
        await journal.record(created, engine, *archive, blobs=blobs)
        return target, workspace, model, fixed

    # --- a session taken up again -------------------------------------------------------------------------------------
    async def _take_up(self, journal: Journal) -> tuple[Target, Workspace, Model, dict[str, str]]:
        view = journal.view
        with Reader(self.db) as reader:
            fold(((row.seq, row.time, row.event) for row in reader.events(self.name)), view)
        if not view.created:
            repaired = "".join(f"{note}. " for note in self.notes)
            raise InputError(f"{repaired}the record holds no session {self.name}: `bilevel sessions` lists them")
        description = dict(view.target)
        fixed = description.pop("fixed_sha256")
        description.pop("searched_sha256", None)
        target = target_from_description(description)
        workspace = await Workspace.open(self.places.folder / "workspace", target)
        model = self._model(view.settings)
        sandbox = await self._sandbox()
        await journal.record(EngineStarted(pid=os.getpid(), boot_id=boot_id(), sandbox=sandbox, resumed=True))
        await self._reopen(journal)
        self._tidy(view, workspace)
        if view.running is None and 0 in view.history.trials:
            await workspace.keep(view.history.trials[view.history.incumbent].commit)
        return target, workspace, model, fixed

    async def _reopen(self, journal: Journal) -> None:
        """Bring a finished, paused or failed session back to running; give it more where the plan says so."""
        view = journal.view
        extend = self.plan.get("extend")
        if extend:
            await journal.record(BudgetExtended(**extend))
        if view.status == "finished" and view.trials_left() == 0:
            raise InputError(
                f"session {self.name} is finished: give it more with `bilevel extend {self.name} --trials N`"
            )
        if view.status == "finished" or (extend and view.phase == "confirmation"):
            await journal.record(PhaseStarted(phase="search"))
        if view.status != "running":
            reason = "it was given more" if extend else "it was taken up again"
            await journal.record(StateChanged(status="running", reason=reason, by="person"))

    def _tidy(self, view: View, workspace: Workspace) -> None:
        """results.tsv anew from the record."""
        workspace.write_results(
            Result(
                trial.commit,
                trial.metric,
                None if trial.peak_memory_mb is None else trial.peak_memory_mb / 1024,
                trial.status,
                trial.hypothesis or "baseline",
            )
            for trial in view.history
        )

    async def _sandbox(self) -> str:
        """The level that a mechanism's host reaches on this machine, tested by starting one; "" when none starts."""
        try:
            return (await probe_sandbox()).level
        except MechanismError as error:
            self.notes.append(f"no mechanism can run, as their host cannot be started: {error}")
            return ""

    # --- parts --------------------------------------------------------------------------------------------------------
    def _model(self, settings: Settings) -> Model:
        asked, recorded = replayed(settings.model), None
        if asked is not None:
            with Reader(self.db) as reader:
                session = reader.resolve(asked)
                recorded = RecordedModel(recorded_calls(reader, session), asked, by_stand_in(reader, session))
        return model_from_settings(settings, self.environ, recorded)

    def _asker(self, model: Model, settings: Settings, journal: Journal, view: View) -> Asker:
        if settings.max_cost is not None and settings.level_models:
            raise InputError(
                "a budget in money takes one model for all levels: leave out level_models, or limit tokens"
            )
        budget = Budget(settings.max_cost, settings.max_tokens, view.cost or 0.0, view.tokens_in + view.tokens_out)
        free = model.stand_in or replayed(settings.model) is not None
        prices = (0.0, 0.0) if free else (settings.price_in, settings.price_out)
        return Asker(model, lambda event, blobs: journal.record(event, blobs=blobs), budget, *prices)

    async def _announce(self, journal: Journal) -> None:
        """Say what was repaired, and what other sessions of this database left running."""
        for text in [*self.notes, *swept(self.db, self.name)]:
            await journal.record(Noted(severity="warning", text=text))

    async def _assemble(
        self,
        journal: Journal,
        target: Target,
        workspace: Workspace,
        model: Model,
        fixed: dict[str, str],
        socket: Path,
    ) -> Opened:
        view = journal.view
        attempts = self.places.folder / "runs"
        attempts.mkdir(parents=True, exist_ok=True)
        asker = self._asker(model, view.settings, journal, view)
        notifier = Notifier(view.settings.notify, self.name)
        runs = Runs(journal, target, workspace, attempts, fixed)
        hosts = self.places.folder / "hosts"
        hosts.mkdir(exist_ok=True)
        workshop = Workshop(journal, self.places.mechanisms, hosts, notifier)
        chain = Chain(journal, workshop.open_host)
        self.stack.push_async_callback(chain.close)
        boundary = SessionBoundary(journal, chain, [lambda: asker.budget.exhausted])
        if target.profile == "cpu":
            workshop.machine = boundary.machine
        inner = InnerLoop(journal, asker, runs, chain, boundary)
        session = Session(journal, asker, runs, inner, boundary, workshop, notifier)
        commands = Commands(journal, boundary, runs, workshop, session.researcher.course, session.editing)
        self.stack.push_async_callback(session.editing.close)
        server = ControlServer(socket, commands.handle)
        await server.start()
        self.stack.push_async_callback(server.close)
        return Opened(session, journal, runs, commands)


def keep_secrets() -> None:
    """No process of the same user may read this one's memory or environment: it holds the model's key."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        log.warning("the engine's memory could not be closed to other processes of this user")


def _searched_hash(target: Target) -> str:
    """The SHA-256 of the searched script as it lies in the target's directory, before anything was written into it."""
    return hashlib.sha256((target.root / target.searched).read_bytes()).hexdigest()


def _version() -> str:
    try:
        return version("bilevel")
    except PackageNotFoundError:
        return "0"
