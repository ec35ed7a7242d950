"""How the offline stand-in adapts a module: one number of its class is changed, by a rule, and nothing else.

The result equals the module that it was made from except for that literal, so what may run unattended still may.
"""

import ast
import math
from collections.abc import Iterator

_FREE_TEXTS = ("purpose", "source")
_STEP = 1.25


def adapted(source: str, turn: int) -> str:
    """The module with one numeric constant of its class changed; as it is where it has none.

    `turn` says which constant and which way: the constants take turns, first all the way up, then all the way down.
    A whole number stays 1 or more, a part stays between 0 and 1, a factor above 1 stays one.
    """
    constants = list(_constants(source))
    if not constants:
        return source
    rounds, index = divmod(turn, len(constants))
    constant, value = constants[index]
    lines = source.encode().split(b"\n")  # a column of the syntax tree counts bytes
    line = lines[constant.lineno - 1]
    number = repr(_moved(value, up=rounds % 2 == 0)).encode()
    lines[constant.lineno - 1] = line[: constant.col_offset] + number + line[constant.end_col_offset :]
    return b"\n".join(lines).decode()


def alike(one: str, other: str) -> bool:
    """Whether two modules are the same but for numbers and what they say of themselves."""
    try:
        return _shape(one) == _shape(other)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # what was archived may be any text
        return False


def _constants(source: str) -> Iterator[tuple[ast.Constant, int | float]]:
    """The finite numbers, 0 excepted, that the class Mechanism gives a name in capitals, and where they stand."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name == "Mechanism":
            for statement in node.body:
                match statement:
                    case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=int() | float() as n) as at):
                        if name.isupper() and not isinstance(n, bool) and n and math.isfinite(n):
                            yield at, n


def _moved(value: int | float, *, up: bool) -> int | float:
    if isinstance(value, int):
        step = max(1, abs(value) // 4)
        return value + step if up or value - step < 1 else value - step
    if 0 < value < 1:
        moved = min(value * _STEP, 1 - (1 - value) / _STEP) if up else value / _STEP
    elif value > 1 and not up:
        moved = 1 + (value - 1) / _STEP
    else:
        moved = value * _STEP if up else value / _STEP
    short = float(f"{moved:.4g}")
    return moved if short in (value, 1.0) else short


def _shape(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str()) as text) if (
                name in _FREE_TEXTS
            ):
                text.value = ""
            case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
                node.value = type(number)()
    return ast.dump(tree)
