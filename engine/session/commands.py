"""What a person asks for over the control socket: applied at once or at the next boundary, or refused with the reason.

Every command but `ping` becomes an event, so that a replay shows who decided what. Commands are idempotent: pausing a
paused session is applied and changes nothing.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from engine.control import Answer, Command
from engine.mechanism.members import deactivated
from engine.record.events import (
    CommandApplied,
    CommandRefused,
    GuidanceGiven,
    MechanismWritten,
    Noted,
    ParameterFrozen,
    ParameterUnfrozen,
    StateChanged,
)
from engine.record.journal import Journal
from engine.record.store import blob_hash
from engine.record.view import Mechanism
from engine.session.boundary import SessionBoundary
from engine.session.workshop import Workshop
from engine.training.runs import Runs

log = logging.getLogger(__name__)


class Refused(Exception):
    """A command that has nothing to act on, or may not; the text is the reason."""


class Commands:
    """Applies commands to one session."""

    def __init__(self, journal: Journal, boundary: SessionBoundary, runs: Runs, workshop: Workshop) -> None:
        self.journal = journal
        self.boundary = boundary
        self.runs = runs
        self.workshop = workshop
        self._validating: set[asyncio.Task[None]] = set()
        self._known: dict[str, Callable[..., Awaitable[str]]] = {
            "pause": self.pause,
            "resume": self.resume,
            "stop": self.stop,
            "kill_trial": self.kill_trial,
            "freeze": self.freeze,
            "unfreeze": self.unfreeze,
            "guide": self.guide,
            "approve": self.approve,
            "veto": self.veto,
            "revert": self.revert,
            "edit": self.edit,
        }

    async def handle(self, command: Command) -> Answer:
        """The answer to one command, recorded."""
        if command.command == "ping":
            return Answer(True, self.status())
        args = {name: value for name, value in command.args.items() if value is not None}
        try:
            detail = await self._known[command.command](**args)
        except Refused as refused:
            answer = Answer(False, str(refused))
            event: Any = CommandRefused
        else:
            answer = Answer(True, detail)
            event = CommandApplied
        await self.journal.record(event(command=command.command, args=args, by=command.by, detail=answer.detail))
        return answer

    def status(self) -> str:
        """What the engine alone knows, as JSON: that it is alive, and whether its record is in trouble."""
        view = self.journal.view
        trouble = self.journal.trouble or self.runs.room.trouble
        told = {"session": view.session, "status": view.status, "trouble": trouble, "ending": self.boundary.ending}
        return json.dumps(told)

    # --- the session --------------------------------------------------------------------------------------------------
    async def pause(self) -> str:
        """Start nothing new; the trial that trains goes on to its end."""
        if self.journal.view.status == "paused":
            return "it was paused already"
        await self.journal.record(StateChanged(status="paused", reason="a person paused it", by="person"))
        running = self.runs.current
        return f"paused; {running.run} trains to its end" if running else "paused"

    async def resume(self) -> str:
        """Go on."""
        if self.journal.view.status != "paused":
            return "it was running already"
        await self.journal.record(StateChanged(status="running", reason="a person resumed it", by="person"))
        return "it goes on"

    async def stop(self, now: bool = False) -> str:
        """End the session after this trial, or with `now` stop the trial as well."""
        self.boundary.end("a person stopped it", by_person=True)
        running = self.runs.current
        if running is None:
            return "it ends"
        if now and await self.runs.stop("the session was stopped by a person"):
            return f"{running.run} is stopped, then it ends"
        return f"it ends after {running.run}"

    async def kill_trial(self, reason: str = "a person stopped it") -> str:
        """Stop the trial that trains; the search goes on with the next."""
        running = self.runs.current
        if running is None or not await self.runs.stop(reason):
            raise Refused("no trial is running")
        return f"{running.run} is being stopped"

    # --- the search ---------------------------------------------------------------------------------------------------
    async def freeze(self, name: str) -> str:
        """From the next proposal on nobody changes this parameter."""
        parameter = self._parameter(name)
        view = self.journal.view
        if parameter.locked:
            raise Refused(f"{name} is locked by the target")
        if name in view.frozen_by_person:
            return f"{name} was frozen already"
        active = [
            other
            for other, known in view.space.parameters.items()
            if not known.locked and other not in view.frozen and other != name
        ]
        if not active:
            raise Refused(f"{name} is the last parameter that the model may change: unfreeze another first")
        await self.journal.record(ParameterFrozen(name=name))
        return f"{name} is frozen from the next proposal on"

    async def unfreeze(self, name: str) -> str:
        """Release a parameter from a person's freeze and from Level 1.5's."""
        self._parameter(name)
        if name not in self.journal.view.frozen:
            return f"{name} was not frozen"
        await self.journal.record(ParameterUnfrozen(name=name))
        return f"{name} is free from the next proposal on"

    async def guide(self, text: str) -> str:
        """Words for the next proposals, until others are given; an empty text takes them back."""
        await self.journal.record(GuidanceGiven(text=text.strip()))
        return "the next proposals are asked with it" if text.strip() else "the guidance is taken back"

    def _parameter(self, name: str) -> Any:
        parameter = self.journal.view.space.parameters.get(name)
        if parameter is None:
            raise Refused(f"there is no parameter {name}; there are {', '.join(self.journal.view.space.parameters)}")
        return parameter

    # --- mechanisms ---------------------------------------------------------------------------------------------------
    async def approve(self, hash: str = "") -> str:
        """Let the waiting module in; `hash`, when given, must be the one of its source."""
        waiting = self._waiting(hash)
        await self.workshop.decide(waiting.hash, waiting.name, "approved", "person", "a person approved it")
        return f"{waiting.name} ({waiting.hash[:12]}) is active from the next boundary on"

    async def veto(self, hash: str = "", reason: str = "a person vetoed it") -> str:
        """Turn the waiting module away."""
        waiting = self._waiting(hash)
        await self.workshop.decide(waiting.hash, waiting.name, "vetoed", "person", reason)
        return f"{waiting.name} ({waiting.hash[:12]}) is turned away"

    def _waiting(self, digest: str) -> Any:
        waiting = self.journal.view.waiting
        if waiting is None:
            raise Refused("no mechanism waits for a decision")
        if not waiting.hash.startswith(digest):
            raise Refused(f"what waits is {waiting.name} with hash {waiting.hash[:12]}, not {digest[:12]}")
        return waiting

    async def revert(self, name: str) -> str:
        """Take an active mechanism out; the elder that it replaced comes back."""
        mechanism = self._active(name)
        view = self.journal.view
        event = deactivated(view, mechanism.hash, view.completed, "reverted", "person", "a person reverted it")
        await self.journal.record(event)
        elder = view.mechanisms[event.restored].name if event.restored else None
        return f"{mechanism.name} is out" + (f", its elder {elder} is back" if elder else "")

    def _active(self, name: str) -> Mechanism:
        view = self.journal.view
        active = [view.mechanisms[digest] for digest in view.active]
        found = [known for known in active if known.name == name or (len(name) >= 6 and known.hash.startswith(name))]
        if not found:
            names = ", ".join(known.name for known in active)
            raise Refused(f"no active mechanism is called {name}; active: {names or 'none'}")
        return found[-1]

    async def edit(self, name: str) -> str:
        """Take a person's change to an active or waiting module's file: validate it, and let it in in its place."""
        view = self.journal.view
        known = [view.mechanisms[view.waiting.hash]] if view.waiting else []
        known += [view.mechanisms[digest] for digest in view.active]
        elder = next((k for k in known if k.name == name or (len(name) >= 6 and k.hash.startswith(name))), None)
        if elder is None:
            raise Refused(f"no mechanism called {name} is active or waits")
        try:
            source = await asyncio.to_thread(Path(elder.path).read_text, encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Refused(f"{elder.path} cannot be read: {error}") from None
        if blob_hash(source.encode()) == elder.hash:
            return f"{elder.path} is unchanged"
        # Validation waits for the machine where trainings use it too: the person is not kept waiting with it.
        task = asyncio.create_task(self._validated(elder, source))
        self._validating.add(task)
        task.add_done_callback(self._validating.discard)
        return f"{elder.path} is validated now; what comes of it is in the record"

    async def _validated(self, elder: Mechanism, source: str) -> None:
        """`_replace`, whose failure is said rather than lost."""
        try:
            await self._replace(elder, source)
        except Exception as error:
            log.exception("%s could not be validated", elder.path)
            text = f"{elder.path}, as a person edited it, could not be validated: {error}"
            await self.journal.record(Noted(severity="error", text=text))

    async def _replace(self, elder: Mechanism, source: str) -> None:
        """Validate a person's version of a module, and let it in in the elder's place."""
        view = self.journal.view
        digest = blob_hash(source.encode())
        written = MechanismWritten(
            hash=digest,
            name=elder.name,
            purpose=elder.purpose,
            source=elder.source,
            written_by="person",
            path=elder.path,
            research=elder.research,
            replaces=elder.hash if elder.hash in view.active else elder.replaces,
            derived_from=elder.hash,
        )
        await self.journal.record(written, blobs=[source.encode()])
        problems = await self.workshop.test(written, source)
        if problems:
            text = f"{elder.path}, as a person edited it, was refused: {problems[0]}"
            await self.journal.record(Noted(severity="warning", text=text))
            return
        if view.mechanisms[elder.hash].status in ("active", "approved") and written.replaces != elder.hash:
            # The elder was let in while the change was validated: the change takes its place.
            await self.journal.record(replace(written, replaces=elder.hash))
        if view.waiting is not None and view.waiting.hash == elder.hash:
            await self.workshop.decide(elder.hash, elder.name, "refused", "person", "a person edited it")
        await self.workshop.decide(digest, elder.name, "approved", "person", "a person wrote it")

    async def close(self) -> None:
        """End what is still being validated."""
        for task in self._validating:
            task.cancel()
        await asyncio.gather(*self._validating, return_exceptions=True)
