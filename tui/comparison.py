"""Two sessions beside each other: whether they may be compared, their facts in pairs, their curves in one drawing."""

import statistics
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from engine.record.credit import credit
from engine.record.settings import Settings
from engine.record.summary import cost, injections, unpaid
from engine.record.view import View
from engine.record.wording import clean, counted, metric_name, number, shown, signed
from tui.listing import state_of
from tui.panes.curve_drawing import running_best
from tui.widgets.plot import Drawing

_SHOWN_ELSEWHERE = ("target", "profile", "model", "initial", "seconds", "flops")
"""Settings that have facts of their own, or that the budget and the baseline tell."""
_MARGIN = 0.05


@dataclass(frozen=True)
class Pair:
    """A fact of both sessions; without texts it is the heading of those below it."""

    label: str
    first: str = ""
    second: str = ""

    @property
    def differs(self) -> bool:
        return self.first != self.second


def hindrances(first: View, second: View) -> list[str]:
    """Why the metrics of two sessions may not be compared, a few words each; empty where they may."""
    a, b = first.target, second.target
    found = []
    if a.get("name") != b.get("name"):
        found.append(f"other targets ({_of_target(first)}, {_of_target(second)})")
    elif _differ(first, second, "fixed_sha256") and _budget(first) == _budget(second):  # it may be written in them
        found.append("another evaluation (the target's fixed files differ)")
    elif _differ(first, second, "searched_sha256"):
        found.append("another script to begin with")
    if a.get("metric") != b.get("metric"):
        found.append(f"other metrics ({_metric(first)}, {_metric(second)})")
    if _budget(first) != _budget(second):
        found.append(f"other budgets ({_budget(first)}, {_budget(second)})")
    if first.settings.profile != second.settings.profile:
        found.append(f"other profiles ({first.settings.profile}, {second.settings.profile})")
    return [clean(reason, 120) for reason in found]


def _differ(first: View, second: View, name: str) -> bool:
    a, b = first.target.get(name), second.target.get(name)
    return bool(a and b) and a != b


def _of_target(view: View) -> str:
    return clean(view.target.get("name", "?"), 40)


def _metric(view: View) -> str:
    return f"{metric_name(view)}, {view.history.direction}"


def _budget(view: View) -> str:
    budget = view.target.get("budget", {})
    return f"{budget.get('value', 0):g} {'s' if budget.get('kind') == 'seconds' else 'FLOPs'} a trial"


# --- the curves -------------------------------------------------------------------------------------------------------
def curves(first: View, second: View) -> Drawing | None:
    """The running best of both by trial; None while neither has a metric."""
    stairs, against = list(running_best(first.history)), list(running_best(second.history))
    values = [value for _, value in [*stairs, *against]]
    if not values:
        return None
    margin = _MARGIN * (max(values) - min(values)) or 0.01 * abs(values[0]) or 1.0
    ends = [max(view.history.trials, default=0) for view in (first, second)]
    return Drawing(
        name=f"{clean(metric_name(first), 16)}, best so far by trial",
        first=0,
        last=max(1, *ends),
        low=min(values) - margin,
        high=max(values) + margin,
        stairs=stairs,
        against=against,
        ends=(ends[0], ends[1]),
        lower_is_better=first.history.direction == "minimize",
    )


# --- the facts --------------------------------------------------------------------------------------------------------
def pairs(first: View, second: View, running: str | None) -> list[Pair]:
    """The facts, by heading; an engine runs the session `running`, None: none of the record's."""
    facts = [Pair(label, *told) for label, told in _facts(first, second)]
    return [
        Pair("state", *(state_of(view.status, alive=view.session == running) for view in (first, second))),
        *facts,
        *_headed("Settings that differ", _settings(first.settings, second.settings)),
        *_headed("Best against its baseline", _changes(first, second)),
        *_headed("Mechanisms", _mechanisms(first, second)),
    ]


def _headed(heading: str, found: list[Pair]) -> list[Pair]:
    return [Pair(heading), *(found or [Pair("", "none", "none")])]


