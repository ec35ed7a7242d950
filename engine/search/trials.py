"""The history of a search: trials, what each was worth, the incumbent and the best.

A configuration may have run several times (the baseline, a replicate): its standing is the mean over its runs, those
of a confirmation not counted. The incumbent is compared by its standing, so that a lucky draw does not stay; the best
is the best single valid trial ever.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from engine.search.noise import Noise, pooled
from engine.search.parameters import Config, config_key

Direction = Literal["minimize", "maximize"]
PROPOSERS = ("engine", "model", "person")
"""Who proposes trials beside the mechanisms; no mechanism is called so."""


@dataclass(frozen=True)
class Trial:
    """One completed trial. Trial 0 is the baseline; its metric is the mean over its runs.

    `metric` is None unless the run gave a trustworthy one. `verdict` is against the base's standing, in the light of
    the noise: "better", "tie" or "worse". `curve` holds (fraction of the budget, training loss).
    """

    number: int
    config: Config
    status: str
    base: int | None = None
    replicate: int | None = None
    changes: Config = field(default_factory=dict)
    metric: float | None = None
    verdict: str | None = None
    difference: float | None = None
    """The metric minus its base's standing at that moment, in the metric's unit."""
    improvement: float | None = None
    """By how much it bettered the incumbent's standing at that moment, in the metric's unit: > 0 is better, whatever
    the direction. None without a metric, and for the baseline."""
    beyond_noise: bool = False
    hypothesis: str = ""
    proposed_by: str = "engine"
    edited_by: tuple[str, ...] = ()
    prediction: dict[str, float] | None = None
    overridden: bool = False
    decided_by: str = "rule"
    reason: str = ""
    seed: int = 0
    seconds: float = 0.0
    steps: int | None = None
    tokens_per_second: float | None = None
    peak_memory_mb: float | None = None
    curve: tuple[tuple[float, float], ...] = ()
    commit: str = ""

    @property
    def kept(self) -> bool:
        """Whether it became the incumbent, or confirmed the configuration it repeated."""
        return self.status == "keep"


@dataclass(frozen=True)
class Judgement:
    """What the default acceptance rule says of a new metric, and how it stands against its base and the noise.

    `leader` is set for a replicate: the trial that the incumbent is from now on, by the rule.
    """

    verdict: str
    keep: bool
    leader: int | None
    beyond_noise: bool
    difference: float | None
    """The metric minus its base's standing before it was counted."""


class History:
    """Trials in order of completion, with the standings of their configurations. Changed only by `add_*`."""

    def __init__(self, direction: Direction) -> None:
        self.direction: Direction = direction
        self.trials: dict[int, Trial] = {}
        self.incumbent = 0
        self._runs: dict[str, list[float]] = {}

    def __iter__(self) -> Iterator[Trial]:
        return iter(self.trials.values())

    def __len__(self) -> int:
        return len(self.trials)

    @property
    def completed(self) -> int:
        """How many search trials have an outcome, the baseline not counted."""
        return len(self.trials) - (0 in self.trials)

    @property
    def best(self) -> Trial | None:
        """The trial with the best valid metric ever, the baseline included; the earliest of equals."""
        valid = [trial for trial in self if trial.metric is not None]
        return min(valid, key=lambda trial: self.loss(trial.metric), default=None)

    @property
    def noise(self) -> Noise | None:
        """The deviation between runs of one configuration, None until one has run twice."""
        return pooled(self._runs.values())

    def loss(self, metric: float | None) -> float:
        """The metric turned so that lower is better; infinity for none."""
        if metric is None:
            return float("inf")
        return metric if self.direction == "minimize" else -metric

    def add_run(self, config: Config, metric: float) -> None:
        """Count one valid run of a configuration towards its standing and the noise."""
        self._runs.setdefault(config_key(config), []).append(metric)

    def add_trial(self, trial: Trial, incumbent: int) -> None:
        """Append a completed trial, whose runs were counted by `add_run`, and the incumbent that it leaves."""
        self.trials[trial.number] = trial
        self.incumbent = incumbent

    def runs(self, config: Config) -> list[float]:
        """The valid metrics of a configuration, in order."""
        return list(self._runs.get(config_key(config), ()))

    def standing(self, config: Config) -> tuple[float | None, int]:
        """Mean over the valid runs of a configuration, and their number; (None, 0) for one that never ran."""
        runs = self._runs.get(config_key(config), ())
        return (sum(runs) / len(runs), len(runs)) if runs else (None, 0)

    def incumbent_config(self) -> Config:
        """The configuration that the next proposal changes. Raises KeyError before the baseline ran."""
        return self.trials[self.incumbent].config

    def improvement(self, metric: float) -> float | None:
        """By how much a new metric, not yet counted, betters the incumbent's standing; > 0 is better."""
        incumbent = self.trials.get(self.incumbent)
        value = self.standing(incumbent.config)[0] if incumbent else None
        return None if value is None else self.loss(value) - self.loss(metric)

    def judge(self, metric: float, base: int, replicate: int | None = None) -> Judgement:
        """Hold a new valid metric against its base and the incumbent, before it is counted.

        The default acceptance is the paper's: any value better than the incumbent's standing is kept. `beyond_noise`:
        it lies outside the 95 % prediction interval of the incumbent's value, given the deviation measured so far.
        A replicate of the incumbent is kept while the incumbent's standing leads; one of another trial is kept when
        that trial's standing now beats the incumbent's.
        """
        gain, width = self._gain(metric, base)
        value = self.standing(self.trials[base].config)[0] if base in self.trials else None
        difference = None if value is None else metric - value
        verdict = "better" if gain > width else "worse" if gain < -width else "tie"
        gain, width = self._gain(metric, self.incumbent)
        if replicate is None:
            return Judgement(verdict, gain > 0, None, self.noise is not None and gain > width, difference)
        leader = self._leader_after(replicate, metric)
        return Judgement(verdict, leader == replicate, leader, False, difference)

    def _gain(self, metric: float, number: int) -> tuple[float, float]:
        """The improvement over a trial's standing, and the half width of what noise alone would give there."""
        trial = self.trials.get(number)
        value, runs = self.standing(trial.config) if trial else (None, 0)
        noise = self.noise
        width = noise.half_width(runs) if noise else 0.0
        return (float("inf") if value is None else self.loss(value) - self.loss(metric)), width

    def _leader_after(self, replicate: int, metric: float) -> int:
        """The incumbent once `replicate` has run again with this metric."""
        again = config_key(self.trials[replicate].config)

        def standing(number: int) -> float:
            config = self.trials[number].config
            runs = self.runs(config) + ([metric] if config_key(config) == again else [])
            return self.loss(sum(runs) / len(runs)) if runs else float("inf")

        if config_key(self.trials[self.incumbent].config) != again:
            return replicate if standing(replicate) < standing(self.incumbent) else self.incumbent
        led = all(self.loss(self.standing(t.config)[0]) >= self._incumbent_loss() for t in self._candidates())
        if not led:  # a mechanism's acceptance put the incumbent there: a replicate does not undo that
            return replicate
        best = min(self._candidates(), key=lambda trial: standing(trial.number)).number
        return replicate if standing(best) >= standing(replicate) else best

    def _incumbent_loss(self) -> float:
        return self.loss(self.standing(self.incumbent_config())[0])

    def _candidates(self) -> list[Trial]:
        """What may be the incumbent: the baseline, and what was kept."""
        return [trial for trial in self if trial.kept or trial.number == 0]
