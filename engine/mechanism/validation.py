"""Evidence before a mechanism is active: does it load, keep to the contract, answer in time, the same twice, and act?

The rehearsal goes through the recorded trials in order, as if the mechanism had been there: it sees the history before
each trial and is asked about the proposal that ran. What it would have blocked, replaced or suggested is counted, and
how much of what it would have blocked was kept. A mechanism that would never have acted is inert, and inert is a
failure.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from engine.mechanism.client import MechanismError, MechanismHost
from engine.mechanism.source_check import check_source
from engine.mechanism.telling import incumbent_after, state_told, trial_told
from engine.record.view import View
from engine.search.trials import Trial

SLOW_MILLISECONDS = 2500.0
"""A median call slower than half the deadline would fail as the history grows."""


@dataclass
class Evidence:
    """What the rehearsal gave. Counts are over the recorded trials; `milliseconds` is the median of a call."""

    trials: int = 0
    called: int = 0
    blocked: int = 0
    kept_blocked: int = 0
    replaced: int = 0
    suggested: int = 0
    steered: int = 0
    chosen: int = 0
    accepted_otherwise: int = 0
    stopped: int = 0
    milliseconds: float = 0.0
    sandbox: str = "C"
    answers: list[Any] = field(default_factory=list)

    @property
    def acts(self) -> int:
        """Decisions that would have come out differently."""
        acts = self.blocked + self.replaced + self.suggested + self.steered + self.chosen
        return acts + self.accepted_otherwise + self.stopped

    def told(self) -> dict[str, Any]:
        """The evidence for the record, without the single answers."""
        return {name: value for name, value in vars(self).items() if name != "answers"}


async def validate(source: str, view: View, open_host: Callable[[str], MechanismHost]) -> tuple[list[str], Evidence]:
    """The problems of a source (none: it is valid) and the evidence. `open_host` gives a fresh host for a source."""
    problems = check_source(source)
    if problems:
        return problems, Evidence()
    try:
        evidence = await _rehearse(open_host(source), view)
        again = await _rehearse(open_host(source), view)
    except MechanismError as error:
        detail = f"\n{error.detail}" if error.detail else ""
        return [f"{error.kind}: {error}{detail}"], Evidence()
    if evidence.answers != again.answers:
        problems.append("it answers differently on the same history: draw from view.rng, keep state in observe alone")
    if evidence.milliseconds > SLOW_MILLISECONDS:
        problems.append(f"a call takes {evidence.milliseconds:.0f} ms in the median: at most {SLOW_MILLISECONDS:.0f}")
    if not evidence.acts:
        problems.append(
            f"inert: over the {evidence.trials} recorded trials it was called {evidence.called} times and would have "
            "changed no decision"
        )
    return problems, evidence


async def _rehearse(host: MechanismHost, view: View) -> Evidence:
    evidence = Evidence()
    spent: list[float] = []
    try:
        host.nice = 19  # a rehearsal gives way to everything else on the machine
        hello = await host.start()
        evidence.sandbox = hello.level
        trials = list(view.history)
        for trial in trials:
            if trial.number:
                evidence.trials += 1
                await _one_trial(host, view, trial, trials, evidence, spent)
            await host.observe(trial_told(view, trial), incumbent_after(view, trial.number))
        evidence.milliseconds = round(median(spent) * 1000, 3) if spent else 0.0
        return evidence
    finally:
        await host.close()


async def _one_trial(
    host: MechanismHost, view: View, trial: Trial, trials: list[Trial], evidence: Evidence, spent: list[float]
) -> None:
    """Ask every hook what it would have said at one recorded trial, and count what would have differed."""
    number = trial.number
    before = incumbent_after(view, number - 1)
    state = state_told(view, host.hello.name if host.hello else "", before, len(trials) - number)

    async def ask(hook: str, **args: Any) -> Any:
        if host.hello is None or hook not in host.hello.hooks:
            return None
        started = time.perf_counter()
        answer = await host.call(hook, state, args, number)
        spent.append(time.perf_counter() - started)
        evidence.called += 1
        evidence.answers.append(answer)
        return answer

    proposal = {
        "base": trial.base,
        "changes": trial.changes,
        "replicate": trial.replicate,
        "hypothesis": trial.hypothesis,
        "proposed_by": trial.proposed_by,
    }
    await ask("advise")
    evidence.steered += await ask("steer") is not None
    base = trial.base if trial.base in view.history.trials else before
    for suggestion in await ask("suggest") or []:
        if "replicate" in suggestion or not view.space.check(
            suggestion["changes"], view.history.trials[suggestion.get("base", before)].config
        ):
            evidence.suggested += 1
            break
    evidence.chosen += (await ask("choose", proposals=[proposal, proposal]) or 0) != 0
    review = await ask("review", proposal=proposal)
    if review and "block" in review:
        evidence.blocked += 1
        evidence.kept_blocked += trial.kept
    elif review and not view.space.check(review["changes"], view.history.trials[base].config):
        evidence.replaced += 1
    for fraction, loss in trial.curve:
        if await ask("watch", progress={"fraction": fraction, "step": 0, "loss": loss, "tokens_per_second": None}):
            evidence.stopped += 1
            break
    if trial.metric is not None:
        accepted = await ask("accept", trial=trial_told(view, trial))
        evidence.accepted_otherwise += accepted is not None and accepted != trial.kept
