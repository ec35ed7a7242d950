"""The contract of a mechanism: its hooks, what it is told, and what each hook may answer.

`INTERFACE` is the contract as the model reads it. `check_answer` holds an answer against it: shape, types and sizes. It
does not know the search: whether a value lies in its range or a trial exists is for the chain to ask of the space and
the history. Standard library alone: the host, the engine and the prompts use the same page.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypedDict


@dataclass(frozen=True)
class Hook:
    """One hook: the arguments after `view`, and whether it can change a decision."""

    arguments: tuple[str, ...]
    decisive: bool


HOOKS: dict[str, Hook] = {
    "advise": Hook((), decisive=False),
    "steer": Hook((), decisive=True),
    "suggest": Hook((), decisive=True),
    "choose": Hook(("proposals",), decisive=True),
    "review": Hook(("proposal",), decisive=True),
    "accept": Hook(("trial",), decisive=True),
    "watch": Hook(("progress",), decisive=True),
    "observe": Hook(("trial",), decisive=False),
}
DECISIVE = tuple(name for name, hook in HOOKS.items() if hook.decisive)

LONGEST_TEXT = 4000
LONGEST_STRING_VALUE = 200
MOST_SUGGESTIONS = 8
MOST_NAMES = 64
LARGEST_INTEGER = 2**62
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}", re.ASCII)
# Texts end in prompts and on a terminal: control characters, other than newline and tab, must not reach either.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

INTERFACE = """\
class Mechanism:      # exactly one, constructor without arguments; helpers beside it are fine
    name = "..."      # letters, digits, spaces, _ and -
    purpose = "..."   # one line
    source = "..."    # one line: the literature it comes from, or "own"

    # Every hook is optional, but one of steer, suggest, choose, review, accept, watch must be there.
    def advise(self, view) -> str | None: ...
        # text for the proposal prompt
    def steer(self, view) -> dict | None: ...
        # for the model's next proposal, any of {"base": trial number, "freeze": [NAME], "unfreeze": [NAME],
        # "ranges": {NAME: [low, high]}}, with "why"
    def suggest(self, view) -> list | None: ...
        # at most 8, best first, each {"changes": {NAME: value}, "why": str} or {"replicate": trial number, "why": str};
        # optional "base": trial number, "gain": predicted improvement (> 0 is better), "sd": its deviation
    def choose(self, view, proposals) -> int | None: ...
        # index of the model's proposal to take; None = the first
    def review(self, view, proposal) -> dict | None: ...
        # None = allow; {"block": why}; {"changes": {NAME: value}, "why": why} replaces the proposal's changes
    def accept(self, view, trial) -> bool | None: ...
        # should this trial become the incumbent? None = no opinion
    def watch(self, view, progress) -> str | None: ...
        # a reason to stop the trial that runs now; after three trials stopped in a row the next one is not asked about
    def observe(self, view, trial) -> None: ...
        # every completed trial, in order, the baseline first. Only what this hook writes to self is kept: the other
        # hooks are called on a copy of self

