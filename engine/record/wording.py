"""How values, differences and texts read to a person: the same everywhere. Nothing here knows of a terminal."""

import textwrap
from collections.abc import Mapping

from engine.record.events import TrialStarted
from engine.record.view import View
from engine.search.parameters import Config, Value

WIDTH = 80
"""Columns that a person's lines keep to where they are wrapped."""
LONGEST_TEXT = 160
_WHO = {"person": "a person", "model": "the model", "engine": "the engine"}
_WHO |= {"stand-in": "the stand-in", "clock": "the clock", "auto": "the setting auto"}


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


def counted(count: int, noun: str) -> str:
    """A number and what it counts: "1 trial", "3 trials"."""
    return f"{count} {noun}" + ("" if count == 1 else "s")


def changes_from(config: Mapping[str, Value], base: Config) -> str:
    """What differs between two configurations: "NAME old → new", comma-separated."""
    differing = [name for name in config if config[name] != base.get(name)]
    return ", ".join(
        f"{name} {shown(base[name]) + ' ' if name in base else ''}→ {shown(config[name])}" for name in differing
    )


def clean(text: object, width: int = LONGEST_TEXT) -> str:
    """A text on one line without control characters, at most `width` characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= width else line[: width - 1] + "…"


def who(by: str) -> str:
    """Who did something, as a sentence names them."""
    return _WHO.get(by, clean(by, 40))


def because(what: str, by: str = "", reason: str = "") -> str:
    """Who decided, and why, to stand behind what was decided: " by a person: too slow". Nothing is said twice.

    `by` is "by a person" or the like, where it is known. A reason such as "a person vetoed it", which the record has
    where a person gave none, says all of it.
    """
    doer, reason = by.removeprefix("by "), clean(reason, 300)
    if reason in (f"a person {what} it", f"{doer} {what} it"):
        return f" by {reason.removesuffix(f' {what} it')}"
    if not by or (reason and reason.startswith((f"{doer} ", f"{doer}'s "))):
        return f": {reason}" if reason else ""
    return f" {by}: {reason}" if reason else f" {by}"


def reason_alone(what: str, reason: str) -> str:
    """The same to stand by itself: "too slow", or "by a person" where none was given."""
    return because(what, "", reason).removeprefix(":").strip()


def labelled(label: str, text: object, width: int = 11) -> list[str]:
    """A fact on as many lines as it takes: its label, then the text in a column that begins at `width`."""
    # A word that is longer, such as a path, stays whole: a person copies it.
    wrapped = textwrap.wrap(clean(text, 2000), WIDTH - width, break_on_hyphens=False, break_long_words=False) or [""]
    return [f"{label if not index else '':<{width}}{line}".rstrip() for index, line in enumerate(wrapped)]


def metric_name(view: View) -> str:
    """What the target calls its metric."""
    return str(view.target.get("metric", {}).get("name", "metric"))


def ending(view: View) -> str:
    """That a person has stopped the session, and after which run it ends; empty while nobody has."""
    if not view.ending:
        return ""
    return f"ending after {view.running.started.run}" if view.running else "ending"


def run_words(view: View, started: TrialStarted) -> str:
    """What a run is for: a trial, or which of the baseline's or the confirmation's runs."""
    if started.role == "search":
        return f"training trial {started.number}"
    done = sum(run.role == started.role for run in view.finished_runs.values())
    if started.role == "baseline":
        return f"baseline run {done + 1} of {view.settings.baseline_runs}"
    whose = "the baseline" if started.role == "confirm_baseline" else f"trial {started.number}"
    return f"confirming {whose}, run {done + 1} of {view.settings.confirm_runs}"


def between_runs(view: View) -> str:
    """What is told while no run goes on and no level says what it does."""
    return f"{view.phase}: " + ("between two runs" if view.finished_runs else "the first run begins")


def model_line(view: View) -> str:
    """Which model answers; that a stand-in is one cannot be missed."""
    if view.stand_in:
        return f"{view.model}: a STAND-IN, rules in a model's place; what it finds says nothing of a language model"
    return view.model
