"""What a person asks for over the control socket: applied at once or at the next boundary, or refused with the reason.

Every command but `ping` becomes an event, so that a replay shows who decided what. Commands are idempotent: pausing a
paused session is applied and changes nothing.
"""

import json
from collections.abc import Awaitable, Callable
from typing import Any

from engine.control import Answer, Command
from engine.levels.course import Course
from engine.mechanism.members import deactivated
from engine.record.events import (
    CommandApplied,
    CommandRefused,
    GuidanceGiven,
    InjectionDecided,
    InjectionWaiting,
    ParameterFrozen,
    ParameterUnfrozen,
    StateChanged,
)
from engine.record.evidence import DECIDERS
from engine.record.journal import Journal
from engine.record.view import Mechanism
from engine.record.wording import because
from engine.session.boundary import SessionBoundary
from engine.session.editing import Editing, NotTaken
from engine.session.workshop import Workshop
from engine.training.runs import Runs


class Refused(Exception):
    """A command that has nothing to act on, or may not; the text is the reason."""


class Commands:
    """Applies commands to one session."""

    def __init__(
        self,
        journal: Journal,
        boundary: SessionBoundary,
        runs: Runs,
        workshop: Workshop,
        course: Course,
        editing: Editing,
    ) -> None:
        self.journal = journal
        self.boundary = boundary
        self.runs = runs
        self.workshop = workshop
        self.course = course
        self.editing = editing
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
        """Go on; a stop is not taken back."""
        if self.boundary.stopped_by_person:
            then = f"once it has ended, `bilevel resume {self.journal.view.session}` takes it up again"
            raise Refused(f"a person has stopped the session: {then}")
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

    async def kill_trial(self, reason: str = "a person stopped it", run: str = "") -> str:
        """Stop the trial that trains; `run`, when given, must be its name: the search goes on with the next."""
        running = self.runs.current
        if running is not None and run not in ("", running.run):
            raise Refused(f"{run} does not train any more; {running.run} does")
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
        waiting = self.journal.view.waiting
        if waiting is None:
            raise Refused("no mechanism waits for a decision")
        await self._decide(waiting, hash, "approved", "a person approved it")
        return f"{waiting.name} ({waiting.hash[:12]}) is active from the next boundary on"

    async def veto(self, hash: str = "", reason: str = "") -> str:
        """Turn the waiting module away, or one let in that is not active yet; else call off the research under way."""
        waiting = self.journal.view.waiting
        self._refuse_decided(hash)
        if waiting is None:
            coming = [known for known in self.journal.view.mechanisms.values() if known.status == "approved"]
            if coming:
                return await self._take_back(coming[-1], hash, reason or "a person vetoed it")
            return await self._call_off(hash, reason or "a person called it off")
        reason = reason or "a person vetoed it"
        path = self.journal.view.mechanisms[waiting.hash].path
        _check_hash("waits", waiting, hash)
        dropped = await self.editing.drop(path, reason)
        await self._decide(waiting, hash, "vetoed", reason)
        also = ", and the change to its file with it" if dropped else ""
        return f"{waiting.name} ({waiting.hash[:12]}) is turned away{also}"

    def _refuse_decided(self, digest: str) -> None:
        """Raise Refused where all that is named so has been turned away already: a veto of it is about nothing else."""
        research = self.course.under_way()
        in_work = self.course.written(research.number) if research is not None and research.decided is None else None
        named = [known for known in self.journal.view.mechanisms.values() if digest and known.hash.startswith(digest)]
        if named and in_work not in named and all(map(_turned_away, named)):
            raise Refused(_waits_no_more(named[-1]))

    async def _decide(self, waiting: InjectionWaiting, digest: str, decision: Any, reason: str) -> None:
        _check_hash("waits", waiting, digest)
        event = InjectionDecided(hash=waiting.hash, name=waiting.name, decision=decision, by="person", reason=reason)
        if not await self.workshop.settle(event):
            raise Refused(_waits_no_more(self.journal.view.mechanisms[waiting.hash]))

    async def _take_back(self, coming: Mechanism, digest: str, reason: str) -> str:
        """Veto what was let in before the boundary activates it; the fold lets the first of the two count."""
        _check_hash("comes in next", coming, digest)
        await self.editing.drop(coming.path, reason)
        veto = InjectionDecided(hash=coming.hash, name=coming.name, decision="vetoed", by="person", reason=reason)
        await self.journal.record(veto)
        status = self.journal.view.mechanisms[coming.hash].status
        if status != "vetoed":
            raise Refused(f"{coming.name} is {status} already: `bilevel revert {coming.name}` takes it out")
        return f"{coming.name} ({coming.hash[:12]}) does not come in"

    async def _call_off(self, digest: str, reason: str) -> str:
        research = self.course.under_way()
        if research is None:
            raise Refused("no mechanism waits for a decision, and no research is under way")
        number, written = research.number, self.course.written(research.number)
        if digest and written is None:
            raise Refused(f"research {number} has written nothing yet: veto it without a hash")
        if written is not None:
            _check_hash(f"research {number} has written", written, digest)
            await self.editing.drop(written.path, reason)
        doing = self.journal.view.activity.get("2") or "it was about to go on"
        did, ended = await self.course.call_off(research, reason), research.finished
        if ended is not None and (not did or ended.outcome != "vetoed"):
            raise Refused(f"research {number} had just ended ({ended.outcome}): {ended.reason}")
        written = self.course.written(number)
        away = f"{written.name} ({written.hash[:12]}) is turned away with it" if written else "nothing was written yet"
        return f"research {number} is called off ({doing}); {away}"

    async def revert(self, name: str) -> str:
        """Take an active mechanism out; the elder that it replaced comes back."""
        mechanism = self._active(name)
        view = self.journal.view
        await self.editing.drop(mechanism.path, "a person reverted what it changes")
        if mechanism.hash not in view.active:
            raise Refused(f"{mechanism.name} is out already, it is {mechanism.status}: {mechanism.reason}")
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
        # A change may have been noticed and let in before it was asked for: its elder's hash still names the file.
        known = [k for k in view.mechanisms.values() if k.name == name or (len(name) >= 6 and k.hash.startswith(name))]
        standing = self.editing.standing()
        found = [k for k in known if k.path in standing]
        if not found:
            others = ", ".join(sorted({k.name for k in standing.values()})) or "none"
            what = f"{known[-1].name} is {known[-1].status}" if known else f"there is no mechanism {name}"
            raise Refused(f"{what}: only what is active or waits can be edited; there are: {others}")
        try:
            return await self.editing.take(found[-1].path)
        except NotTaken as error:
            raise Refused(str(error)) from None


def _turned_away(known: Mechanism) -> bool:
    return known.decision is not None and known.decision.decision == known.status != "approved"


def _waits_no_more(known: Mechanism) -> str:
    """What became of it, and who decided."""
    by = DECIDERS.get(known.decision.by, "") if known.decision is not None else ""
    return f"{known.name} does not wait any more, it is {known.status}{because(known.status, by, known.reason)}"


def _check_hash(does: str, module: InjectionWaiting | Mechanism, digest: str) -> None:
    if not module.hash.startswith(digest):
        raise Refused(f"what {does} is {module.name} with hash {module.hash[:12]}, not {digest[:12]}")
