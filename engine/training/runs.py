"""Training runs of a session: from what is to be trained to a judged result, whatever happens in between.

`execute` is the one path for a fresh run and for one that an earlier engine started: record the start, spawn, follow,
take the outcome from the supervisor's result.json, judge the output. An attempt that left no result is recorded as lost
and run again. Whether a result is kept is not decided here.
"""

import asyncio
import hashlib
import logging
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from msgspec.structs import replace

from engine.errors import BilevelError
from engine.record.events import (
    Event,
    Noted,
    Role,
    TrainerSpawned,
    TrialFinished,
    TrialLost,
    TrialProgress,
    TrialStarted,
)
from engine.record.view import View
from engine.search.parameters import Config
from engine.search.proposals import Proposal
from engine.training.attempts import Checked, find_ended, keep_check, keep_start, read_check, set_aside
from engine.training.environment import trainer_environment
from engine.training.judging import RunResult, judge
from engine.training.outcome import Outcome
from engine.training.output import Progress, read_log
from engine.training.processes import Spawned
from engine.training.room import Room, is_full
from engine.training.target import Target
from engine.training.trainer import RunSpec, Trainer
from engine.training.workspace import Workspace

log = logging.getLogger(__name__)
Watch = Callable[[TrialStarted, Progress], Awaitable[str | None]]
ATTEMPTS = 3
"""A run whose attempts were lost so often counts as a crash."""
HELD_OUT_ROLES = ("confirm_baseline", "confirm_best")
"""The first run of each also evaluates the held-out split; nothing is chosen by it."""


class Recorder(Protocol):
    """The part of the journal that is needed here."""

    view: View

    async def record(self, *events: Event, blobs: list[bytes] | tuple[bytes, ...] = ()) -> None:
        """Return once the events are on disk and in the view."""


