"""The search space of a target: [parameters], [[constraints]], what a profile says of them, held against the scripts.

Every value comes from the script, its profile or the caller, in rising order; all are checked together before the first
trial, so that a baseline never starts outside its own ranges or against its own constraints.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from engine.errors import InputError
from engine.search.constraints import Constraint, ConstraintError
from engine.search.parameters import Kind, Parameter, Space, Value
from engine.search.script import Constant, ScriptError, read_block
from engine.training.target_file import Table, as_value, blame, nearest, read_source, show

_KINDS: tuple[Kind, ...] = get_args(Kind)


class Scripts:
    """The scripts of a target's directory with their constants; each is read once. Raises InputError for no Python."""

    def __init__(self, root: Path, searched: str, fixed: tuple[str, ...]) -> None:
        self.root, self.searched, self.fixed = root, searched, fixed
        self._sources: dict[str, str] = {}

    def source(self, file: str) -> str:
        """The text of a file of the target."""
        if file not in self._sources:
            self._sources[file] = read_source(self.root, file)
        return self._sources[file]

    def block(self, file: str) -> dict[str, Constant]:
        """The constants of a file of the target."""
        try:
            return read_block(self.source(file))
        except ScriptError as error:
            raise blame(file, error) from None


def read_space(table: Table, profile: Table, scripts: Scripts, initial: Mapping[str, Value] | None) -> Space:
    """The space with the baseline's values. `initial`, in place of the profile's values, is a caller's (a fork's).

    Raises InputError where a table is wrong, a name is no constant, or the baseline breaks a range or a constraint.
    """
    block = scripts.block(scripts.searched)
    tables, overrides = table.table("parameters", required=True), profile.table("parameters")
    names = list(tables)
    for name in overrides:
        if name not in names:
            overrides.fail(name, f"is no parameter: {nearest(name, names)}")
    parameters = {}
    for name in names:
        if name not in block:
            tables.fail(name, f"is no constant of {scripts.searched}: {nearest(name, block)}")
        own = tables.table(name)
        parameters[name] = _parameter(own.overlaid(overrides.table(name)), block[name], scripts.searched)
    _set_initial(parameters, profile, block, scripts.searched, initial or {})
    constraints, constants = _read_constraints(table, parameters, profile, scripts)
    space = Space(parameters, tuple(constraints), constants)
    broken = space.broken(space.initial)
    if broken:
        raise InputError(f"{table.file}: the initial values of {profile.path} break a constraint: {broken}")
    return space


def _parameter(table: Table, constant: Constant, file: str) -> Parameter:
    name = constant.name
    if constant.rebound:
        raise InputError(
            f"{file}: {name} is set in line {constant.line} and again in line {constant.rebound[0]}: "
            f"only a constant that is set once can be searched"
        )
    kind = _kind(table, constant, file)
    locked = table.flag("locked")
    log = table.flag("log")
    low, high = _bounds(table, kind, constant, required=not locked and kind != "choice")
    choices = _choices(table, kind, constant, locked)
    if log and kind == "choice":
        table.fail("log", "has no meaning for a choice: leave it out")
    if log and any(bound <= 0 for bound in _as_list(low)):
        table.fail("log", f"needs bounds above 0, and low is {show(low)}")
    table.close()
    return Parameter(name, kind, constant.value, low, high, choices, log, locked, constant.comment)


def _kind(table: Table, constant: Constant, file: str) -> Kind:
    guessed: Kind = guess_kind(constant.value)
    stated = table.optional_text("kind") or guessed
    for kind in _KINDS:
        if stated == kind:
            break
    else:
        table.fail("kind", f"is {show(stated)}: {nearest(stated, _KINDS)}")
    numbers: dict[Kind, tuple[Kind, ...]] = {"int": ("int", "float"), "float": ("int", "float"), "tuple": ("tuple",)}
    if kind != "choice" and guessed not in numbers[kind]:
        table.fail("kind", f"is {show(kind)}, but {file}:{constant.line} says {constant.name} = {constant.text}")
    return kind


def guess_kind(value: Value) -> Kind:
    """The kind that a value suggests: a number's own, "tuple" for a list of numbers, "choice" for the rest."""
    if isinstance(value, list):
        return "tuple" if value and all(guess_kind(item) in ("int", "float") for item in value) else "choice"
    if isinstance(value, bool | str):
        return "choice"
    return "int" if isinstance(value, int) else "float"


