"""What one session leaves to later ones: its mechanisms with what they did, its trials as steps of parameters.

Computed from the session's view alone, so it is never at odds with the record. Texts are those of a model or of a
person; they are cut to one printable line.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from engine.record.credit import Group, credit
from engine.record.view import Mechanism, View
from engine.search.parameters import Config, Parameter, Value, config_key
from engine.search.trials import Trial

KINDS = (
    "session_created",
    "trial_started",
    "trial_finished",
    "mechanism_written",
    "mechanism_validated",
    "injection_decided",
    "mechanism_activated",
    "mechanism_deactivated",
    "mechanism_acted",
    "mechanism_calls",
    "archive_read",
    "phase_started",
    "state_changed",
)
"""The kinds of events that a legacy is computed from; the last two end a search, and what was to be done in it."""
LONGEST_LINE = 300
MOST_COUNTS = 12
"""Figures of a rehearsal that are kept of a mechanism."""


class Tally(msgspec.Struct, frozen=True):
    """Some trials: how many, how many of them kept, and by how much these improved (metric's unit, > 0 is better)."""

    trials: int = 0
    kept: int = 0
    improvement: float = 0.0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.trials + other.trials, self.kept + other.kept, self.improvement + other.improvement)


class Deed(msgspec.Struct, frozen=True, kw_only=True):
    """A mechanism of a session and what it did there. `hash` names its source, `derived_from` its elder's.

    `failed` says why it came to nothing or was taken out, and is empty where neither is so. `touched` are the trials in
    which it acted, `others` the rest of those for which it was active.
    """

    hash: str
    name: str
    purpose: str
    source: str
    written_by: str
    derived_from: str | None = None
    status: str
    failed: str = ""
    evidence: dict[str, int | float] = {}
    called: int = 0
    acted: int = 0
    touched: Tally = Tally()
    others: Tally = Tally()


class Steps(msgspec.Struct, frozen=True):
    """The trials that took a parameter one way from their base.

    `better` and `worse` were so beyond the noise, `failed` gave no metric, `together` changed other parameters as well;
    `best` is the value with the best metric.
    """

    tried: int = 0
    better: int = 0
    worse: int = 0
    failed: int = 0
    kept: int = 0
    together: int = 0
    best: Any = None
    metric: float | None = None


class Legacy(msgspec.Struct, frozen=True, kw_only=True):
    """What a session leaves. `conditions` is equal for sessions whose metrics compare, `setting` says it in words.

    `steps` is by parameter and way ("up", "down", "to <choice>"); `trials` holds (configuration, metric).
    """

    session: str
    created: float
    conditions: str
    setting: str
    deeds: list[Deed] = []
    steps: dict[str, dict[str, Steps]] = {}
    trials: list[tuple[dict[str, Any], float]] = []

    @property
    def fullness(self) -> int:
        """How much it tells: of two accounts of one session the fuller is the later one."""
        return len(self.deeds) + len(self.steps) + len(self.trials)


def legacy_of(view: View) -> Legacy:
    """What a session leaves, as far as it has come."""
    return Legacy(
        session=view.session,
        created=view.created,
        conditions=conditions(view),
        setting=_setting(view),
        deeds=[_deed(view, known) for known in view.mechanisms.values() if not _mended(view, known)],
        steps=_all_steps(view),
        trials=[(dict(trial.config), trial.metric) for trial in view.history if trial.metric is not None],
    )


def kind_of_target(target: Mapping[str, Any], parameters: Mapping[str, Any]) -> str:
    """Equal for targets of the same kind: the metric's name and direction, the parameters' names and kinds.

    `parameters` is by name, each a mapping with its `kind`, as the record holds a space.
    """
    metric = target["metric"]
    kinds = sorted((name, parameter["kind"]) for name, parameter in parameters.items())
    return json.dumps([metric["name"], metric["direction"], kinds])


