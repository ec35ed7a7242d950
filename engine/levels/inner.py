"""Level 1, the inner loop: propose one change, train it for the budget, keep it if the metric is better.

    while the session goes on:
        proposal = a mechanism's suggestion (every second trial at most), else the model's, through the reviews
        outcome  = one training run
        accept or not, record the trial, tell the mechanisms

What it stands on is handed in: `model` answers prompts, `runs` trains, `chain` holds the active mechanisms, `boundary`
is where the session pauses, ends, and lets injections in. The history, the incumbent and the best lie in `journal.view`
and survive everything that happens here. The mechanisms' hooks are what is asked of `self.chain`: suggest, steer,
advise, choose and review before a trial, watch while it trains, accept and observe after it.
"""

from dataclasses import replace

from engine.levels.briefing import proposal_messages
from engine.levels.protocols import Boundary, Chain, Journal, Model, Runs
from engine.model.answers import AnswerError, ProposedChange, parse_proposals
from engine.record.events import ProposalRefused, ProposalsMade, TrialFinished, TrialStarted
from engine.record.view import trial_of
from engine.search.proposals import Proposal, Steering, proposal_from
from engine.search.trials import PROPOSERS
from engine.training.judging import RunResult

BLOCKS = 3
"""After so many blocked proposals for one trial the last one runs all the same, recorded as an override."""