class Runs:
    """Training runs in the session's workspace; one at a time."""

    def __init__(
        self, journal: Recorder, target: Target, workspace: Workspace, folder: Path, fixed: dict[str, str]
    ) -> None:
        """`folder` receives a folder for each attempt; `fixed` holds the SHA-256 of each fixed file."""
        self.journal = journal
        self.target = target
        self.workspace = workspace
        self.folder = folder
        self.fixed = fixed
        self.trainer = Trainer()
        self.current: TrialStarted | None = None
        self.room = Room(folder, journal.record)
        self._watched = 0.0

    # --- what is to run -----------------------------------------------------------------------------------------------
    async def prepare(self, proposal: Proposal) -> TrialStarted:
        """Commit a proposal's script as the next trial; nothing is recorded or spawned yet."""
        number = self.journal.view.completed + 1
        message = f"trial {number}: {_described(proposal)}\n\n{proposal.hypothesis}\n"
        commit = await self.room.repeat(lambda: self.workspace.prepare(number, proposal.config, message))
        return TrialStarted(
            run=f"trial-{number}",
            role="search",
            number=number,
            attempt=1,
            token=secrets.token_hex(16),
            commit=commit,
            config=proposal.config,
            seed=self._seed(f"trial-{number}"),
            base=proposal.base,
            replicate=proposal.replicate,
            changes=proposal.changes,
            hypothesis=proposal.hypothesis,
            proposed_by=proposal.proposed_by,
            edited_by=list(proposal.edited_by),
            prediction=proposal.prediction,
            overridden=proposal.overridden,
        )

    async def prepare_fixed(self, run: str, role: Role, number: int, config: Config) -> TrialStarted:
        """The same for another run of a trial's configuration (0: the baseline) that is no trial of the search."""
        if number == 0:
            commit = await self.room.repeat(lambda: self.workspace.prepare(0, config, ""))
        else:
            commit = self.journal.view.history.trials[number].commit
            await self.room.repeat(lambda: self.workspace.checkout(commit))
        return TrialStarted(
            run=run,
            role=role,
            number=number,
            attempt=1,
            token=secrets.token_hex(16),
            commit=commit,
            config=config,
            seed=self._seed(run),
        )

    async def unrecorded(self, run: str, number: int, config: Config | None = None) -> TrialStarted | None:
        """A run that trained without the record's knowledge, recorded again; None when there is none that fits.

        A restored backup may end before the run. It is used when it had ended and been checked, its seed is the one
        that this session draws, its commit holds exactly its configuration, and what it builds on is in the record.
        """
        started = await asyncio.to_thread(find_ended, self.folder, run)
        if started is None or (started.number, started.seed) != (number, self._seed(run)):
            return None
        known = self.journal.view.history.trials
        if any(trial is not None and trial not in known for trial in (started.base, started.replicate)):
            return None
        if config is not None and started.config != config:
            return None
        try:
            if await self.workspace.searched_source(started.commit) != self.workspace.render(started.config):
                return None
        except (BilevelError, ValueError):
            return None
        text = f"{run} had trained already, and the restored record did not know it: its result is used"
        await self.journal.record(started, Noted(severity="info", text=text))
        return started

    def script(self, base: int | None = None) -> str:
        """The searched script with the configuration of a trial (None: the incumbent)."""
        history = self.journal.view.history
        return self.workspace.render(history.trials[history.incumbent if base is None else base].config)

    def _seed(self, run: str) -> int:
        """A seed of 31 bits of its own for each run: the seed is no parameter, and no run can be lucky twice."""
        text = f"{self.journal.view.settings.seed}/{run}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1

    # --- running ------------------------------------------------------------------------------------------------------
    async def execute(self, started: TrialStarted, watch: Watch | None = None) -> RunResult:
        """Train what was prepared, or take up the run of that name that goes on already; the judged result.

        The start is recorded before the process is spawned, its identity after it, so that no run is lost or doubled.
        """
        self.current = started
        try:
            return await self._execute(started, watch)
        finally:
            self.current = None

    async def _execute(self, started: TrialStarted, watch: Watch | None) -> RunResult:
        running = self.journal.view.running
        resumed = running is not None and running.started.run == started.run
        while True:
            spec = self._spec(started)
            taken: Literal["running", "finished", "lost", "full"]
            if resumed and running is not None:
                taken = await self.trainer.adopt(spec, _spawned(running.spawned))
            else:
                await self.room.wait()
                await self.journal.record(started)
                taken = await self._start(spec, started)
            resumed = False
            outcome = Outcome("lost", "neither its processes nor a result were found", disk_full=taken == "full")
            if taken in ("running", "finished"):
                outcome = await self.trainer.wait(self._progress(started, watch))
            if outcome.disk_full and outcome.status in ("crash", "lost"):
                await self._lost(started, "the disk was full")
            elif outcome.status == "lost" and started.attempt < ATTEMPTS:
                await self._lost(started, outcome.reason)
            else:
                return await self._judge(started, spec, outcome)
            started = self.current = replace(started, attempt=started.attempt + 1, token=secrets.token_hex(16))
            await self.room.repeat(partial(self.workspace.checkout, started.commit))

    async def stop(self, reason: str) -> bool:
        """Stop the run that goes on; False when there is none."""
        if self.current is None:
            return False
        try:
            await self.trainer.stop(reason)
        except RuntimeError:  # it has not been spawned yet, or has just ended
            return False
        return True

    async def settle(self, started: TrialStarted, finished: TrialFinished) -> None:
        """Bring the workspace in line with the decision: the branch at the incumbent, a line in results.tsv."""
        incumbent = self.journal.view.history.trials.get(finished.incumbent)
        if incumbent is not None and incumbent.commit != self.workspace.tip:
            await self.room.repeat(lambda: self.workspace.keep(incumbent.commit))
        memory = None if finished.peak_memory_mb is None else finished.peak_memory_mb / 1024
        description = started.hypothesis or started.run
        try:
            self.workspace.append_result(started.commit, finished.metric, memory, finished.status, description)
        except OSError as error:  # the record has it, and the file is written anew from there at the next resume
            log.warning("%s could not be written: %s", self.workspace.results_path, error.strerror)

    # --- parts --------------------------------------------------------------------------------------------------------
    def _spec(self, started: TrialStarted) -> RunSpec:
        target = self.target
        environment = dict(target.environment)
        if target.seed_env:
            environment[target.seed_env] = str(started.seed)
        if target.held_out_env and started.role in HELD_OUT_ROLES and started.run.endswith("-1"):
            environment[target.held_out_env] = "1"
        return RunSpec(
            run=started.run,
            attempt=started.attempt,
            token=started.token,
            command=tuple(target.command),
            cwd=self.workspace.folder,
            environment=trainer_environment(environment),
            folder=self.folder / f"{started.run}.{started.attempt}",
            deadline=target.limits.deadline,
            startup=target.limits.startup,
            stall=target.limits.stall,
            log_bytes=target.limits.log_bytes,
        )

    async def _start(self, spec: RunSpec, started: TrialStarted) -> Literal["running", "full"]:
        """Spawn what was recorded; "full" when the disk has no room for its files."""
        try:
            await asyncio.to_thread(set_aside, self.folder, spec.run, spec.attempt)
            keep_start(spec.folder, started)
            spawned = await self.trainer.start(spec)
        except OSError as error:
            if not is_full(error):
                raise
            return "full"
        await self.journal.record(
            TrainerSpawned(
                run=spec.run,
                attempt=spec.attempt,
                pid=spawned.pid,
                start_time=spawned.start_time,
                boot_id=spawned.boot_id,
            )
        )
        return "running"

    def _progress(self, started: TrialStarted, watch: Watch | None) -> Callable[[Progress, int], Awaitable[None]]:
        async def on_progress(progress: Progress, offset: int) -> None:
            await self.journal.record(
                TrialProgress(
                    run=started.run,
                    attempt=started.attempt,
                    step=progress.step,
                    offset=offset,
                    fraction=progress.fraction,
                    loss=progress.loss,
                    tokens_per_second=progress.tokens_per_second,
                    remaining=progress.remaining,
                )
            )
            now = time.monotonic()
            if watch is not None and started.role == "search" and now - self._watched >= 1.0:
                self._watched = now
                reason = await watch(started, progress)
                if reason:
                    await self.trainer.stop(reason)

        return on_progress

    async def _lost(self, started: TrialStarted, reason: str) -> None:
        await self.journal.record(TrialLost(run=started.run, attempt=started.attempt, reason=reason))

    async def _judge(self, started: TrialStarted, spec: RunSpec, outcome: Outcome) -> RunResult:
        text = await asyncio.to_thread(read_log, spec.log)
        tampered = await self._tampered(spec)
        return judge(self.target, started, outcome, text, tampered)

    async def _tampered(self, spec: RunSpec) -> str | None:
        """Which fixed files the run changed, in a sentence; they are restored.

        What an earlier engine found of this result holds as well: it may have restored the files and died.
        """
        earlier = read_check(spec.folder)
        tampered = (earlier.tampered if earlier else None) or self.workspace.verify_fixed(self.fixed)
        try:
            keep_check(spec.folder, Checked(tampered))
        except OSError as error:  # without it a damaged record costs this run once more, nothing else
            log.warning("%s could not be written to: %s", spec.folder, error.strerror)
        if tampered:
            await self.room.repeat(self.workspace.restore)
        return tampered


def _spawned(event: TrainerSpawned | None) -> Spawned | None:
    return None if event is None else Spawned(pid=event.pid, start_time=event.start_time, boot_id=event.boot_id)


def _described(proposal: Proposal) -> str:
    if proposal.replicate is not None and not proposal.changes:
        return f"trial {proposal.replicate} again"
    return ", ".join(f"{name} = {value}" for name, value in proposal.changes.items())