def conditions(view: View) -> str:
    """A hash that is equal for sessions in which a configuration has the same metric, but for the noise.

    Target, profile, budget, environment, the script, the fixed files and what is locked are the same; where the search
    begins and the limits of a run may differ. Two machines are not told apart.
    """
    names = view.space.parameters
    target = {k: v for k, v in view.target.items() if k not in ("root", "space", "limits", "file_edits")}
    target["edits"] = {
        file: {name: value for name, value in edits.items() if name not in names}
        for file, edits in view.target.get("file_edits", {}).items()
    }
    space = {name: [p.kind, p.low, p.high, p.choices] for name, p in names.items()}
    locked = {name: p.value for name, p in names.items() if p.locked}
    relations = [constraint.expr for constraint in view.space.constraints]
    told = json.dumps([target, view.settings.profile, space, locked, relations], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def one_line(text: str) -> str:
    """The text as one printable line of at most 300 characters."""
    plain = "".join(character if character.isprintable() else " " for character in text[: 2 * LONGEST_LINE])
    return " ".join(plain.split())[:LONGEST_LINE]


def _setting(view: View) -> str:
    budget = view.target.get("budget", {})
    unit = "s" if budget.get("kind") == "seconds" else "FLOPs"
    told = f", {budget['value']:g} {unit} a trial" if "value" in budget else ""
    return one_line(f"profile {view.settings.profile}{told}")


# --- mechanisms -------------------------------------------------------------------------------------------------------
def _mended(view: View, known: Mechanism) -> bool:
    """Whether it was refused and written anew in the same research: then the repaired one speaks for it."""
    later = list(view.mechanisms.values())
    later = later[later.index(known) + 1 :]
    return bool(known.problems and known.research) and any(other.research == known.research for other in later)


def _deed(view: View, known: Mechanism) -> Deed:
    found = credit(view, known)
    counts = {
        name: value
        for name, value in known.evidence.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and value
    }
    return Deed(
        hash=known.hash,
        name=one_line(known.name),
        purpose=one_line(known.purpose),
        source=one_line(known.source),
        written_by=one_line(known.written_by),
        derived_from=known.derived_from,
        status=known.status,
        failed=one_line(_failed(known)),
        evidence=dict(list(counts.items())[:MOST_COUNTS]),
        called=sum(known.called.values()),
        acted=known.acted,
        touched=_tally(found.touched) if found else Tally(),
        others=_tally(found.others) if found else Tally(),
    )


def _failed(known: Mechanism) -> str:
    match known.status:
        case "refused" if known.problems:
            return f"refused: {known.problems[0]}"
        case "vetoed" | "reverted":
            return f"{known.status}: {known.reason}" if known.reason else known.status
        case "retired" if not known.acted:
            return f"retired without having acted: {known.reason}"
    return ""


def _tally(group: Group) -> Tally:
    return Tally(group.trials, group.kept, float(group.improvement))


# --- parameters -------------------------------------------------------------------------------------------------------
def _all_steps(view: View) -> dict[str, dict[str, Steps]]:
    found: dict[str, dict[str, Steps]] = {}
    for trial in view.history:
        base = view.history.trials.get(-1 if trial.base is None else trial.base)
        if base is None or trial.status == "stopped":
            continue
        for name, value in trial.changes.items():
            way = _way(view.space.parameters[name], base.config[name], value)
            if way is not None:
                ways = found.setdefault(name, {})
                ways[way] = added([ways.get(way, Steps()), _step(view, trial, value)], view.history.direction)
    return found


def _way(parameter: Parameter, old: Any, new: Any) -> str | None:
    if parameter.kind == "choice":
        return f"to {one_line(json.dumps(new, ensure_ascii=False))}" if new != old else None
    pairs = zip(old, new, strict=True) if parameter.kind == "tuple" else [(old, new)]
    ways = {"up" if after > before else "down" for before, after in pairs if after != before}
    return ways.pop() if len(ways) == 1 else None


def _step(view: View, trial: Trial, value: Value) -> Steps:
    measured = view.history.noise is not None
    return Steps(
        tried=1,
        better=int(measured and trial.verdict == "better"),
        worse=int(measured and trial.verdict == "worse"),
        failed=int(trial.metric is None),
        kept=int(trial.kept),
        together=int(len(trial.changes) > 1),
        best=value if trial.metric is not None else None,
        metric=trial.metric,
    )


def added(several: Iterable[Steps], direction: str) -> Steps:
    """All of them together; the best value is the one with the best metric by the direction."""
    found = list(several)
    sums = {
        name: sum(getattr(steps, name) for steps in found)
        for name in ("tried", "better", "worse", "failed", "kept", "together")
    }
    measured = [steps for steps in found if steps.metric is not None]
    sign = 1 if direction == "minimize" else -1
    best = min(measured, key=lambda steps: sign * (steps.metric or 0.0), default=Steps())
    return Steps(**sums, best=best.best, metric=best.metric)


def comparable(legacies: Iterable[Legacy], conditions: str) -> list[tuple[Config, float]]:
    """The trials of these sessions that were run under these conditions, the oldest session's first.

    A configuration with the very same metric is there once: the same seed gave the same run again.
    """
    alike = [legacy for legacy in legacies if legacy.conditions == conditions]
    found = {(config_key(config), metric): config for legacy in alike for config, metric in legacy.trials}
    return [(config, metric) for (_, metric), config in found.items()]
