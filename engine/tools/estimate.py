"""What a session will take, told before it starts: hours, tokens, money.

An estimate, from typical figures: an answer's length, the growth of a prompt with the history and a script's start-up
differ between models and machines. What the settings limit (hours, tokens, money) may end a session earlier.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.record.settings import Settings, replayed
from engine.record.view import CYCLE

if TYPE_CHECKING:
    from engine.training.target import Target

CPU_OVERHEAD = 3.0
"""Seconds of a trial beside its budget on a CPU: import, data, evaluation. The packaged target's 8 s take about 11."""
GPU_OVERHEAD = 30.0
"""The same with compilation and a larger evaluation: 300 s of training are published as 326 s in all."""
PROPOSE = (6000, 600)
"""Tokens of a Level 1 call, prompt and answer: the script, its constants, the last trials; up to three proposals."""
STRATEGY = (4500, 400)
"""The same for Level 1.5."""
RESEARCH = (36000, 6000)
"""The same for a research of Level 2: four calls with the loop's source, and a module written."""
ASKED_AGAIN = 1.15
"""Answers that do not fit are asked for again, and blocked proposals too."""
_CENTURY = 100 * 365 * 86400.0


@dataclass(frozen=True)
class Estimate:
    """Seconds (None: the budget is in FLOPs, so that the machine decides), runs, tokens, money (None: no price)."""

    runs: int
    seconds: float | None
    tokens_in: int
    tokens_out: int
    cost: float | None
    stand_in: bool
    recorded: bool = False
    """The answers of another session are given again."""

    def sentence(self) -> str:
        """The estimate for a person, in one line."""
        parts = [f"{self.runs} training runs"]
        parts.append("as long as they take" if self.seconds is None else f"about {duration(self.seconds)}")
        if self.stand_in or self.recorded:
            who = "recorded answers are given again" if self.recorded else "the stand-in answers"
            parts.append(f"no tokens, no money: {who}")
        else:
            parts.append(f"about {self.tokens_in:,} + {self.tokens_out:,} tokens (prompts + answers)")
            parts.append("cost unknown (no price given)" if self.cost is None else f"about {self.cost:.2f} in money")
        return ", ".join(parts)


def estimate(settings: Settings, target: "Target") -> Estimate:
    """The estimate for a new session with these settings on this target."""
    runs = settings.trials + settings.baseline_runs + (2 * settings.confirm_runs if settings.confirm else 0)
    seconds = None
    if target.budget.kind == "seconds":
        overhead = CPU_OVERHEAD if settings.profile == "cpu" else GPU_OVERHEAD
        seconds = runs * (target.budget.value + overhead)
        if settings.hours is not None:
            seconds = min(seconds, settings.hours * 3600)
    stand_in, recorded = settings.model == "offline", replayed(settings.model) is not None
    free = stand_in or recorded
    tokens_in, tokens_out = (0, 0) if free else _tokens(settings)
    cost = 0.0 if free else _cost(settings, tokens_in, tokens_out)
    return Estimate(runs, seconds, tokens_in, tokens_out, cost, stand_in, recorded)


def _tokens(settings: Settings) -> tuple[int, int]:
    cycles = max(0, settings.trials - 1) // CYCLE
    calls = {"1": (settings.trials, PROPOSE), "1.5": (cycles, STRATEGY), "2": (cycles // 2, RESEARCH)}
    chosen = [calls[level] for level in settings.levels if level in calls]
    prompt = sum(count * tokens[0] for count, tokens in chosen) * ASKED_AGAIN
    answer = sum(count * tokens[1] for count, tokens in chosen) * ASKED_AGAIN
    return 100 * round(prompt / 100), 100 * round(answer / 100)


def _cost(settings: Settings, tokens_in: int, tokens_out: int) -> float | None:
    if settings.price_in is None or settings.price_out is None:
        return None
    return (tokens_in * settings.price_in + tokens_out * settings.price_out) / 1e6


def duration(seconds: float) -> str:
    """A time span as a person says it: 45 s, 5 min, 2 h 10 min, 40 days, more than a century."""
    if seconds > _CENTURY:
        return "more than a century"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    if minutes >= 72 * 60:
        return f"{minutes / 1440:,.0f} days"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
