"""The chain: the active mechanisms in order of injection, each hook asked in one place, and what they did recorded.

`acted` is recorded only when a decision came out differently from what the engine would have done alone. A mechanism
that fails is recorded and passed over; three failures in a row take it out; ten trials without an act retire it as
inert. What a hook answers is checked against the space and the history here, as if a stranger had said it.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from engine.mechanism.client import MechanismError, MechanismHost
from engine.mechanism.telling import incumbent_after, state_told, trial_told
from engine.record.events import (
    Event,
    MechanismActed,
    MechanismCalls,
    MechanismDeactivated,
    MechanismFailed,
    ProposalRefused,
    TrialStarted,
)
from engine.record.view import Mechanism, View
from engine.search.parameters import Config
from engine.search.proposals import Proposal, Reviewed, Steering, proposal_from
from engine.search.trials import Trial

log = logging.getLogger(__name__)
FAILURES = 3
"""Failures in a row after which a mechanism is taken out."""
INERT_AFTER = 10
"""Trials after activation within which a mechanism must have acted."""


class Recorder(Protocol):
    """The part of the journal that is needed here."""

    view: View

    async def record(self, *events: Event) -> None:
        """Return once the events are on disk and in the view."""


class Progress(Protocol):
    """A progress line of the trainer."""

    @property
    def step(self) -> int: ...

    @property
    def fraction(self) -> float | None: ...

    @property
    def loss(self) -> float | None: ...

    @property
    def tokens_per_second(self) -> float | None: ...


@dataclass
class Member:
    """An active mechanism with its host, and what was called since the last trial."""

    known: Mechanism
    host: MechanismHost
    calls: dict[str, int] = field(default_factory=dict)
    failures: int = 0


class Chain:
    """The active mechanisms. `open_host` gives the host of a mechanism, not started yet."""

    def __init__(self, journal: Recorder, open_host: Callable[[Mechanism], Awaitable[MechanismHost]]) -> None:
        self.journal = journal
        self._open_host = open_host
        self._members: dict[str, Member] = {}
        self._said: set[tuple[str, int, str]] = set()

    # --- membership ---------------------------------------------------------------------------------------------------
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
        try:
            await member.host.start()
            for trial in list(self.journal.view.history):
                told = trial_told(self.journal.view, trial)
                await member.host.observe(told, incumbent_after(self.journal.view, trial.number))
        except MechanismError as error:
            await self._failed(member, "observe", self.journal.view.completed, error)

    async def close(self) -> None:
        """End every host."""
        while self._members:
            await self._members.popitem()[1].host.close()

    def _active(self) -> list[Member]:
        return [self._members[digest] for digest in self.journal.view.active if digest in self._members]

    # --- the hooks, in the order of a trial ---------------------------------------------------------------------------
    async def suggest(self, number: int) -> Proposal | None:
        """A valid suggestion for this trial, through the others' reviews. Stated gains compete by expected improvement
        (Jones et al. 1998); the rest take turns with the winner of these."""
        stated: list[tuple[float, Member, Proposal]] = []
        turns: list[tuple[Member, Proposal]] = []
        for member in self._active():
            for answer in await self._call(member, "suggest", number) or []:
                proposal = await self._suggestion(member, number, answer)
                if proposal is None:
                    continue
                if "gain" in answer:
                    stated.append((expected_improvement(answer["gain"], answer.get("sd", 0.0)), member, proposal))
                else:
                    turns.append((member, proposal))
                break
        if stated:
            turns.append(max(stated, key=lambda item: item[0])[1:])
        taken = sum(1 for trial in self.journal.view.history if trial.proposed_by not in ("engine", "model", "person"))
        for index in range(len(turns)):
            member, proposal = turns[(taken + index) % len(turns)]
            reviewed = await self.review(number, proposal, but=member)
            if reviewed.blocked is None:
                await self._acted(member, number, "suggest", None, proposal.told(), proposal.hypothesis)
                return reviewed.proposal
            await self._refused(member, number, proposal.told(), reviewed.blocked)
        return None

    async def steer(self, number: int) -> Steering:
        """What the mechanisms ask of the model's next proposal, a later one added to an earlier one."""
        merged = Steering()
        for member in self._active():
            answer = await self._call(member, "steer", number)
            if answer is None:
                continue
            try:
                steered = self._steered(merged, answer)
            except ValueError as error:
                await self._refused(member, number, answer, str(error))
                continue
            if self._asks_differ(merged, steered):
                await self._acted(member, number, "steer", _plain(merged), _plain(steered), answer["why"])
            merged = steered
        return merged

    async def advise(self, number: int) -> list[tuple[str, str]]:
        """(mechanism, text) for the prompt; counts as called, never as acted."""
        said = [(member, await self._call(member, "advise", number)) for member in self._active()]
        return [(member.known.name, text) for member, text in said if text]

    async def choose(self, number: int, proposals: Sequence[Proposal]) -> int:
        """Which of the model's ranked proposals to take; the last opinion wins, 0 without one."""
        taken = 0
        if len(proposals) < 2:
            return taken
        told = [proposal.told() for proposal in proposals]
        for member in self._active():
            answer = await self._call(member, "choose", number, proposals=told)
            if answer is not None and answer != taken:
                await self._acted(member, number, "choose", taken, answer)
                taken = answer
        return taken

    async def review(self, number: int, proposal: Proposal, but: Member | None = None) -> Reviewed:
        """The proposal after every review, in order of injection; `but` is the one whose suggestion it is."""
        for member in self._active():
            if member is but:
                continue
            answer = await self._call(member, "review", number, proposal=proposal.told())
            if answer is None:
                continue
            if "block" in answer:
                await self._acted(member, number, "review", proposal.told(), "blocked", answer["block"])
                return Reviewed(proposal, f"{member.known.name}: {answer['block']}")
            try:
                edited = self._edited(member, proposal, answer["changes"])
            except ValueError as error:
                await self._refused(member, number, {"changes": answer["changes"]}, str(error))
                continue
            if edited.config != proposal.config:
                await self._acted(member, number, "review", proposal.told(), edited.told(), answer["why"])
                proposal = edited
        return Reviewed(proposal)

    async def accept(self, trial: Trial, rule: bool) -> tuple[bool, str]:
        """Whether the trial is kept, and who decided; the last opinion wins over the rule."""
        accepted, decider = rule, None
        told = trial_told(self.journal.view, trial)
        for member in self._active():
            answer = await self._call(member, "accept", trial.number, trial=told)
            if answer is not None:
                accepted, decider = answer, member
        if decider is None or accepted == rule:
            return rule, "rule"
        await self._acted(decider, trial.number, "accept", rule, accepted)
        return accepted, decider.known.name

    async def watch(self, started: TrialStarted, progress: Progress) -> str | None:
        """A reason to stop the trial that runs now, the first one given."""
        told = {
            "fraction": progress.fraction,
            "step": progress.step,
            "loss": progress.loss,
            "tokens_per_second": progress.tokens_per_second,
            "changes": started.changes,
        }
        for member in self._active():
            reason = await self._call(member, "watch", started.number, progress=told)
            if reason:
                await self._acted(member, started.number, "watch", "running", "stopped", reason)
                return f"{member.known.name}: {reason}"
        return None

    async def observe(self, trial: Trial) -> None:
        """Tell every mechanism of a completed trial, record what was called for it, retire what is inert."""
        view = self.journal.view
        for member in self._active():
            try:
                await member.host.observe(trial_told(view, trial), view.history.incumbent)
            except MechanismError as error:
                await self._failed(member, "observe", trial.number, error)
        calls = {member.known.hash: member.calls for member in self._active() if member.calls}
        if calls:
            await self.journal.record(MechanismCalls(trial=trial.number, calls=calls))
        for member in self._active():
            member.calls = {}
            mechanism = view.mechanisms[member.known.hash]
            since = trial.number - (mechanism.activated or 0)
            if since >= INERT_AFTER and not mechanism.acted:
                await self._take_out(member, trial.number, "retired", f"inert: it did not act in {since} trials")

    # --- parts --------------------------------------------------------------------------------------------------------
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
        return answer

    async def _failed(self, member: Member, hook: str, number: int, error: MechanismError) -> None:
        member.failures += 1
        await self.journal.record(
            MechanismFailed(
                hash=member.known.hash,
                name=member.known.name,
                trial=number,
                hook=hook,
                error=f"{error.kind}: {error}",
                consecutive=member.failures,
            )
        )
        if member.failures >= FAILURES:
            await self._take_out(member, number, "reverted", f"{FAILURES} failures in a row, the last: {error}")

    async def _take_out(self, member: Member, number: int, status: Any, reason: str) -> None:
        """Out of the chain by the engine's decision; an elder that it replaced comes back at the next boundary."""
        view = self.journal.view
        if member.known.hash in view.active:
            await self.journal.record(deactivated(view, member.known.hash, number, status, "engine", reason))
        self._members.pop(member.known.hash, None)
        await member.host.close()

    async def _acted(self, member: Member, number: int, hook: str, before: Any, after: Any, why: str = "") -> None:
        moment = (member.known.hash, number, f"{hook}:{after}")
        if moment in self._said:  # the same act, when the model is asked again for the same trial
            return
        self._said.add(moment)
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

    async def _suggestion(self, member: Member, number: int, answer: dict[str, Any]) -> Proposal | None:
        view = self.journal.view
        prediction: dict[str, float] = {key: float(answer[key]) for key in ("gain", "sd") if key in answer}
        try:
            return proposal_from(
                view.space,
                view.history,
                by=member.known.name,
                hypothesis=answer["why"],
                changes=answer.get("changes"),
                replicate=answer.get("replicate"),
                base=answer.get("base"),
                frozen=view.frozen_by_person,
                prediction=prediction or None,
            )
        except ValueError as error:
            await self._refused(member, number, answer, str(error))
            return None

    def _edited(self, member: Member, proposal: Proposal, changes: Config) -> Proposal:
        view = self.journal.view
        edited = proposal_from(
            view.space,
            view.history,
            by=proposal.proposed_by,
            hypothesis=proposal.hypothesis,
            changes=changes,
            base=proposal.base,
            frozen=view.frozen_by_person,
        )
        return replace(edited, edited_by=(*proposal.edited_by, member.known.name))

    def _steered(self, merged: Steering, answer: dict[str, Any]) -> Steering:
        """The steering with one more answer added. Raises ValueError where it names what is not there."""
        view = self.journal.view
        base = answer.get("base", merged.base)
        if base is not None and base not in view.history.trials:
            raise ValueError(f"there is no trial {base}")
        named = [*answer.get("freeze", ()), *answer.get("unfreeze", ()), *answer.get("ranges", {})]
        for name in named:
            if name not in view.space.parameters:
                raise ValueError(f"there is no parameter {name!r}")
        steered = Steering(
            base=base,
            freeze=merged.freeze | frozenset(answer.get("freeze", ())),
            unfreeze=merged.unfreeze | frozenset(answer.get("unfreeze", ())),
            ranges={**merged.ranges, **{name: (low, high) for name, (low, high) in answer.get("ranges", {}).items()}},
            reasons=(*merged.reasons, answer["why"]),
        )
        frozen = steered.frozen(view.frozen_by_person, view.frozen_by_level)
        if all(parameter.locked or name in frozen for name, parameter in view.space.parameters.items()):
            raise ValueError("it would leave the model no parameter to change")
        return steered

    def _asks_differ(self, before: Steering, after: Steering) -> bool:
        view = self.journal.view

        def asked(steering: Steering) -> tuple[Any, ...]:
            base = view.history.incumbent if steering.base is None else steering.base
            frozen = steering.frozen(view.frozen_by_person, view.frozen_by_level)
            return base, frozenset(frozen), tuple(sorted(steering.ranges.items()))

        return asked(before) != asked(after)


def deactivated(view: View, digest: str, number: int, status: Any, by: str, reason: str) -> MechanismDeactivated:
    """The event that takes a mechanism out; the elder that it replaced comes back when it is reverted."""
    mechanism = view.mechanisms[digest]
    elder = mechanism.replaces if status == "reverted" else None
    restored = elder if elder in view.mechanisms and elder not in view.active else None
    return MechanismDeactivated(
        hash=digest, name=mechanism.name, trial=number, status=status, by=by, reason=reason, restored=restored
    )


def expected_improvement(gain: float, sd: float) -> float:
    """The expectation of max(0, X) for X normal with mean `gain` and deviation `sd` >= 0."""
    if sd <= 0:
        return max(gain, 0.0)
    from statistics import NormalDist

    z = gain / sd
    standard = NormalDist()
    return gain * standard.cdf(z) + sd * standard.pdf(z)


def _plain(steering: Steering) -> dict[str, Any]:
    return {
        "base": steering.base,
        "freeze": sorted(steering.freeze),
        "unfreeze": sorted(steering.unfreeze),
        "ranges": {name: list(pair) for name, pair in steering.ranges.items()},
    }