class InnerLoop:
    """Level 1. `run` goes on until the boundary says that the session is over."""

    def __init__(self, journal: Journal, model: Model, runs: Runs, chain: Chain, boundary: Boundary) -> None:
        self.journal = journal
        self.model = model
        self.runs = runs
        self.chain = chain
        self.boundary = boundary

    async def run(self) -> None:
        """Trial after trial. Raises what the model raises once it has failed for good."""
        while await self.boundary.crossed():
            binding = self.binding()
            proposed = await self.next_proposal()
            async with self.boundary.turn() as granted:
                if not granted:
                    return
                proposal = proposed if self.binding() == binding else await self.still_stands(proposed)
                if proposal is None:
                    continue
                started = await self.runs.prepare(proposal)
                result = await self.runs.execute(started, watch=self.chain.watch)
            await self.conclude(started, result)

    async def take_up(self, started: TrialStarted) -> None:
        """Go on with the trial that an earlier engine started, to its end."""
        async with self.boundary.machine:
            result = await self.runs.execute(started, watch=self.chain.watch)
        await self.conclude(started, result)

    async def conclude(self, started: TrialStarted, result: RunResult) -> None:
        """Decide on a trial that has trained, record it, tell everybody."""
        finished = await self.decide(started, result)
        await self.journal.record(finished, blobs=[result.log])
        await self.runs.settle(started, finished)
        await self.chain.observe(self.journal.view.history.trials[started.number])

    # --- what to try --------------------------------------------------------------------------------------------------
    async def next_proposal(self) -> Proposal:
        """The next thing to train, valid for the space, through every review."""
        number = self.journal.view.completed + 1
        if self.suggestions_have_a_turn():
            suggested = await self.chain.suggest(number)
            if suggested is not None:
                return suggested
        for _ in range(BLOCKS):
            proposal = await self.ask_the_model(number)
            reviewed = await self.chain.review(number, proposal)
            if reviewed.blocked is None:
                return reviewed.proposal
            await self.refuse(number, proposal, reviewed.blocked)
        return replace(proposal, overridden=True)

    def binding(self) -> tuple[object, ...]:
        """What may change while a proposal is being made, and binds it: a person's freezes, the active mechanisms."""
        view = self.journal.view
        return frozenset(view.frozen_by_person), tuple(view.active)

    async def still_stands(self, proposal: Proposal) -> Proposal | None:
        """The proposal held against what binds it by now; None, and recorded, where it may no longer run."""
        view = self.journal.view
        number = view.completed + 1
        frozen = [name for name in proposal.changes if name in view.frozen_by_person]
        reviewed = await self.chain.review(number, proposal)
        reason = f"a person froze {', '.join(frozen)} meanwhile" if frozen else reviewed.blocked
        if frozen or (reason is not None and not proposal.overridden):
            await self.refuse(number, proposal, str(reason))
            return None
        return reviewed.proposal

    def suggestions_have_a_turn(self) -> bool:
        """Whether the last trial came from the model, so that the model keeps half of them."""
        last = max(self.journal.view.history.trials)
        return self.journal.view.history.trials[last].proposed_by in PROPOSERS

    async def ask_the_model(self, number: int) -> Proposal:
        """The model's proposal: asked with the mechanisms' advice and steering, checked, and one of them chosen."""
        steering = await self.chain.steer(number)
        advice = await self.chain.advise(number)
        messages = proposal_messages(self.journal.view, steering, advice, self.runs.script(steering.base))
        refused: list[tuple[ProposedChange, str]] = []

        def parse(text: str) -> list[Proposal]:
            """The valid ones among the model's ranked proposals, best first; none is an error to mend."""
            valid: list[Proposal] = []
            for proposed in parse_proposals(text):
                try:
                    valid.append(self.validated(proposed, steering))
                except ValueError as error:
                    refused.append((proposed, str(error)))
            if not valid:
                raise AnswerError(f"no proposal can run: {refused[-1][1]}")
            return valid

        try:
            proposals = await self.model.ask("1", "propose", messages, parse)
        finally:
            for proposed, reason in refused:
                await self.journal.record(
                    ProposalRefused(trial=number, by="model", proposal=proposed.told(), reason=reason)
                )
        taken = await self.chain.choose(number, proposals)
        await self.journal.record(
            ProposalsMade(trial=number, proposals=[proposal.told() for proposal in proposals], taken=taken)
        )
        return proposals[taken]

    def validated(self, proposed: ProposedChange, steering: Steering) -> Proposal:
        """The model's words as a proposal that may run. Raises ValueError with the reason why not."""
        view = self.journal.view
        return proposal_from(
            view.space,
            view.history,
            by="model",
            hypothesis=proposed.hypothesis,
            changes=proposed.changes,
            replicate=proposed.replicate,
            base=proposed.base if steering.base is None else steering.base,
            frozen=steering.frozen(view.frozen_by_person, view.frozen_by_level),
            ranges=steering.ranges,
            prediction=proposed.prediction,
        )

    async def refuse(self, number: int, proposal: Proposal, reason: str) -> None:
        """Record that a proposal was blocked."""
        await self.journal.record(
            ProposalRefused(trial=number, by=proposal.proposed_by, proposal=proposal.told(), reason=reason)
        )

    # --- whether to keep it -------------------------------------------------------------------------------------------
    async def decide(self, started: TrialStarted, result: RunResult) -> TrialFinished:
        """The outcome of a run as the event that records it: status, verdict, and the incumbent from now on.

        The default rule is the paper's: any value better than the incumbent's standing is kept, and marked when it lies
        beyond the noise. After a replicate the best standing leads, so that a lucky draw does not stay. `accept` may
        reverse the rule; a trial without a trustworthy metric is never kept.
        """
        history = self.journal.view.history
        if result.metric is None:
            return result.finished(started, status=result.status, incumbent=history.incumbent)
        candidate = started.number if started.replicate is None else started.replicate
        base = candidate if started.base is None else started.base
        judgement = history.judge(result.metric, base, started.replicate)

        def outcome(kept: bool, decided_by: str = "rule") -> TrialFinished:
            leads = candidate if kept else history.incumbent
            if decided_by == "rule" and judgement.leader is not None:
                leads = judgement.leader
            return result.finished(
                started,
                status="keep" if kept else "discard",
                incumbent=leads,
                verdict=judgement.verdict,
                difference=judgement.difference,
                beyond_noise=kept and judgement.beyond_noise,
                decided_by=decided_by,
            )

        by_rule = outcome(judgement.keep)
        kept, decided_by = await self.chain.accept(trial_of(started, by_rule), judgement.keep)
        return by_rule if decided_by == "rule" else outcome(kept, decided_by)
