"""What a session came to: as one JSON object for scripts, and as lines for a person. Computed from the view alone."""

import math
import statistics
from typing import Any

from engine.record.view import Mechanism, View
from engine.search.parameters import Config, Value
from engine.search.trials import Trial

_TAKEN_PART = ("active", "retired", "reverted", "vetoed", "refused")
_SHOWN_AS = {"replaced": "retired"}
"""States of a mechanism that the object has no word for: a replaced one is out, an abandoned one never came in."""


def show_json(view: View) -> dict[str, Any]:
    """The session as JSON-pure values: what `bilevel show --json` prints."""
    best = view.history.best
    return {
        "session": view.session,
        "status": view.status,
        "target": view.target.get("name", ""),
        "profile": view.settings.profile,
        "model": {"name": view.model, "stand_in": view.stand_in},
        "levels": list(view.settings.levels),
        "sandbox": sandbox_level(view),
        "baseline": _baseline(view),
        "best": None if best is None else {"trial": best.number, "metric": best.metric},
        "confirmed": _confirmed(view),
        "trials": [_trial(trial) for trial in view.history if trial.number > 0],
        "strategy": [
            {
                "trial": decided.trial,
                "frozen": decided.frozen,
                "unfrozen": decided.unfrozen,
                "strategy": decided.strategy,
                "guidance": decided.guidance,
                "acted": decided.acted,
            }
            for decided in view.strategies
        ],
        "injections": [_injection(mechanism) for mechanism in injections(view)],
        "tokens": {"in": view.tokens_in, "out": view.tokens_out},
        "cost": cost(view),
    }


def injections(view: View) -> list[Mechanism]:
    """The modules that came up for admission, in the order in which they were written."""
    found = list(view.mechanisms.values())
    return [
        known for known in found if known.status in _TAKEN_PART or known.status in ("waiting", "approved", "replaced")
    ]


def sandbox_level(view: View) -> str | None:
    """The level that the mechanisms' hosts reached: the newest module's, else what the engine began with."""
    for mechanism in reversed(view.mechanisms.values()):
        if "sandbox" in mechanism.evidence:
            return str(mechanism.evidence["sandbox"])
    return view.engine.sandbox if view.engine else None


def cost(view: View) -> float | None:
    """Money spent; None where a price is unknown, and for a stand-in, which has none."""
    priced = view.settings.price_in is not None and view.settings.price_out is not None
    if view.stand_in or view.cost is None or not (priced or view.calls):
        return None
    return round(view.cost, 6)


def noise(view: View) -> float | None:
    """The standard deviation of the metric between runs of one configuration, as far as it was measured."""
    found = view.history.noise
    return found.deviation if found else None


def _baseline(view: View) -> dict[str, Any] | None:
    runs = view.baseline_runs
    if not runs:
        return None
    deviation = statistics.stdev(runs) if len(runs) > 1 else None
    return {"metric": statistics.fmean(runs), "runs": runs, "noise": deviation}


def _confirmed(view: View) -> dict[str, Any] | None:
    confirmed = view.confirmed
    if confirmed is None or confirmed.difference is None:
        return None
    interval = list(confirmed.interval) if confirmed.interval else None
    return {"difference": confirmed.difference, "interval": interval}


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "status": trial.status,
        "metric": trial.metric,
        "changes": trial.changes,
        "hypothesis": trial.hypothesis,
        "proposed_by": trial.proposed_by,
        "seconds": trial.seconds,
        "steps": trial.steps,
        "beyond_noise": trial.beyond_noise,
    }


def _injection(mechanism: Mechanism) -> dict[str, Any]:
    evidence = {key: int(mechanism.evidence.get(key, 0)) for key in ("blocked", "replaced", "kept_blocked")}
    return {
        "name": mechanism.name,
        "hash": mechanism.hash,
        "written_by": mechanism.written_by,
        "status": _SHOWN_AS.get(mechanism.status, mechanism.status),
        "trial": mechanism.activated,
        "called": sum(mechanism.called.values()),
        "acted": mechanism.acted,
        "evidence": evidence,
    }


# --- for a person -----------------------------------------------------------------------------------------------------
def number(value: float | None) -> str:
    """A metric as a person reads it: four decimals, or six digits for large ones; a dash for none."""
    if value is None:
        return "-"
    return f"{value:.4f}" if abs(value) < 1e4 else f"{value:.6g}"


def signed(value: float) -> str:
    """A difference, with its sign."""
    return f"{value:+.4f}" if abs(value) < 1e4 else f"{value:+.6g}"


def shown(value: Value) -> str:
    """A parameter's value, short."""
    if isinstance(value, list):
        return f"({', '.join(map(shown, value))})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def changes_from(config: Config, base: Config) -> str:
    """What differs between two configurations: "NAME old → new", comma-separated."""
    differing = [name for name in config if config[name] != base.get(name)]
    return ", ".join(
        f"{name} {shown(base[name]) + ' ' if name in base else ''}→ {shown(config[name])}" for name in differing
    )


def model_line(view: View) -> str:
    """Which model answers; that a stand-in is one cannot be missed."""
    if view.stand_in:
        return f"{view.model}: a STAND-IN, rules in a model's place; what it finds says nothing of a language model"
    return view.model


