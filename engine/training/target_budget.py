"""The budget and the limits of a target, and the constants and variables by which its scripts are told of them."""

import re
from dataclasses import dataclass
from typing import Literal

from engine.errors import InputError
from engine.search.parameters import Space, Value
from engine.search.script import ScriptError, has_constant
from engine.training.target_file import Table, blame, nearest, show
from engine.training.target_space import Scripts

FLOP_DEADLINE = 3600.0  # seconds for a budget in FLOPs where the target gives no deadline
LARGEST_EXACT = 2**53  # floats up to here that are whole are written as integers
Edits = dict[str, dict[str, Value | None]]


@dataclass(frozen=True)
class Budget:
    """How long a trial trains: `value` seconds, or `value` FLOPs."""

    kind: Literal["seconds", "flops"]
    value: float


@dataclass(frozen=True)
class Limits:
    """When a trial counts as lost, in seconds and bytes: `deadline` is for the whole run, `stall` without output."""

    startup: float
    stall: float
    log_bytes: int
    deadline: float


def read_budget(profile: Table, seconds: float | None, flops: float | None) -> Budget:
    """The caller's budget, else the profile's. Raises InputError for none, for two, and for one that is not above 0."""
    own_seconds, own_flops = profile.number("seconds"), profile.number("flops")
    if own_seconds is not None and own_flops is not None:
        profile.fail("flops", "stands beside seconds: a budget is one or the other")
    if seconds is not None and flops is not None:
        raise InputError("a budget is in seconds or in FLOPs, not both: give one")
    if seconds is None and flops is None:
        seconds, flops = own_seconds, own_flops
    if seconds is None and flops is None:
        profile.fail("seconds", "is missing: give the seconds that a trial trains (or flops)")
    budget = Budget("flops", flops) if flops is not None else Budget("seconds", seconds or 0.0)
    if not 0 < budget.value < float("inf"):
        raise InputError(f"a budget of {budget.value:g} {budget.kind} is none: give a number above 0")
    return budget


def read_limits(table: Table, budget: Budget) -> Limits:
    """The limits; the deadline is the budget and `startup`, for a budget in FLOPs [limits].deadline and `startup`."""
    limits = table.table("limits")
    startup, stall = limits.number("startup", 300.0) or 0.0, limits.number("stall", 300.0) or 0.0
    log_bytes = int(limits.number("log_bytes", 2.0**24) or 0)
    own = limits.number("deadline", FLOP_DEADLINE) or 0.0
    limits.close()
    deadline = startup + (budget.value if budget.kind == "seconds" else own)
    return Limits(startup, stall, log_bytes, deadline)


def budget_edits(table: Table, budget: Budget, scripts: Scripts) -> tuple[Edits, dict[str, str]]:
    """How the script is told of its budget: constants by file, and environment variables."""
    section = table.table("budget", required=True)
    number = int(budget.value) if budget.value.is_integer() and budget.value < LARGEST_EXACT else budget.value
    edits: Edits = {}
    variables: dict[str, str] = {}
    for kind in ("seconds", "flops"):
        place, variable = section.optional_text(kind), section.optional_text(f"{kind}_env")
        chosen = kind == budget.kind
        if chosen and place is None and variable is None:
            section.fail(kind, f'is missing: say where the {kind} are written, "FILE:CONSTANT", or give {kind}_env')
        if place is not None and (chosen or kind == "flops"):
            file, constant = _place(section, kind, place, scripts)
            edits.setdefault(file, {})[constant] = number if chosen else None
        if variable is not None:
            check_variable(section, f"{kind}_env", variable)
            if chosen:
                variables[variable] = str(number)
    section.close()
    return edits, variables


def _place(table: Table, key: str, place: str, scripts: Scripts) -> tuple[str, str]:
    """File and constant of a place written FILE:CONSTANT. Raises InputError unless the constant is there."""
    file, _, constant = place.rpartition(":")
    files = (*scripts.fixed, scripts.searched)
    if file not in files:
        table.fail(key, f"is {show(place)}: write it as FILE:CONSTANT, where FILE is one of {', '.join(files)}")
    try:
        found = has_constant(scripts.source(file), constant)
    except ScriptError as error:
        raise blame(file, error) from None
    if not found:
        table.fail(key, f"names {constant}, which is no constant of {file}: {nearest(constant, scripts.block(file))}")
    return file, constant


def add_constants(edits: Edits, profile: Table, scripts: Scripts, space: Space) -> None:
    """Add the profile's constants, which are no parameters and not the budget's."""
    table = profile.table("constants")
    for key in table:
        file, constant = _place(table, key, key, scripts)
        if constant in edits.get(file, {}):
            table.fail(key, "is the budget: give it as seconds or flops of the profile")
        if file == scripts.searched and constant in space.parameters:
            table.fail(key, f"is a parameter: set it in {profile.where('initial')}")
        edits.setdefault(file, {})[constant] = table.value(key)


def check_variable(table: Table, key: str, name: str) -> None:
    """Raises InputError unless `name` may name an environment variable."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        table.fail(key, f"is {show(name)}: an environment variable has letters, digits and '_'")