view, read-only; each record is read as record.field or record["field"]:
    parameters    {NAME: record of value (in the incumbent), kind ("int", "float", "choice", "tuple"), low, high,
                  choices, log, locked, frozen ("", "person" or "level 1.5"; only a person's binds you), meaning}
    check(changes, base=None)   None, or why the changes would be refused; base: a trial number, None = the incumbent
    constraints   expressions that every configuration fulfils
    trials        completed trials in order, the baseline (number 0) first: number, base (None for the baseline),
                  changes, config, metric (None if not valid), runs (the metrics of its own runs), status ("keep",
                  "discard", "crash", "invalid", "stopped"), verdict ("better", "tie", "worse" against its base, or
                  None), hypothesis, replicate (a trial number or None), proposed_by ("engine", "model", "person" or a
                  mechanism's name), edited_by, prediction, seconds, steps, tokens_per_second, peak_memory_mb,
                  curve ((progress, loss), ...; a loss that is no number is None)
    incumbent     the trial whose configuration the next proposal changes; best: the trial with the best metric
    standing(config)   (mean, n) over the valid runs of a whole configuration; (None, 0) if it never ran
    direction     "minimize" or "maximize"; noise: the metric's standard deviation or None; trials_left: or None
    refused       your last refused suggestions: what, reason
    strategy, guidance, others (each: name, purpose, called, acted)
    rng           numpy.random.Generator, seeded per trial and hook: same history, same decisions
    Suggestions with a gain compete by expected improvement, the rest take turns; at most every second trial is one.
    Reviews run in order of injection. Three failures in a row, or no act in ten trials, take a mechanism out.
    In observe: noise and trials_left are None, and strategy, guidance, refused and others are empty.
proposal: base, changes, replicate, hypothesis
progress: fraction (0 to 1), step, loss, tokens_per_second (None where its line does not say), changes (the trial's)

Limits: the standard library and numpy; 1 GB and 5 s a call; no files, no network, no processes, no threads.
"""


class ViewState(TypedDict):
    """What a call tells beside the trials. Parameters' values, `best` and standings follow from the trials."""

    incumbent: int | None
    """Number of the incumbent trial; None before the baseline ran."""
    frozen: dict[str, str]
    """By name, who froze it: "person" or "level 1.5"."""
    noise: float | None
    trials_left: int | None
    strategy: str
    guidance: str
    refused: list[dict[str, Any]]
    others: list[dict[str, Any]]


class ContractViolation(ValueError):
    """A hook's answer is not one that the contract allows; the text is a sentence for the record and for the repair."""


def check_answer(hook: str, value: Any, proposals: int = 0) -> Any:
    """A hook's answer, cleaned: control characters gone from texts, empty answers as None.

    `proposals` is how many there were to `choose` from. Raises ContractViolation with one sentence.
    """
    if value is None or hook == "observe":
        return None
    return _CHECKS[hook](value, proposals)


def clean_text(text: str) -> str:
    """The text without control characters and without what reorders a line, stripped at both ends."""
    return _CONTROL.sub(" ", text).strip()


def _check_advise(value: Any, proposals: int) -> str | None:
    return _text("advise", "its text", value) or None


def _check_watch(value: Any, proposals: int) -> str | None:
    return _text("watch", "its reason", value) or None


def _check_accept(value: Any, proposals: int) -> bool:
    if not isinstance(value, bool):
        raise ContractViolation(f"accept returned {_kind(value)}; it returns True, False or None")
    return value


def _check_choose(value: Any, proposals: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < proposals:
        shown = value if isinstance(value, int) else _kind(value)
        raise ContractViolation(f"choose returned {shown}; it returns an index from 0 to {proposals - 1}, or None")
    return value


def _check_review(value: Any, proposals: int) -> dict[str, Any]:
    if isinstance(value, dict) and set(value) == {"block"}:
        return {"block": _why("review", value["block"])}
    if isinstance(value, dict) and set(value) == {"changes", "why"}:
        return {"changes": _changes("review", value["changes"]), "why": _why("review", value["why"])}
    raise ContractViolation(
        f'review returned {_kind(value)}; it returns None, {{"block": why}} or {{"changes": {{...}}, "why": why}}'
    )


def _check_suggest(value: Any, proposals: int) -> list[dict[str, Any]] | None:
    if not isinstance(value, list):
        raise ContractViolation(f"suggest returned {_kind(value)}; it returns a list of suggestions, or None")
    if len(value) > MOST_SUGGESTIONS:
        raise ContractViolation(f"suggest returned {len(value)} suggestions; at most {MOST_SUGGESTIONS} are taken")
    return [_suggestion(item) for item in value] or None


def _suggestion(item: Any) -> dict[str, Any]:
    if not isinstance(item, dict) or ("changes" in item) == ("replicate" in item):
        raise ContractViolation('suggest: each suggestion is a dict with either "changes" or "replicate", and "why"')
    allowed = {"replicate", "why", "gain", "sd"} if "replicate" in item else {"changes", "why", "base", "gain", "sd"}
    _only("suggest", item, allowed)
    clean: dict[str, Any] = {"why": _why("suggest", item.get("why"))}
    if "changes" in item:
        clean["changes"] = _changes("suggest", item["changes"])
    for key in ("replicate", "base"):
        if key in item and not (key == "base" and item[key] is None):
            clean[key] = _trial_number("suggest", key, item[key])
    for key in ("gain", "sd"):
        if item.get(key) is not None:
            clean[key] = _number("suggest", f'"{key}"', item[key])
    if clean.get("sd", 0.0) < 0:
        raise ContractViolation('suggest: "sd" is a standard deviation, at least 0')
    return clean


def _check_steer(value: Any, proposals: int) -> dict[str, Any] | None:
    if not isinstance(value, dict):
        raise ContractViolation(f"steer returned {_kind(value)}; it returns a dict, or None")
    if not value:
        return None
    _only("steer", value, {"base", "freeze", "unfreeze", "ranges", "why"})
    clean: dict[str, Any] = {"why": _why("steer", value.get("why"))}
    if value.get("base") is not None:
        clean["base"] = _trial_number("steer", "base", value["base"])
    for key in ("freeze", "unfreeze"):
        if value.get(key):
            clean[key] = _names("steer", key, value[key])
    if value.get("ranges"):
        clean["ranges"] = _ranges(value["ranges"])
    if len(clean) == 1:
        raise ContractViolation('steer gave only a "why"; it says what to change, or returns None')
    return clean


def _names(hook: str, key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > MOST_NAMES:
        raise ContractViolation(f'{hook}: "{key}" is a list of parameter names, at most {MOST_NAMES}')
    return list(dict.fromkeys(_name(hook, name) for name in value))


def _ranges(value: Any) -> dict[str, list[float]]:
    if not isinstance(value, dict) or len(value) > MOST_NAMES:
        raise ContractViolation('steer: "ranges" is a dict {NAME: [low, high]}')
    ranges = {}
    for name, pair in value.items():
        if not isinstance(pair, list) or len(pair) != 2:
            raise ContractViolation(f"steer: the range of {_name('steer', name)} is [low, high]")
        low, high = (_number("steer", f"a bound of {name}", bound) for bound in pair)
        if low > high:
            raise ContractViolation(f"steer: the range of {name} has low above high")
        ranges[_name("steer", name)] = [low, high]
    return ranges


def _changes(hook: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not 1 <= len(value) <= MOST_NAMES:
        raise ContractViolation(f'{hook}: "changes" is a dict {{NAME: value}} with at least one change')
    return {_name(hook, name): _value(hook, name, item) for name, item in value.items()}


def _value(hook: str, name: str, value: Any, inner: bool = False) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return _number(hook, name, value)
    if isinstance(value, str) and len(value) <= LONGEST_STRING_VALUE and not _CONTROL.search(value):
        return value
    if isinstance(value, list) and not inner and 1 <= len(value) <= MOST_NAMES:
        return [_value(hook, name, item, inner=True) for item in value]
    raise ContractViolation(f"{hook}: the value of {name} is a number, a bool, a short string or a list of these")


def _number(hook: str, what: str, value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ContractViolation(f"{hook}: {what} is a finite number, not {_kind(value)}")
    if abs(value) > LARGEST_INTEGER and isinstance(value, int):
        raise ContractViolation(f"{hook}: {what} is too large an integer")
    return value


def _trial_number(hook: str, key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < LARGEST_INTEGER:
        raise ContractViolation(f'{hook}: "{key}" is the number of a trial, not {_kind(value)}')
    return value


def _name(hook: str, name: Any) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ContractViolation(f"{hook}: a parameter's name is an identifier, not {_kind(name)}")
    return name


def _why(hook: str, value: Any) -> str:
    text = _text(hook, "the reason", value)
    if not text:
        raise ContractViolation(f"{hook}: the reason is empty")
    return text


def _text(hook: str, what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ContractViolation(f"{hook}: {what} is a string, not {_kind(value)}")
    if len(value) > LONGEST_TEXT:
        raise ContractViolation(f"{hook}: {what} has {len(value):,} characters; {LONGEST_TEXT:,} are allowed")
    return clean_text(value)


def _only(hook: str, value: dict[str, Any], allowed: set[str]) -> None:
    unknown = sorted(set(value) - allowed)
    if unknown:
        names = ", ".join(repr(clean_text(key[:40])) for key in unknown[:3])
        raise ContractViolation(f"{hook}: {names} is not a key of its answer; allowed are {', '.join(sorted(allowed))}")


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


_CHECKS: dict[str, Callable[[Any, int], Any]] = {
    "advise": _check_advise,
    "steer": _check_steer,
    "suggest": _check_suggest,
    "choose": _check_choose,
    "review": _check_review,
    "accept": _check_accept,
    "watch": _check_watch,
}
