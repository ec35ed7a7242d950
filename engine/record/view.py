"""The view: everything that is known of a session, folded from its events.

The engine resumes from it, the commands print it, the application draws it: one code path. `fold` applies events in
order; nothing else changes a view. How each kind of event changes it stands in engine/record/folding.py.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from engine.record import events as ev
from engine.record.settings import Settings
from engine.search.parameters import Space
from engine.search.trials import History, Trial

CYCLE = 5
"""Completed trials between two decisions of Level 1.5."""
ENDED = ("finished", "failed")
"""The statuses of a session that goes on only if it is resumed."""


@dataclass
class RunningTrial:
    """The run that has begun and has no outcome yet, with the process that carries it once it was spawned."""

    started: ev.TrialStarted
    since: float
    spawned: ev.TrainerSpawned | None = None
    progress: ev.TrialProgress | None = None


class Period(NamedTuple):
    """A stretch in which a mechanism took part: in the trials after `after`, to `until` (None: to this day)."""

    after: int
    until: int | None = None


@dataclass
class Mechanism:
    """A module that was written in this session: what it says of itself, its evidence, its state, what it did.

    `status`: written, refused, waiting, approved, vetoed, active, retired, reverted, replaced. `called` counts by hook.
    `periods` are those in which it was active, in order: one that was replaced comes back when its heir is reverted.
    """

    hash: str
    name: str
    purpose: str
    source: str
    written_by: str
    path: str
    research: int
    replaces: str | None = None
    derived_from: str | None = None
    status: str = "written"
    reason: str = ""
    interrupted: bool = False
    """What worked on it ended first: it stays written."""
    problems: list[str] = field(default_factory=list)
    evidence: dict[str, Any] = field(default_factory=dict)
    decision: ev.InjectionDecided | None = None
    periods: list[Period] = field(default_factory=list)
    called: dict[str, int] = field(default_factory=dict)
    acts: list[ev.MechanismActed] = field(default_factory=list)
    failures: list[ev.MechanismFailed] = field(default_factory=list)

    @property
    def state(self) -> str:
        """Its status, or "interrupted" for one that nobody works on any more."""
        return "interrupted" if self.interrupted and self.status == "written" else self.status

    @property
    def activated(self) -> int | None:
        """The trial after which it was activated, the last time if there were several; None if it never was."""
        return self.periods[-1].after if self.periods else None

    def took_part(self, trial: int) -> bool:
        """Whether it was active for this trial."""
        return any(after < trial and (until is None or trial <= until) for after, until in self.periods)

    @property
    def acted(self) -> int:
        """How many decisions came out differently because of it."""
        return len(self.acts)

    @property
    def calls(self) -> int:
        """How often it was called. Acts are told at once, other calls with the outcome of their trial."""
        return max(self.acted, sum(self.called.values()))

    @property
    def by_hook(self) -> dict[str, tuple[int, int]]:
        """By hook, how often it was called, counted with the outcome of each trial, and how often it acted."""
        acted = Counter(act.hook for act in self.acts)
        return {hook: (self.called.get(hook, 0), acted[hook]) for hook in dict.fromkeys([*self.called, *acted])}

    @property
    def trials_touched(self) -> list[int]:
        """The trials in which it acted, ascending."""
        return sorted({act.trial for act in self.acts})


@dataclass
class Research:
    """One research of Level 2: its rounds so far and how it ended (None while it goes on).

    `interrupted`: its engine ended first, and the next one finds nothing in it to go on with.
    """

    number: int
    trial: int
    rounds: list[ev.ResearchRound] = field(default_factory=list)
    finished: ev.ResearchFinished | None = None
    interrupted: bool = False
    decided: ev.InjectionDecided | None = None
    """The newest decision on a module that it wrote, not on a person's edit of one."""


