"""Evidence before a mechanism is active: does it load, keep to the contract, answer in time, the same twice, and act?

The rehearsal goes through the recorded trials in order, as if the mechanism had been there: it sees the history before
each trial and is asked about the proposal that ran. What it would have blocked, replaced or suggested is counted, and
how much of what it would have blocked was kept. A mechanism that would never have acted is inert, and inert is a
failure.
"""

import asyncio
import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from engine.mechanism.client import LoadFailed, MechanismError, MechanismHost
from engine.mechanism.source_check import check_source
from engine.mechanism.steering import asks_differ, steered
from engine.mechanism.telling import incumbent_after, state_told, trial_told
from engine.record.view import View
from engine.search.parameters import Config
from engine.search.proposals import Steering, proposal_from
from engine.search.trials import Trial

REHEARSAL_SECONDS = 120.0
"""Both passes of the rehearsal together; on a CPU no trial trains meanwhile."""
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


async def validate(
    name: str, source: str, view: View, open_host: Callable[[str], MechanismHost]
) -> tuple[list[str], Evidence]:
    """The problems of a source (none: it is valid) and the evidence. `open_host` gives a fresh host for a source.

    `name` is the one that the record has for it: a mechanism finds its own trials in the history by its name.
    """
    problems = check_source(source)
    if problems:
        return problems, Evidence()
    view = deepcopy(view)  # both passes see one moment, whatever the search does meanwhile
    try:
        async with asyncio.timeout(REHEARSAL_SECONDS):
            evidence = await _rehearse(name, open_host(source), view)
            again = await _rehearse(name, open_host(source), view)
    except TimeoutError:
        return [f"the rehearsal over {len(view.history)} trials took more than {REHEARSAL_SECONDS:g} s"], Evidence()
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


async def _rehearse(name: str, host: MechanismHost, view: View) -> Evidence:
    evidence = Evidence()
    spent: list[float] = []
    try:
        host.nice = 19  # a rehearsal gives way to everything else on the machine
        hello = await host.start()
        if hello.name != name:
            raise LoadFailed(f"Mechanism.name is {hello.name!r}, and what was specified is {name!r}.")
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
    evidence.steered += _steers(view, await ask("steer"), before)
    evidence.suggested += any(_would_run(view, told, before, number) for told in await ask("suggest") or [])
    ranked = view.proposals.get(number, [])
    if len(ranked) > 1:
        evidence.chosen += bool(await ask("choose", proposals=ranked))
    review = await ask("review", proposal=proposal)
    if review and "block" in review:
        evidence.blocked += 1
        evidence.kept_blocked += trial.kept
    elif review:
        base = before if trial.base is None else trial.base
        evidence.replaced += _would_run(view, {**review, "base": base}, before, number) not in (None, trial.config)
    for fraction, loss in trial.curve:
        progress = {"fraction": fraction, "step": 0, "loss": loss, "tokens_per_second": None, "changes": trial.changes}
        if await ask("watch", progress=progress):
            evidence.stopped += 1
            break
    if trial.metric is not None:
        accepted = await ask("accept", trial=trial_told(view, trial))
        evidence.accepted_otherwise += accepted is not None and accepted != trial.kept


def _steers(view: View, answer: dict[str, Any] | None, before: int) -> bool:
    """Whether the model would have been asked something else."""
    if answer is None:
        return False
    try:
        return asks_differ(view, Steering(), steered(view, Steering(), answer), before)
    except ValueError:
        return False


def _would_run(view: View, answer: dict[str, Any], before: int, number: int) -> Config | None:
    """The configuration that a suggestion or an edit would have run as trial `number`, None where it may not."""
    base = answer.get("replicate", answer.get("base", before))
    if base >= number:
        return None  # at that moment there was no such trial
    try:
        proposal = proposal_from(
            view.space,
            view.history,
            by="rehearsal",
            hypothesis=answer["why"],
            changes=answer.get("changes"),
            replicate=answer.get("replicate"),
            base=base,
            frozen=view.frozen_by_person,
        )
    except ValueError:
        return None
    return proposal.config
