"""What a session came to, told to a person: one fact a line. Computed from the view alone."""

import math
import statistics

from engine.record.archive import archive_line
from engine.record.credit import Credit, credit
from engine.record.events import Confirmed
from engine.record.evidence import expected, standing, verdict
from engine.record.summary import cost, injections, sandbox_level, unpaid
from engine.record.view import Mechanism, View
from engine.record.wording import (
    changes_from,
    clean,
    counted,
    labelled,
    metric_name,
    model_line,
    number,
    signed,
)

_ENDED = {"refused": "was refused", "failed": "failed"}
"""How a research ended that came to nothing."""


def summary_lines(view: View) -> list[str]:
    """The summary of a session, one fact a line."""
    name = metric_name(view)
    reason = f" ({view.status_reason})" if view.status_reason and view.status != "running" else ""
    lines = [
        f"session    {view.session}: {view.status}{reason}",
        f"model      {model_line(view)}",
        f"settings   {_settings(view)}",
        *filter(None, [archive_line(view)]),
        f"trials     {_trials(view)}",
    ]
    runs = view.baseline_runs
    if runs:
        spread = f" ± {number(statistics.stdev(runs))}" if len(runs) > 1 else ""
        lines.append(f"baseline   {name} {number(statistics.fmean(runs))}{spread} over {counted(len(runs), 'run')}")
    lines += _best(view)
    if "1.5" in view.settings.levels:
        acted = sum(decided.acted for decided in view.strategies)
        lines.append(f"level 1.5  decided {counted(len(view.strategies), 'time')}, acted {counted(acted, 'time')}")
    if "2" in view.settings.levels:
        lines += _level2(view)
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


def _best(view: View) -> list[str]:
    best, baseline, confirmed = view.history.best, view.baseline, view.confirmed
    lines = [f"best       {best_told(view)}"]
    if best is None or best.metric is None or best.number == 0 or baseline is None:
        return lines
    lines.append(f"           {changes_from(best.config, baseline.config)}")
    if confirmed is None:
        return lines
    lines.append(f"confirmed  {confirmed_told(confirmed)}")
    if confirmed.difference is None:
        return lines
    if confirmed.held_out_baseline is not None and confirmed.held_out_best is not None:
        gap = signed(confirmed.held_out_best - confirmed.held_out_baseline)
        lines.append(
            f"held out   {gap} ({number(confirmed.held_out_best)} after {number(confirmed.held_out_baseline)})"
        )
    return lines


def best_told(view: View) -> str:
    """The best trial, its difference to the baseline, and whether that may be noise."""
    best, baseline, name = view.history.best, view.baseline, metric_name(view)
    if best is None or best.metric is None:
        return f"no valid {name} yet"
    if best.number == 0 or baseline is None:
        which = "lowest" if view.history.direction == "minimize" else "highest"
        none = "no trial was better" if view.completed else "no trial has ended yet"
        return f"the baseline: {none} ({which} {name} {number(best.metric)})"
    gap = f", {signed(best.metric - baseline.metric)} to the baseline" if baseline.metric is not None else ""
    beyond = "beyond the noise" if best.beyond_noise else "within the noise"
    return f"trial {best.number}: {name} {number(best.metric)}{gap} ({beyond} when it was kept)"


def confirmed_told(confirmed: Confirmed) -> str:
    """The difference that fresh runs of baseline and best had, with its interval."""
    if confirmed.difference is None:
        return "no: it takes two valid fresh runs each of baseline and best to tell"
    told = ""
    if confirmed.interval:
        told = f", 95 % interval {signed(confirmed.interval[0])} to {signed(confirmed.interval[1])}"
    runs = min(len(confirmed.baseline), len(confirmed.best))
    return f"{signed(confirmed.difference)} over {counted(runs, 'fresh run')} each{told}"


def _level2(view: View) -> list[str]:
    """What level 2 came to: its mechanisms, and the researches that came to nothing."""
    lines: list[str] = []
    for mechanism in injections(view):
        lines += _mechanism(view, mechanism)
    for research in view.researches.values():
        ended = research.finished
        if ended is not None and ended.outcome in ("refused", "failed"):
            came_to = f"research {research.number} {_ENDED[ended.outcome]}"
            lines += labelled("level 2", f"{came_to}, and the search went on as it was: {ended.reason}")
    return lines or ["level 2    no mechanism came up for admission"]


def _mechanism(view: View, mechanism: Mechanism) -> list[str]:
    """One mechanism: its state, what it did or would have done, what it is credited with, the effect expected."""
    told = f"{clean(mechanism.name, 60)} ({mechanism.hash[:12]}): {standing(mechanism)}"
    lines = [*labelled("level 2", told), *labelled("", mechanism.purpose)]
    found = credit(view, mechanism)
    if found is None:
        lines += labelled("", verdict(mechanism))
    else:
        lines += labelled("", f"called {mechanism.calls}, acted {mechanism.acted}; {_credited(found)}")
    if mechanism.evidence.get("expected"):
        lines += labelled("", f"expected {expected(mechanism)}")
    return [*lines, f"           source: {mechanism.path}"]


def _credited(found: Credit) -> str:
    touched, others = found.touched, found.others
    return (
        f"improvement {signed(touched.improvement)} in the {counted(touched.trials, 'trial')} that it touched, "
        f"{signed(others.improvement)} in the {others.trials} that it did not"
    )


def _use(view: View) -> str:
    tokens = f"{counted(view.calls, 'call')}, {view.tokens_in:,} tokens in, {view.tokens_out:,} out"
    spent = cost(view)
    if unpaid(view):
        return f"{tokens}, no cost: {'a stand-in answered' if view.stand_in else 'recorded answers were given again'}"
    return f"{tokens}, cost {'unknown' if spent is None else f'{spent:.4f}'}"