@dataclass
class View:
    """The state of one session at one event. Times are Unix seconds; metrics in the target's unit."""

    session: str = ""
    version: str = ""
    seq: int = 0
    created: float = 0.0
    time: float = 0.0
    active_before: float = 0.0
    """Active seconds before the stretch that goes on."""
    active_since: float | None = None
    """When that stretch began, None while the session is paused. It ends and begins anew at each event that is folded
    for its state, so the sum is the same whichever of the others were folded."""
    settings: Settings = field(default_factory=lambda: Settings(target="", profile=""))
    target: dict[str, Any] = field(default_factory=dict)
    space: Space = field(default_factory=lambda: Space({}))
    model: str = ""
    stand_in: bool = False
    status: str = "running"
    status_reason: str = ""
    status_by: str = "engine"
    ending: bool = False
    """A person has asked the engine that runs to end the session, and it has not come to that yet."""
    phase: str = "baseline"
    engine: ev.EngineStarted | None = None

    history: History = field(default_factory=lambda: History("minimize"))
    running: RunningTrial | None = None
    finished_runs: dict[str, ev.TrialFinished] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    """Attempts that left no result, by run."""
    confirmations: list[ev.Confirmed] = field(default_factory=list)

    frozen_by_person: dict[str, int] = field(default_factory=dict)
    """Parameter name to the trial after which it was frozen; binds everybody."""
    frozen_by_level: dict[str, int] = field(default_factory=dict)
    """The same for Level 1.5's freezes; they bind the model's proposals only."""
    strategy: str = "explore"
    level_guidance: str = ""
    person_guidance: str = ""
    strategies: list[ev.StrategyDecided] = field(default_factory=list)
    strategy_due_after: int = 0
    """The completed trials at Level 1.5's last turn, taken or skipped."""

    archive: ev.ArchiveRead | None = None
    """What earlier sessions left to this one; None where nothing was taken over."""
    researches: dict[int, Research] = field(default_factory=dict)
    research_due_after: int = 0
    """The completed trials at Level 2's last turn, finished or skipped."""
    mechanisms: dict[str, Mechanism] = field(default_factory=dict)
    active: list[str] = field(default_factory=list)
    """Hashes of the active modules in order of injection."""
    acting: tuple[int, tuple[str, ...]] = (0, ())
    """The newest trial that any mechanism acted in, and the hashes of those that did."""
    waiting: ev.InjectionWaiting | None = None
    refused_proposals: list[ev.ProposalRefused] = field(default_factory=list)
    proposals: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """The model's ranked proposals, by trial: the last ones, where it was asked again."""

    tokens_in: int = 0
    tokens_out: int = 0
    calls: int = 0
    cost: float | None = 0.0
    """Money spent; None once a call's price was unknown."""
    backed_off: dict[str, ev.LevelBackedOff | ev.ModelRetried] = field(default_factory=dict)
    """By level: the last failure of its model, until the model answers again."""
    activity: dict[str, str] = field(default_factory=dict)
    notes: list[ev.Noted] = field(default_factory=list)

    @property
    def active_seconds(self) -> float:
        """Seconds in which an engine was up and the session was not paused."""
        return self.active_before + (0.0 if self.active_since is None else max(0.0, self.time - self.active_since))

    @property
    def frozen(self) -> set[str]:
        """What the model may not touch now, locked parameters not counted."""
        return set(self.frozen_by_person) | set(self.frozen_by_level)

    @property
    def completed(self) -> int:
        """Search trials with an outcome."""
        return self.history.completed

    @property
    def guidance(self) -> str:
        """The words for the next proposal: the person's, and Level 1.5's while its cycle lasts."""
        return "\n".join(part for part in (self.person_guidance, self.level_guidance) if part)

    @property
    def baseline(self) -> Trial | None:
        """Trial 0, once the baseline has run."""
        return self.history.trials.get(0)

    @property
    def baseline_runs(self) -> list[float]:
        """The valid metrics of the baseline's own runs, in order."""
        runs = [run for run in self.finished_runs.values() if run.role == "baseline"]
        return [run.metric for run in runs if run.metric is not None]

    @property
    def confirmed(self) -> ev.Confirmed | None:
        """The last confirmation, if it still speaks of the best trial."""
        best = self.history.best
        last = self.confirmations[-1] if self.confirmations else None
        return last if last is not None and best is not None and last.trial == best.number else None

    def trials_left(self) -> int:
        """How many search trials the session may still start."""
        return max(0, self.settings.trials - self.completed)


def goes_on_without_engine(view: View, research: Research) -> bool:
    """Whether the next engine finds something to go on with: a module that waits, or was decided on."""
    waits = any(known.status == "waiting" and known.research == research.number for known in view.mechanisms.values())
    return waits or research.decided is not None


def trial_of(started: ev.TrialStarted, event: ev.TrialFinished, improvement: float | None = None) -> Trial:
    """A completed trial as the history holds it, from the events of its run."""
    return Trial(
        number=started.number,
        config=started.config,
        status=event.status,
        base=started.base,
        replicate=started.replicate,
        changes=started.changes,
        metric=event.metric,
        verdict=event.verdict,
        difference=event.difference,
        improvement=improvement,
        beyond_noise=event.beyond_noise,
        hypothesis=started.hypothesis,
        proposed_by=started.proposed_by,
        edited_by=tuple(started.edited_by),
        prediction=started.prediction,
        overridden=started.overridden,
        decided_by=event.decided_by,
        reason=event.reason,
        seed=started.seed,
        seconds=event.seconds,
        steps=event.steps,
        tokens_per_second=event.tokens_per_second,
        peak_memory_mb=event.peak_memory_mb,
        curve=tuple(event.curve),
        commit=started.commit,
    )


def fold(rows: Iterable[tuple[int, float, ev.Event]], view: View | None = None) -> View:
    """The view after the given (seq, time, event), continuing `view` if one is given (which is changed)."""
    from engine.record.folding import apply  # here, since folding needs the classes above

    view = View() if view is None else view
    for seq, time, event in rows:
        apply(view, seq, time, event)
    return view