def _bounds(table: Table, kind: Kind, constant: Constant, required: bool) -> tuple[Any, Any]:
    """low and high: a number each, or a list with one for each element of a tuple."""
    ends: list[Any] = []
    for key, word in (("low", "smallest"), ("high", "largest")):
        raw = table.raw(key)
        if raw is None and required:
            table.fail(key, f"is missing: state the {word} value that the search may try")
        if raw is not None and kind == "choice":
            table.fail(key, "has no meaning for a choice: list the choices instead")
        ends.append(None if raw is None else _bound(table, key, raw, kind, constant))
    low, high = ends
    size = len(constant.value) if isinstance(constant.value, list) else 1
    for lower, upper in zip(_as_list(low, size), _as_list(high, size), strict=False):
        if lower > upper:
            table.fail("low", f"is {show(low)}, above high = {show(high)}: make low the smaller")
    return low, high


def _bound(table: Table, key: str, raw: Any, kind: Kind, constant: Constant) -> Any:
    items = raw if isinstance(raw, list) and kind == "tuple" else [raw]
    if isinstance(raw, list) and isinstance(constant.value, list) and len(raw) != len(constant.value):
        table.fail(key, f"has {len(raw)} numbers, but {constant.name} has {len(constant.value)}: give one for each")
    for item in items:
        if isinstance(item, bool) or not isinstance(item, int | float) or as_value(item) is None:
            table.fail(key, f"is {show(raw)}: give a number" + (" for each element" if kind == "tuple" else ""))
        if kind == "int" and not float(item).is_integer():
            table.fail(key, f"is {show(raw)}: give an integer, as kind is int")
    return int(raw) if kind == "int" else raw


def _as_list(bound: Any, size: int = 1) -> list[float]:
    return bound if isinstance(bound, list) else [] if bound is None else [bound] * size


def _choices(table: Table, kind: Kind, constant: Constant, locked: bool) -> tuple[Value, ...]:
    raw = table.raw("choices")
    if kind != "choice":
        if raw is not None:
            table.fail("choices", f'has no meaning for kind = "{kind}": give low and high, or kind = "choice"')
        return ()
    if raw is None and isinstance(constant.value, bool):
        return (True, False)
    if raw is None and locked:
        return (constant.value,)
    items = [as_value(item) for item in raw] if isinstance(raw, list) else []
    choices = [item for item in items if item is not None]
    if not choices or len(choices) != len(items):
        table.fail("choices", f"is {'missing' if raw is None else show(raw)}: list the values that the search may try")
    for number, choice in enumerate(choices):
        if any(type(choice) is type(other) and choice == other for other in choices[:number]):
            table.fail("choices", f"names {show(choice)} twice: name it once")
    return tuple(choices)


def _set_initial(
    parameters: dict[str, Parameter],
    profile: Table,
    block: Mapping[str, Constant],
    file: str,
    initial: Mapping[str, Value],
) -> None:
    """Give every parameter the baseline's value: the caller's, else the profile's, else the script's."""
    table = profile.table("initial")
    for name in [*table, *initial]:
        if name not in parameters:
            where = table.where(name) if name in table else f"the initial value of {name}"
            raise InputError(f"{table.file}: {where} is for no parameter: {nearest(name, parameters)}")
    for name, parameter in parameters.items():
        if name in initial:
            raw, where = initial[name], f"the initial value given for {name}"
        elif name in table:
            raw, where = table.value(name), f"{table.file}: {table.where(name)}"
        else:
            raw, where = block[name].value, f"{file}:{block[name].line}"
        try:
            parameters[name] = replace(parameter, value=parameter.clean(raw))
        except ValueError as error:
            raise InputError(f"{where}: {error}; correct it, or parameters.{name}") from None


def _read_constraints(
    table: Table, parameters: Mapping[str, Parameter], profile: Table, scripts: Scripts
) -> tuple[list[Constraint], dict[str, Value]]:
    """The constraints, and the values of the constants that they use beside the parameters."""
    written: dict[str, Value] = {}
    constants = profile.table("constants")
    for key in constants:
        written[key.rpartition(":")[2]] = constants.value(key)
    found: dict[str, Value] = dict(written)
    constraints = []
    for entry in table.tables("constraints"):
        constraint = Constraint(entry.text("expr"), entry.optional_text("why") or "")
        entry.close()
        try:
            names = constraint.names()
        except ConstraintError as error:
            entry.fail("expr", f"is no constraint: {error}")
        for name in sorted(names - parameters.keys() - found.keys()):
            found[name] = _constant(name, entry, parameters, scripts)
        constraints.append(constraint)
    return constraints, found


def _constant(name: str, entry: Table, parameters: Mapping[str, Parameter], scripts: Scripts) -> Value:
    """The value of a constant of the target's scripts, the searched one first."""
    known = list(parameters)
    for file in (scripts.searched, *scripts.fixed):
        if file.endswith(".py"):
            block = scripts.block(file)
            if name in block:
                return block[name].value
            known += block
    return entry.fail("expr", f"speaks of {name}, which is neither parameter nor constant: {nearest(name, known)}")
