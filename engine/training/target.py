"""The target of a session: which script is searched, how it is run and judged, under which budget, in which space.

`load_target` reads a directory's target.toml for one profile and holds it against the scripts beside it; what it
returns has been checked as a whole. `describe` and `target_from_description` carry a target through the record, so that
a session goes on with the target that it began with, whatever became of the file. Nothing here writes a file or starts
a process.
"""

import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import InputError
from engine.search.parameters import Space, Value, space_from_json, space_to_json
from engine.search.trials import Direction
from engine.training.environment import trainer_environment
from engine.training.output import default_pattern
from engine.training.target_budget import (
    Budget,
    Edits,
    Limits,
    add_constants,
    budget_edits,
    check_variable,
    read_budget,
    read_limits,
)
from engine.training.target_file import Table, inside, nearest, read_target_file, show
from engine.training.target_space import Scripts, read_space

__all__ = ["Budget", "Limits", "Metric", "Target", "describe", "load_target", "profiles", "target_from_description"]

_NESTED_REPEAT = re.compile(r"\((?:[^()\\]|\\.)*[+*](?:[^()\\]|\\.)*\)\s*[+*{]")
_LONGEST_PATTERN = 200


@dataclass(frozen=True)
class Metric:
    """What is optimised. `pattern` (one group: the number) is for one line; `held_out` names a second metric."""

    name: str
    direction: Direction
    pattern: str
    held_out: str | None = None


@dataclass(frozen=True)
class Target:
    """A target with one of its profiles applied.

    `command` is ready to run in a copy of `root`. `space` holds the baseline's values. `file_edits` says by file which
    constants the baseline commit sets, the budget's and the searched file's among them (None is written as None).
    """

    name: str
    root: Path
    profile: str
    command: tuple[str, ...]
    searched: str
    fixed: tuple[str, ...]
    metric: Metric
    seed_env: str | None
    held_out_env: str | None
    budget: Budget
    limits: Limits
    space: Space
    environment: dict[str, str] = field(default_factory=dict)
    file_edits: Edits = field(default_factory=dict)


def profiles(directory: Path) -> list[str]:
    """The names of the profiles that a directory's target.toml defines. Raises InputError when it cannot be read."""
    return list(read_target_file(directory).table("profile", required=True))


def load_target(
    directory: Path,
    profile: str,
    *,
    seconds: float | None = None,
    flops: float | None = None,
    initial: Mapping[str, Value] | None = None,
) -> Target:
    """The target of a directory with one profile; `seconds` or `flops` and `initial` go before what the profile says.

    Raises InputError with one sentence for anything that a person has to correct.
    """
    root = directory.resolve()
    table = read_target_file(root)
    name, command = _name(table), _command(table)
    searched, fixed = _files(table, root)
    metric = _metric(table)
    seed_env, held_out_env = _variable(table, "seed"), _variable(table, "held_out")
    chosen = _profile(table, profile)
    budget = read_budget(chosen, seconds, flops)
    limits = read_limits(table, budget)
    scripts = Scripts(root, searched, fixed)
    space = read_space(table, chosen, scripts, initial)
    environment = _environment(table) | _environment(chosen)
    edits, variables = budget_edits(table, budget, scripts)
    add_constants(edits, chosen, scripts, space)
    edits.setdefault(searched, {}).update(space.initial)
    chosen.close()
    table.close()
    trainer_environment(environment)  # refuses what would hand the script a secret
    return Target(
        name=name,
        root=root,
        profile=profile,
        command=command,
        searched=searched,
        fixed=fixed,
        metric=metric,
        seed_env=seed_env,
        held_out_env=held_out_env,
        budget=budget,
        limits=limits,
        space=space,
        environment=environment | variables,
        file_edits=edits,
    )


def describe(target: Target) -> dict[str, Any]:
    """The target in JSON-pure form, for the record; `target_from_description` is its inverse."""
    fields = {name: getattr(target, name) for name in Target.__dataclass_fields__}
    fields |= {name: asdict(fields[name]) for name in ("metric", "budget", "limits")}
    fields |= {"root": str(target.root), "space": space_to_json(target.space)}
    pure: dict[str, Any] = json.loads(json.dumps(fields))
    return pure


def target_from_description(description: Mapping[str, Any]) -> Target:
    """The target that `describe` described."""
    fields = dict(description)
    fields |= {name: tuple(fields[name]) for name in ("command", "fixed")}
    fields |= {"metric": Metric(**fields["metric"]), "budget": Budget(**fields["budget"])}
    fields |= {"limits": Limits(**fields["limits"]), "space": space_from_json(fields["space"])}
    return Target(**fields | {"root": Path(fields["root"])})


def _name(table: Table) -> str:
    name = table.text("name")
    if not re.fullmatch(r"\w[\w .-]{0,59}", name):
        table.fail("name", f"is {show(name)}: use letters, digits, spaces, '.', '-', '_', at most 60")
    return name


def _command(table: Table) -> tuple[str, ...]:
    words = table.texts("command")
    if not words:
        table.fail("command", 'is empty: give a list such as ["{python}", "train.py"]')
    return tuple(word.replace("{python}", sys.executable) for word in words)


def _files(table: Table, root: Path) -> tuple[str, tuple[str, ...]]:
    searched, fixed = table.text("searched"), tuple(table.texts("fixed", required=False))
    for key, file in (("searched", searched), *(("fixed", file) for file in fixed)):
        problem = inside(root, file)
        if problem:
            table.fail(key, f"names {show(file)}, which {problem}")
    if searched in fixed:
        table.fail("fixed", f"names {searched}, which is searched: a file is one or the other")
    return searched, fixed


def _metric(table: Table) -> Metric:
    metric = table.table("metric", required=True)
    name, direction = metric.text("name"), metric.text("direction")
    if not re.fullmatch(r"[A-Za-z_][\w./-]{0,59}", name):
        metric.fail("name", f"is {show(name)}: use letters, digits, '_', '.', '/', '-', beginning with a letter")
    if direction not in ("minimize", "maximize"):
        metric.fail("direction", f"is {show(direction)}: {nearest(direction, ('minimize', 'maximize'))}")
    pattern = metric.optional_text("pattern")
    if pattern is not None:
        _check_pattern(metric, pattern)
    held_out = metric.optional_text("held_out")
    metric.close()
    return Metric(
        name, "minimize" if direction == "minimize" else "maximize", pattern or default_pattern(name), held_out
    )


def _check_pattern(metric: Table, pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        metric.fail("pattern", f"is no regular expression: {error}")
    if groups != 1:
        metric.fail("pattern", f"has {groups} groups: put the number, and nothing else, in one pair of brackets")
    if len(pattern) > _LONGEST_PATTERN:
        metric.fail("pattern", f"is longer than {_LONGEST_PATTERN} characters: shorten it")
    if _NESTED_REPEAT.search(pattern):
        metric.fail("pattern", "repeats a group that repeats inside, which can take for ever: write it without")


def _variable(table: Table, key: str) -> str | None:
    section = table.table(key)
    name = section.optional_text("env", required=key in table)
    if name is not None:
        check_variable(section, "env", name)
    section.close()
    return name


def _profile(table: Table, name: str) -> Table:
    profiles = table.table("profile", required=True)
    if name not in profiles:
        raise InputError(f"{table.file}: there is no profile {show(name)}: {nearest(name, profiles)}")
    return profiles.table(name)


def _environment(table: Table) -> dict[str, str]:
    section = table.table("environment")
    for name in section:
        check_variable(section, name, name)
    return {name: section.text(name) for name in section}
