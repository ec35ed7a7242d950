"""The members of the chain: the hosts of the active mechanisms, their calls, their failures, and what they did.

A mechanism that fails is recorded and passed over; three failures in a row take it out; ten trials without an act
retire it as inert. Which hook is asked when, and what its answer changes, stands in chain.py.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from engine.mechanism.client import MechanismHost
from engine.mechanism.failures import MechanismError
from engine.mechanism.telling import incumbent_after, state_told, trial_told
from engine.record.events import (
    Event,
    MechanismActed,
    MechanismCalls,
    MechanismDeactivated,
    MechanismFailed,
    Noted,
    ProposalRefused,
)
from engine.record.view import Mechanism, View
from engine.search.trials import Trial

FAILURES = 3
"""Failures in a row, of one hook or over all hooks, after which a mechanism is taken out."""
INERT_AFTER = 10
"""Trials after activation within which a mechanism must have acted."""


class Recorder(Protocol):
    """The part of the journal that is needed here."""

    view: View

    async def record(self, *events: Event) -> None:
        """Return once the events are on disk and in the view."""


@dataclass
class Member:
    """An active mechanism with its host, and what was called since the last trial."""

    known: Mechanism
    host: MechanismHost
    calls: dict[str, int] = field(default_factory=dict)
    failures: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    """Failures in a row by hook: one that always fails is no less broken when the others answer."""
    outlived: int = 0
    """Deaths of its host that a person has been told about."""


class Members:
    """The active mechanisms in order of injection. `open_host` gives the host of a mechanism, not started yet."""

    def __init__(self, journal: Recorder, open_host: Callable[[Mechanism], Awaitable[MechanismHost]]) -> None:
        self.journal = journal
        self._open_host = open_host
        self._members: dict[str, Member] = {}

    async def sync(self) -> None:
        """Bring the hosts in line with the view: start those that became active, end those that no longer are."""
        view = self.journal.view
        for digest in [digest for digest in self._members if digest not in view.active]:
            await self._members.pop(digest).host.close()
        for digest in [digest for digest in view.active if digest not in self._members]:
            await self._start(view.mechanisms[digest])

    async def _start(self, mechanism: Mechanism) -> None:
        member = Member(mechanism, await self._open_host(mechanism))
        self._members[mechanism.hash] = member
        failed_before = {failure.trial for failure in mechanism.failures if failure.hook == "observe"}
        try:
            await member.host.start()
        except MechanismError as error:
            await self._failed(member, "load", self.journal.view.completed, error)
        for trial in list(self.journal.view.history):
            told = trial_told(self.journal.view, trial)
            try:
                await member.host.observe(told, incumbent_after(self.journal.view, trial.number))
            except MechanismError as error:  # the trials after it are told all the same
                if trial.number not in failed_before:
                    await self._failed(member, "observe", trial.number, error)
            if mechanism.hash not in self._members:
                return

    async def close(self) -> None:
        """End every host."""
        while self._members:
            await self._members.popitem()[1].host.close()

    def _active(self) -> list[Member]:
        return [self._members[digest] for digest in self.journal.view.active if digest in self._members]

    async def observe(self, trial: Trial) -> None:
        """Tell every mechanism of a completed trial, record what was called for it, retire what is inert."""
        view = self.journal.view
        for member in self._active():
            try:
                await member.host.observe(trial_told(view, trial), view.history.incumbent)
                member.failed.pop("observe", None)
            except MechanismError as error:
                await self._failed(member, "observe", trial.number, error)
        # What went out while the trial ran was called for it all the same.
        calls = {member.known.hash: member.calls for member in self._members.values() if member.calls}
        if calls:
            await self.journal.record(MechanismCalls(trial=trial.number, calls=calls))
        for member in self._members.values():
            member.calls = {}
        for member in self._active():
            await self._note_deaths(member)
            mechanism = view.mechanisms[member.known.hash]
            begun = mechanism.activated or 0
            since = trial.number - begun
            if since >= INERT_AFTER and not any(act.trial > begun for act in mechanism.acts):
                await self._take_out(member, trial.number, "retired", f"inert: it did not act in {since} trials")

    async def _call(self, member: Member, hook: str, number: int, **args: Any) -> Any:
        """What a hook answers; None when it has no opinion, or failed."""
        hello = member.host.hello
        if hello is not None and hook not in hello.hooks:
            return None
        member.calls[hook] = member.calls.get(hook, 0) + 1
        state = state_told(self.journal.view, member.known.name)
        try:
            answer = await member.host.call(hook, state, args, number, member.calls[hook])
        except MechanismError as error:
            await self._failed(member, hook, number, error)
            return None
        member.failures = 0
        member.failed.pop(hook, None)
        return answer

    async def _failed(self, member: Member, hook: str, number: int, error: MechanismError) -> None:
        member.failures += 1
        member.failed[hook] = member.failed.get(hook, 0) + 1
        in_a_row = max(member.failures, member.failed[hook])
        await self.journal.record(
            MechanismFailed(
                hash=member.known.hash,
                name=member.known.name,
                trial=number,
                hook=hook,
                error=f"{error.kind}: {error}",
                consecutive=in_a_row,
            )
        )
        if in_a_row >= FAILURES:
            await self._take_out(member, number, "reverted", f"{FAILURES} failures in a row, the last: {error}")

    async def _note_deaths(self, member: Member) -> None:
        """Say, at most once a trial, that a host died and was replaced: no failure, but worth knowing."""
        host, name = member.host, member.known.name
        died, member.outlived = host.outlived - member.outlived, host.outlived
        if died:
            times = "once" if died == 1 else f"{died} times"
            text = f"the host of {name} died {times} and a fresh one answered in its place: {host.last_death}"
            await self.journal.record(Noted(severity="warning", text=text))

    async def _take_out(self, member: Member, number: int, status: Any, reason: str) -> None:
        """Out of the chain by the engine's decision; an elder that it replaced comes back at the next boundary."""
        view = self.journal.view
        if member.calls:
            await self.journal.record(MechanismCalls(trial=number, calls={member.known.hash: member.calls}))
        if member.known.hash in view.active:
            await self.journal.record(deactivated(view, member.known.hash, number, status, "engine", reason))
        self._members.pop(member.known.hash, None)
        await member.host.close()

    async def _acted(self, member: Member, number: int, hook: str, before: Any, after: Any, why: str = "") -> None:
        acts = self.journal.view.mechanisms[member.known.hash].acts
        if any((act.trial, act.hook, act.before, act.after) == (number, hook, before, after) for act in acts):
            return  # the same act: the model is asked again for this trial, or an engine took the session up in it
        await self.journal.record(
            MechanismActed(
                hash=member.known.hash,
                name=member.known.name,
                trial=number,
                hook=hook,
                why=why,
                before=before,
                after=after,
            )
        )

    async def _refused(self, member: Member, number: int, what: dict[str, Any], reason: str) -> None:
        await self.journal.record(ProposalRefused(trial=number, by=member.known.name, proposal=what, reason=reason))


def deactivated(view: View, digest: str, number: int, status: Any, by: str, reason: str) -> MechanismDeactivated:
    """The event that takes a mechanism out; the elder that it replaced comes back when it is reverted."""
    mechanism = view.mechanisms[digest]
    elder = view.mechanisms.get(mechanism.replaces or "") if status == "reverted" else None
    restored = elder.hash if elder is not None and elder.status == "replaced" else None
    return MechanismDeactivated(
        hash=digest, name=mechanism.name, trial=number, status=status, by=by, reason=reason, restored=restored
    )
