"""Evidence before a mechanism is active: does it load, keep to the contract, answer in time, the same twice, and act?

The rehearsal goes through the recorded trials in order, as if the mechanism had been there: it sees the history before
each trial and is asked about the proposal that ran. What it would have blocked, replaced or suggested is counted, and
how much of what it would have blocked was kept. A mechanism whose deciding hooks would never have been asked, one that
would have changed nothing, and one that would have blocked everything fail here, before they are active.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from engine.mechanism.client import MechanismHost
from engine.mechanism.contract import DECISIVE
from engine.mechanism.failures import LoadFailed, MechanismError
from engine.mechanism.source_check import check_source
from engine.mechanism.steering import asks_differ, steered
from engine.mechanism.telling import incumbent_after, state_told, trial_told
from engine.record.seeking import copied
from engine.record.view import View
from engine.search.parameters import Config
from engine.search.proposals import Steering, proposal_from
from engine.search.trials import Trial

REHEARSAL_SECONDS = 120.0
"""Both passes of the rehearsal together; on a CPU no trial trains meanwhile."""
SLOW_MILLISECONDS = 2500.0
"""A median call slower than half the deadline would fail as the history grows."""
MOST_BLOCKED, LEAST_REVIEWED = 0.9, 5
"""The share of the proposals from which on a module blocks everything, and how many it takes to tell. At this share all
three attempts of a trial are blocked in 73 % of the trials: the override runs the last, and all that the module does is
to have the model asked three times."""
ASKED_WHEN = {
    "choose": "choose is asked when the model gives several proposals, and it gave one at a time",
    "accept": "accept is asked when a trial gives a metric, and none did",
    "watch": "watch is asked while a trial tells of its progress, and none did",
}
"""The hooks that are not asked in each trial: when they are, and what the recorded trials lacked."""
ACTS = {
    "steer": ("steered",),
    "suggest": ("suggested",),
    "choose": ("chosen",),
    "review": ("blocked", "replaced"),
    "accept": ("accepted_otherwise",),
    "watch": ("stopped",),
}
"""What is counted as an act, by hook."""
UNTOLD = ("answers", "calls", "watched", "turned_down")
"""What is found in a rehearsal and not recorded as it is."""


@dataclass
class Evidence:
    """What the rehearsal gave. Counts are over the recorded trials, of which `kept` were kept and in `touched` of which
    it would have acted. `calls` is by hook that it has, `milliseconds` the median of a call. `watched` told of their
    progress; `turned_down` were kept, and `accept` would not have kept them. `sandbox` is the level that its host
    reached, empty where it came to no rehearsal.
    """

    trials: int = 0
    kept: int = 0
    touched: int = 0
    calls: dict[str, int] = field(default_factory=dict)
    blocked: int = 0
    kept_blocked: int = 0
    replaced: int = 0
    suggested: int = 0
    steered: int = 0
    chosen: int = 0
    accepted_otherwise: int = 0
    stopped: int = 0
    watched: int = 0
    turned_down: int = 0
    milliseconds: float = 0.0
    sandbox: str = ""
    answers: list[Any] = field(default_factory=list)

    @property
    def acts(self) -> int:
        """Decisions that would have come out differently."""
        return sum(self.acted(hook) for hook in ACTS)

    @property
    def called(self) -> int:
        """Calls of all hooks."""
        return sum(self.calls.values())

    def acted(self, hook: str) -> int:
        """The acts of one hook."""
        return sum(getattr(self, name) for name in ACTS.get(hook, ()))

    def told(self) -> dict[str, Any]:
        """The evidence for the record, without the single answers: the counts, and by hook what it was called and
        acted."""
        counts = {name: value for name, value in vars(self).items() if name not in UNTOLD}
        if not self.sandbox:
            del counts["sandbox"]
        hooks = {hook: {"called": count, "acted": self.acted(hook)} for hook, count in self.calls.items()}
        return {**counts, "called": self.called, "hooks": hooks}


async def validate(
    name: str, source: str, view: View, open_host: Callable[[str], MechanismHost]
) -> tuple[list[str], Evidence]:
    """The problems of a source (none: it is valid) and the evidence. `open_host` gives a fresh host for a source.

    `name` is the one that the record has for it: a mechanism finds its own trials in the history by its name.
    """
    problems = check_source(source)
    if problems:
        return problems, Evidence()
    view = copied(view)  # both passes see one moment, whatever the search does meanwhile
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
    return [*problems, *_of_no_use(evidence)], evidence


def _of_no_use(evidence: Evidence) -> list[str]:
    """The problem of a module that does nothing to the search, or leaves nothing of it; an empty list for any other."""
    over = f"over the {evidence.trials} recorded trials"
    reviewed = evidence.calls.get("review", 0)
    if not any(evidence.calls.get(hook) for hook in DECISIVE):
        lacked = "; ".join(ASKED_WHEN[hook] for hook in evidence.calls if hook in ASKED_WHEN and evidence.trials)
        return [f"never called: {over} none of its deciding hooks was asked" + (f" ({lacked})" if lacked else "")]
    if not evidence.acts:
        return [f"inert: {over} it was called {evidence.called} times and would have changed no decision"]
    if reviewed >= LEAST_REVIEWED and evidence.blocked >= MOST_BLOCKED * reviewed:
        share = "all" if evidence.blocked == reviewed else f"{evidence.blocked} of"
        return [
            f"blocks everything: {over} it would have blocked {share} {reviewed} proposals that it reviewed, "
            f"{evidence.kept_blocked or 'none'} of them kept ones"
        ]
    if evidence.watched >= LEAST_REVIEWED and evidence.stopped == evidence.watched:
        return [f"stops everything: {over} it would have let none of the {evidence.watched} that it watched end"]
    if evidence.kept >= LEAST_REVIEWED and evidence.accepted_otherwise == evidence.turned_down == evidence.kept:
        return [f"keeps nothing: {over} it would have kept no trial, and {evidence.kept} were kept"]
    return []


async def _rehearse(name: str, host: MechanismHost, view: View) -> Evidence:
    evidence = Evidence()
    spent: list[float] = []
    try:
        host.nice = 19  # a rehearsal gives way to everything else on the machine
        hello = await host.start()
        if hello.name != name:
            raise LoadFailed(f"Mechanism.name is {hello.name!r}, and what was specified is {name!r}.")
        evidence.sandbox, evidence.calls = hello.level, {hook: 0 for hook in hello.hooks if hook != "observe"}
        trials = list(view.history)
        for trial in trials:
            if trial.number:
                acts = evidence.acts
                await _one_trial(host, view, trial, trials, evidence, spent)
                evidence.trials += 1
                evidence.kept += trial.kept
                evidence.touched += evidence.acts > acts
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
        evidence.calls[hook] += 1
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
    evidence.watched += bool(trial.curve and evidence.calls.get("watch") is not None)
    for fraction, loss in trial.curve:
        progress = {"fraction": fraction, "step": 0, "loss": loss, "tokens_per_second": None, "changes": trial.changes}
        if await ask("watch", progress=progress):
            evidence.stopped += 1
            break
    if trial.metric is not None:
        accepted = await ask("accept", trial=trial_told(view, trial))
        evidence.accepted_otherwise += accepted is not None and accepted != trial.kept
        evidence.turned_down += accepted is False and trial.kept


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
