"""The chain: each hook of the active mechanisms is asked in one place here, in order of injection.

`acted` is recorded only when a decision came out differently from what the engine would have done alone. What a hook
answers is checked against the space and the history, as if a stranger had said it: what does not fit is recorded as
refused, and the mechanism is told the reason at its next call.
"""

from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist
from typing import Any, Protocol

from engine.mechanism.members import Member, Members
from engine.mechanism.steering import asks_differ, plain, steered
from engine.mechanism.telling import trial_told
from engine.record.events import TrialStarted
from engine.search.parameters import Config
from engine.search.proposals import Proposal, Reviewed, Steering, proposal_from
from engine.search.trials import PROPOSERS, Trial

STOPS = 3
"""After so many trials in a row that `watch` stopped, the next trains to its end: else a search may learn no more."""


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


class Chain(Members):
    """The hooks, in the order in which a trial asks them."""

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
        taken = sum(1 for trial in self.journal.view.history if trial.proposed_by not in PROPOSERS)
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
                more = steered(self.journal.view, merged, answer)
            except ValueError as error:
                await self._refused(member, number, answer, str(error))
                continue
            if asks_differ(self.journal.view, merged, more, self.journal.view.history.incumbent):
                await self._acted(member, number, "steer", plain(merged), plain(more), answer["why"])
            merged = more
        return merged

    async def advise(self, number: int) -> list[tuple[str, str]]:
        """(mechanism, text) for the prompt; counts as called, never as acted."""
        said = [(member, await self._call(member, "advise", number)) for member in self._active()]
        return [(member.known.name, text) for member, text in said if text]

    async def choose(self, number: int, proposals: Sequence[Proposal]) -> int:
        """Which of the model's ranked proposals to take; the last opinion wins, 0 without one."""
        taken, decider = 0, None
        if len(proposals) < 2:
            return taken
        told = [proposal.told() for proposal in proposals]
        for member in self._active():
            answer = await self._call(member, "choose", number, proposals=told)
            if answer is not None:
                taken, decider = answer, member
        if decider is not None and taken != 0:
            await self._acted(decider, number, "choose", 0, taken)
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
            if not self.journal.view.space.alike(edited.config, proposal.config):
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
        if self._stopped_before(started.number) >= STOPS:
            return None
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

    def _stopped_before(self, number: int) -> int:
        """How many trials in a row, up to this one, `watch` stopped."""
        known = self.journal.view.mechanisms.values()
        stopped = {act.trial for mechanism in known for act in mechanism.acts if act.hook == "watch"}
        return next(count for count in range(number + 1) if number - 1 - count not in stopped)

    # --- answers held against the search ------------------------------------------------------------------------------
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


def expected_improvement(gain: float, sd: float) -> float:
    """The expectation of max(0, X) for X normal with mean `gain` and deviation `sd` >= 0."""
    if sd <= 0:
        return max(gain, 0.0)
    z = gain / sd
    standard = NormalDist()
    return gain * standard.cdf(z) + sd * standard.pdf(z)
