"""Level 1.5: after each cycle of trials, freeze what is stuck and set the strategy and the guidance.

The model proposes; the rules here decide what of it holds:

- a parameter may be frozen once the model has tried it three times without a kept trial (a loss beyond the noise counts
  one and a half; ties and the trials of mechanisms do not count);
- at most five freezes a cycle, and at least four parameters (or all, of fewer) stay active;
- guidance lapses after its cycle.

What does not hold is recorded with the reason. A person's freeze is not Level 1.5's to lift.
"""

from dataclasses import dataclass

from engine.levels.briefing import STRATEGIES, earlier_findings, messages, parameter_lines, state_block, trial_lines
from engine.levels.protocols import Journal, Model
from engine.model.answers import StrategyAnswer, parse_strategy
from engine.model.prompts import render
from engine.record.events import LevelActivity, StrategyDecided
from engine.record.view import CYCLE, View
from engine.search.trials import Trial

TRIES = 3.0
CLEAR_LOSS = 1.5
MOST_FREEZES = 5
LEAST_ACTIVE = 4


@dataclass(frozen=True)
class Tried:
    """How a parameter fared: weighted tries of the model without a keep, and kept trials of any proposer."""

    tries: float
    kept: int

    @property
    def stuck(self) -> bool:
        """Whether it may be frozen."""
        return self.tries >= TRIES and not self.kept


class Strategist:
    """Level 1.5. `decide` is called once after each cycle."""

    def __init__(self, journal: Journal, model: Model) -> None:
        self.journal = journal
        self.model = model

    async def decide(self) -> StrategyDecided:
        """Ask the model, hold its answer against the rules, record what holds. Raises what the model raises."""
        view = self.journal.view
        trial = view.completed
        await self.journal.record(LevelActivity(level="1.5", activity=f"thinking after trial {trial}"))
        try:
            answer = await self.model.ask("1.5", "strategy", messages(strategy_prompt(view)), parse_strategy)
        finally:
            await self.journal.record(LevelActivity(level="1.5"))
        decided = ruled(view, trial, answer)
        await self.journal.record(decided)
        return decided


def tried(view: View, name: str) -> Tried:
    """How often the model tried a parameter, weighted as the rules say, and how often a change of it was kept."""
    tries, kept = 0.0, 0
    for trial in view.history:
        if name not in trial.changes:
            continue
        kept += trial.kept
        if trial.proposed_by == "model" and not trial.edited_by and not trial.kept:
            tries += _weight(trial, view.history.noise is not None)
    return Tried(tries, kept)


def _weight(trial: Trial, noise_is_known: bool) -> float:
    if trial.status == "stopped" or trial.verdict == "tie":
        return 0.0
    return CLEAR_LOSS if trial.verdict == "worse" and noise_is_known else 1.0


def ruled(view: View, trial: int, answer: StrategyAnswer) -> StrategyDecided:
    """What of the model's answer holds, as the event that records it."""
    refused: list[str] = []
    unfrozen = [name for name in dict.fromkeys(answer.unfreeze) if _may_unfreeze(view, name, refused)]
    active = {
        name
        for name, parameter in view.space.parameters.items()
        if not parameter.locked and (name not in view.frozen or name in unfrozen)
    }
    least = min(LEAST_ACTIVE, sum(not parameter.locked for parameter in view.space.parameters.values()))
    frozen: list[str] = []
    for name in dict.fromkeys(answer.freeze):
        reason = _why_not_freeze(view, name, active)
        if reason is None and len(frozen) == MOST_FREEZES:
            reason = f"at most {MOST_FREEZES} freezes a cycle"
        if reason is None and len(active) <= least:
            reason = f"at least {least} parameters stay active"
        if reason is not None:
            refused.append(f"freeze {name}: {reason}")
            continue
        frozen.append(name)
        active.discard(name)
    before = view.strategies[-1].guidance if view.strategies else ""
    changed = answer.strategy != view.strategy or answer.guidance.strip() not in ("", before)
    return StrategyDecided(
        trial=trial,
        strategy=answer.strategy,
        frozen=frozen,
        unfrozen=unfrozen,
        guidance=answer.guidance.strip(),
        reason=answer.reason,
        refused=refused,
        acted=bool(frozen or unfrozen or changed),
    )


def _may_unfreeze(view: View, name: str, refused: list[str]) -> bool:
    if name in view.frozen_by_person:
        refused.append(f"unfreeze {name}: a person froze it")
    elif name not in view.frozen_by_level:
        refused.append(f"unfreeze {name}: it is not frozen")
    else:
        return True
    return False


def _why_not_freeze(view: View, name: str, active: set[str]) -> str | None:
    parameter = view.space.parameters.get(name)
    if parameter is None:
        return "there is no such parameter"
    if parameter.locked or name not in active:
        return "it is locked or frozen already"
    state = tried(view, name)
    if not state.stuck:
        return f"tried {state.tries:g} times with {state.kept} kept: it takes {TRIES:g} tries and none kept"
    return None


def strategy_prompt(view: View) -> str:
    """The prompt of Level 1.5."""
    config = view.history.incumbent_config()
    return render(
        "strategy",
        cycle=CYCLE,
        most_freezes=MOST_FREEZES,
        least_active=LEAST_ACTIVE,
        parameters=parameter_lines(view, config, view.frozen, more=lambda name: _told(view, name)),
        trials=trial_lines(view),
        state=state_block(view),
        strategy=STRATEGIES[view.strategy],
        earlier=earlier_findings(view),
    )


def _told(view: View, name: str) -> dict[str, object]:
    state = tried(view, name)
    free = not view.space.parameters[name].locked and name not in view.frozen
    return {"tries": state.tries, "kept": state.kept, "may_freeze": free and state.stuck}