def summary_lines(view: View) -> list[str]:
    """The summary of a session, one fact a line."""
    name = view.target.get("metric", {}).get("name", "metric")
    reason = f" ({view.status_reason})" if view.status_reason else ""
    lines = [
        f"session    {view.session}: {view.status}{reason}",
        f"model      {model_line(view)}",
        f"settings   {_settings(view)}",
        f"trials     {_trials(view)}",
    ]
    runs = view.baseline_runs
    if runs:
        spread = f" ± {number(statistics.stdev(runs))}" if len(runs) > 1 else ""
        lines.append(f"baseline   {name} {number(statistics.fmean(runs))}{spread} over {len(runs)} runs")
    lines += _best(view, name)
    if "1.5" in view.settings.levels:
        acted = sum(decided.acted for decided in view.strategies)
        lines.append(f"level 1.5  decided {len(view.strategies)} times, acted {acted} times")
    if "2" in view.settings.levels:
        lines += _mechanisms(view)
    lines.append(f"model use  {_use(view)}")
    return lines


def _settings(view: View) -> str:
    target, settings = view.target, view.settings
    budget = target.get("budget", {})
    value, kind = budget.get("value", math.nan), budget.get("kind", "")
    what = f"{value:g} {'s' if kind == 'seconds' else 'FLOPs'} a trial"
    levels = ", ".join(settings.levels)
    sandbox = sandbox_level(view)
    held = f", sandbox level {sandbox}" if sandbox and "2" in settings.levels else ""
    return f"target {target.get('name', '?')}, profile {settings.profile}, {what}, levels {levels}{held}"


def _trials(view: View) -> str:
    counts: dict[str, int] = {}
    for trial in view.history:
        if trial.number > 0:
            counts[trial.status] = counts.get(trial.status, 0) + 1
    told = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    return f"{view.completed} of {view.settings.trials}" + (f": {told}" if told else "")


def _best(view: View, name: str) -> list[str]:
    best, baseline = view.history.best, view.baseline
    if best is None or best.metric is None:
        return [f"best       no valid {name} yet"]
    if best.number == 0 or baseline is None:
        return [f"best       the baseline: no trial was better (lowest {name} {number(best.metric)})"]
    gap = f", {signed(best.metric - baseline.metric)} to the baseline" if baseline.metric is not None else ""
    beyond = "beyond the noise" if best.beyond_noise else "within the noise"
    lines = [
        f"best       trial {best.number}: {name} {number(best.metric)}{gap} ({beyond} when it was kept)",
        f"           {changes_from(best.config, baseline.config)}",
    ]
    confirmed = view.confirmed
    if confirmed is None:
        return lines
    if confirmed.difference is None:
        return [*lines, "confirmed  no: it takes two valid fresh runs each of baseline and best to tell"]
    low_high = (
        f", 95 % interval {signed(confirmed.interval[0])} to {signed(confirmed.interval[1])}"
        if confirmed.interval
        else ""
    )
    runs = min(len(confirmed.baseline), len(confirmed.best))
    lines.append(f"confirmed  {signed(confirmed.difference)} over {runs} fresh runs each{low_high}")
    if confirmed.held_out_baseline is not None and confirmed.held_out_best is not None:
        gap = signed(confirmed.held_out_best - confirmed.held_out_baseline)
        lines.append(
            f"held out   {gap} ({number(confirmed.held_out_best)} after {number(confirmed.held_out_baseline)})"
        )
    return lines


def _mechanisms(view: View) -> list[str]:
    found = injections(view)
    if not found:
        return ["level 2    no mechanism came up for admission"]
    lines = []
    for mechanism in found:
        status = _SHOWN_AS.get(mechanism.status, mechanism.status)
        since = f" after trial {mechanism.activated}" if mechanism.activated is not None else ""
        told = f"called {sum(mechanism.called.values())}, acted {mechanism.acted}" if since else mechanism.reason
        lines.append(f"level 2    {mechanism.name} ({mechanism.hash[:12]}): {status}{since}, {told}")
        lines.append(f"           {mechanism.purpose}")
        lines += _rehearsed(mechanism)
    return lines


def _rehearsed(mechanism: Mechanism) -> list[str]:
    """What it would have done to the trials recorded then, and where its source lies."""
    told = mechanism.evidence
    if not told:
        return []
    kept = f"{told.get('kept_blocked', 0)} of them kept ones"
    would = f"blocked {told.get('blocked', 0)} ({kept}), replaced {told.get('replaced', 0)}"
    trials = f"over {told.get('trials', 0)} trials it would have {would}, suggested {told.get('suggested', 0)}"
    return [f"           {trials}; sandbox {told.get('sandbox', '?')}", f"           source: {mechanism.path}"]


def _use(view: View) -> str:
    tokens = f"{view.calls} calls, {view.tokens_in:,} tokens in, {view.tokens_out:,} out"
    spent = cost(view)
    if view.stand_in:
        return f"{tokens}, no cost: a stand-in answered"
    return f"{tokens}, cost {'unknown' if spent is None else f'{spent:.4f}'}"
