"""Level 1, the inner loop: propose one change, train it for the budget, keep it if the metric is better.

    while the session goes on:
        proposal = a mechanism's suggestion (every second trial at most), else the model's, through the reviews
        outcome  = one training run
        accept or not, record the trial, tell the mechanisms

What it stands on is handed in: `model` answers prompts, `runs` trains, `chain` holds the active mechanisms, `boundary`
is where the session pauses, ends, and lets injections in. The history, the incumbent and the best lie in `journal.view`
and survive everything that happens here. Each hook of a mechanism is asked at exactly one place, marked with its name.
"""

from dataclasses import replace

from engine.levels.briefing import proposal_messages
from engine.levels.protocols import Boundary, Chain, Journal, Model, Runs
from engine.model.answers import AnswerError, ProposedChange, parse_proposals
from engine.record.events import ProposalRefused, ProposalsMade, TrialFinished, TrialStarted
from engine.search.proposals import Proposal, Steering, proposal_from
from engine.search.trials import Trial
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
            proposal = await self.next_proposal()
            if not await self.boundary.crossed():
                return
            started = await self.runs.prepare(proposal)
            await self.complete(started)

    async def complete(self, started: TrialStarted) -> Trial:
        """Train what was started (or take up the run of an engine that died), decide on it, tell everybody."""
        async with self.boundary.machine:  # validation of mechanisms uses the machine between trials on a CPU
            result = await self.runs.execute(started, watch=self.chain.watch)
        finished = await self.decide(started, result)
        await self.journal.record(finished, blobs=[result.log])
        await self.runs.settle(started, finished)
        trial = self.journal.view.history.trials[started.number]
        await self.chain.observe(trial)
        return trial

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

    def suggestions_have_a_turn(self) -> bool:
        """Whether the last trial came from the model, so that the model keeps half of them."""
        last = max(self.journal.view.history.trials)
        return self.journal.view.history.trials[last].proposed_by in ("engine", "model", "person")

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
        rule = judgement.keep
        trial = result.as_trial(started, judgement.verdict, "keep" if rule else "discard")
        accepted, decided_by = await self.chain.accept(trial, rule)
        incumbent = candidate if accepted else history.incumbent
        if accepted == rule and judgement.leader is not None:
            incumbent = judgement.leader
        return result.finished(
            started,
            status="keep" if accepted else "discard",
            incumbent=incumbent,
            verdict=judgement.verdict,
            beyond_noise=accepted and judgement.beyond_noise,
            decided_by=decided_by,
        )