def _facts(first: View, second: View) -> Iterator[tuple[str, tuple[str, str]]]:
    for label, tell in (
        ("target", lambda view: f"{_of_target(view)}/{view.settings.profile}"),
        ("budget", _budget),
        ("model", lambda view: ("STAND-IN " if view.stand_in else "") + clean(view.model, 80)),
        ("trials", _trials),
        ("baseline", _baseline),
        ("best", _best),
        ("confirmed", _confirmed),
        ("level 1.5", _level),
        ("frozen", _frozen),
        ("tokens", lambda view: f"{view.tokens_in:,} in, {view.tokens_out:,} out"),
        ("cost", _cost),
    ):
        yield label, (tell(first), tell(second))


def _trials(view: View) -> str:
    counts = Counter(trial.status for trial in view.history if trial.number > 0)
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"{view.completed} of {view.settings.trials}" + (f": {told}" if told else "")


def _baseline(view: View) -> str:
    runs = view.baseline_runs
    if not runs:
        return "-"
    spread = f" ± {number(statistics.stdev(runs))}" if len(runs) > 1 else ""
    return f"{number(statistics.fmean(runs))}{spread}"


def _best(view: View) -> str:
    best, baseline = view.history.best, view.baseline
    if best is None or best.metric is None:
        return "-"
    if best.number == 0 or baseline is None or baseline.metric is None:
        return f"{number(best.metric)}, the baseline"
    return f"{number(best.metric)}, {signed(best.metric - baseline.metric)}, trial {best.number}"


def _confirmed(view: View) -> str:
    confirmed = view.confirmed
    if confirmed is None or confirmed.difference is None:
        return "-"
    interval = confirmed.interval
    return signed(confirmed.difference) + (f" [{signed(interval[0])}, {signed(interval[1])}]" if interval else "")


def _level(view: View) -> str:
    acted = sum(decided.acted for decided in view.strategies)
    return f"acted {acted} of {counted(len(view.strategies), 'time')}" if view.strategies else "-"


def _frozen(view: View) -> str:
    return clean(", ".join(dict.fromkeys([*view.frozen_by_person, *view.frozen_by_level])), 400) or "-"


def _cost(view: View) -> str:
    spent = cost(view)
    return f"none: {unpaid(view)}" if unpaid(view) else "unknown" if spent is None else f"{spent:.4f}"


def _settings(first: Settings, second: Settings) -> list[Pair]:
    names = [name for name in Settings.__struct_fields__ if name not in _SHOWN_ELSEWHERE]
    found = [Pair(name, _value(getattr(first, name)), _value(getattr(second, name))) for name in names]
    return [pair for pair in found if pair.differs]


def _value(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no"}.get(bool(value), "-") if value is not None else "-"
    return clean(", ".join(map(str, value)) if isinstance(value, list) else value, 200) or "-"


def _changes(first: View, second: View) -> list[Pair]:
    a, b = _changed(first), _changed(second)
    return [Pair(name, a.get(name, "-"), b.get(name, "-")) for name in dict.fromkeys([*a, *b])]


def _changed(view: View) -> dict[str, str]:
    """What the best configuration has otherwise than the baseline, by parameter."""
    best, baseline = view.history.best, view.baseline
    if best is None or baseline is None:
        return {}
    elder = baseline.config
    return {
        name: f"{shown(elder[name])} → {shown(value)}" if name in elder else shown(value)
        for name, value in best.config.items()
        if value != elder.get(name)
    }


def _mechanisms(first: View, second: View) -> list[Pair]:
    a, b = _known(first), _known(second)
    return [Pair(name, a.get(name, "-"), b.get(name, "-")) for name in dict.fromkeys([*a, *b])]


def _known(view: View) -> dict[str, str]:
    """What each mechanism that came up for admission did, by name; the last one of a name."""
    told: dict[str, str] = {}
    for mechanism in injections(view):
        found = credit(view, mechanism)
        did = f", called {mechanism.calls}, acted {mechanism.acted}" if found else ""
        gave = f", improved {signed(found.touched.improvement)}" if found else ""
        told[clean(mechanism.name, 60)] = f"{mechanism.status}{did}{gave}"
    return told
