"""The block of constants of a training script: read it, write values into it, prove that nothing else changed.

A constant is a top-level `NAME = value  # comment` with NAME in capitals, whose value is a literal or arithmetic on
literals (`2**19`, `(0.8, 0.95)`, `"SSSL"`). All else in a script is left alone and none of it is ever executed. Writing
replaces the characters of the value and keeps the rest byte for byte: comments, spacing, line ends, a byte order mark.
Pure functions on text; a caller that reads files must keep their line ends (bytes decoded as UTF-8).
"""

import ast
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.search.parameters import LARGEST_INTEGER, Value
from engine.search.syntax import parse

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_LINE_END = re.compile(rb"\r\n|\r|\n")
_COMMENT = re.compile(rb"[ \t\f,)]*;?[ \t\f]*#([^\r\n]*)")
_LARGEST_EXPONENT = 64
_LARGEST_STEP = 2**256
_SMALLEST_POWER = 1024
_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
}


class ScriptError(ValueError):
    """The script cannot be parsed, or cannot take a value. `line` counts from 1; None where no line is to blame."""

    def __init__(self, text: str, line: int | None = None) -> None:
        super().__init__(text)
        self.line = line


@dataclass(frozen=True)
class Constant:
    """One constant of a script: `text` is its value as written, `comment` what stands behind it on the line.

    `rebound` holds the lines, other than its own, that may give the name another value; a constant with such lines is
    not safe to search, since what is written at `line` need not be what the script uses.
    """

    name: str
    value: Value
    line: int
    comment: str
    text: str
    rebound: tuple[int, ...] = ()


def read_block(source: str) -> dict[str, Constant]:
    """The constants of a script by name, in order. Raises ScriptError when it is no Python."""
    script = _parsed(source)
    block: dict[str, Constant] = {}
    for name, (statement, node) in script.assigned.items():
        value = evaluate(node)
        if value is not None:
            start, end = script.span(node)
            block[name] = Constant(
                name,
                value,
                statement.lineno,
                script.comment(statement, node),
                script.data[start:end].decode(),
                tuple(script.rebound(name)),
            )
    return block


def has_constant(source: str, name: str) -> bool:
    """Whether `write_values` can set `name`: it holds a constant or None. Raises ScriptError when it is no Python."""
    found = _parsed(source).assigned.get(name)
    return found is not None and _is_constant(found[1])


def write_values(source: str, values: Mapping[str, Value | None]) -> str:
    """The script with these constants set; a value that a constant has already leaves its spelling alone.

    Elements of a tuple are replaced one by one, so that comments between them stay. Raises ScriptError for a name that
    is no constant of the script or is bound again elsewhere, and for a number that is not finite.
    """
    script = _parsed(source)
    edits: list[tuple[int, int, str]] = []
    for name, value in values.items():
        found = script.assigned.get(name)
        if found is None or not _is_constant(found[1]):
            raise ScriptError(f"the script has no constant {name}")
        again = script.rebound(name)
        if again:
            raise ScriptError(f"{name} is set in line {found[0].lineno} and again in line {again[0]}", again[0])
        edits += script.edits(found[1], value)
    data = script.data
    for start, end, text in sorted(edits, reverse=True):
        data = data[:start] + text.encode() + data[end:]
    return script.mark + data.decode()


def changed_constants(before: str, after: str) -> set[str]:
    """The constants whose values differ between two versions of a script that is otherwise the same code.

    The proof is by syntax tree, with the constants' values left out; statements that are spelled the same need none.
    Raises ScriptError when anything else differs.
    """
    old, new = _parsed(before), _parsed(after)
    if len(old.tree.body) != len(new.tree.body):
        raise ScriptError("one of the two scripts has statements that the other lacks")
    changed = set()
    for first, second in zip(old.tree.body, new.tree.body, strict=True):
        if old.text(first) == new.text(second):
            continue
        name = old.constant_of(first)
        if name is not None and name == new.constant_of(second) and _frame(first) == _frame(second):
            if not _identical(evaluate(old.assigned[name][1]), evaluate(new.assigned[name][1])):
                changed.add(name)
        elif ast.dump(first) != ast.dump(second):
            raise ScriptError(f"line {second.lineno} differs in more than the value of a constant", second.lineno)
    return changed


def render(value: Value | None, like: ast.expr | None = None, text: str = "") -> str:
    """A value as a Python literal, in the manner of the node `like` and its `text`: its brackets, its quotes.

    Powers of two from 1024 on are written as such. Raises ScriptError for a number that is not finite.
    """
    if isinstance(value, list):
        parts = [render(item) for item in value]
        if isinstance(like, ast.List):
            return f"[{', '.join(parts)}]"
        return f"({parts[0]},)" if len(parts) == 1 else f"({', '.join(parts)})"
    if isinstance(value, str) and text[:1] == '"' and '"' not in value:
        return '"' + repr("'" + value)[2:]  # a string that holds ' is shown by repr between "
    if isinstance(value, int) and not isinstance(value, bool) and value >= _SMALLEST_POWER and value.bit_count() == 1:
        return f"2**{value.bit_length() - 1}"
    if isinstance(value, float) and not math.isfinite(value):
        raise ScriptError(f"{value} cannot be written as a literal")
    return repr(value)


def evaluate(node: ast.expr) -> Value | None:
    """The value of a constant expression, None for any other (and for None). Large powers and shifts are none."""
    if isinstance(node, ast.Tuple | ast.List):
        parts = [_scalar(part) for part in node.elts]
        return None if any(part is None for part in parts) else [part for part in parts if part is not None]
    return _scalar(node)


def _scalar(node: ast.expr) -> bool | int | float | str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value if node.value.isprintable() else None
    try:
        number = _number(node)
    except (ArithmeticError, ValueError, RecursionError):
        return None
    if isinstance(number, float) and not math.isfinite(number):
        return None
    return None if isinstance(number, int) and abs(number) > LARGEST_INTEGER else number


def _number(node: ast.expr) -> int | float:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            first, second = _number(left), _number(right)
            if isinstance(op, ast.LShift) and not (isinstance(first, int) and isinstance(second, int)):
                raise ValueError("a shift is for integers")
            if isinstance(op, ast.Pow | ast.LShift) and abs(second) > _LARGEST_EXPONENT:
                raise OverflowError("the exponent is too large")
            result = _OPERATIONS[type(op)](first, second)
            if isinstance(result, int | float) and abs(result) <= _LARGEST_STEP:
                return result
    raise ValueError("not a constant expression")


def _is_constant(node: ast.expr) -> bool:
    return evaluate(node) is not None or (isinstance(node, ast.Constant) and node.value is None)


def _identical(first: Value | None, second: Value | None) -> bool:
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(_identical, first, second))
    return type(first) is type(second) and first == second


def _frame(statement: ast.stmt) -> str:
    """What an assignment is beside its value: plain, or with this annotation."""
    return ast.dump(statement.annotation) if isinstance(statement, ast.AnnAssign) else ""


def _same(first: Value | None, second: Value | None) -> bool:
    """Equal, where 1 and 1.0 are and 1 and True are not."""
    return first == second and isinstance(first, bool) == isinstance(second, bool)


class _Script:
    """A parsed script. Positions of the syntax tree count lines and UTF-8 bytes, so the text is held as bytes."""

    def __init__(self, source: str) -> None:
        self.mark = "\ufeff" if source.startswith("\ufeff") else ""
        text = source.removeprefix(self.mark)
        try:
            self.data = text.encode()
            self.tree = parse(text)
            bindings = list(_bindings(self.tree))
        except SyntaxError as error:
            raise ScriptError(f"the script is no valid Python: {error.msg}", error.lineno) from None
        except (ValueError, RecursionError, MemoryError) as error:
            raise ScriptError(f"the script cannot be parsed: {error}") from None
        self.starts = [0, *(end.end() for end in _LINE_END.finditer(self.data))]
        self.assigned: dict[str, tuple[ast.Assign | ast.AnnAssign, ast.expr]] = {}
        self.bindings: dict[str, list[int]] = {}
        for statement in self.tree.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id=name)], value=node) if _NAME.fullmatch(name):
                    self.assigned.setdefault(name, (statement, node))
                case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as node) if _NAME.fullmatch(name):
                    self.assigned.setdefault(name, (statement, node))
        for name, line in bindings:
            self.bindings.setdefault(name, []).append(line)

    def text(self, statement: ast.stmt) -> bytes:
        """The statement as written, its decorators included."""
        first = next(iter(getattr(statement, "decorator_list", ())), statement)
        return self.data[self.span(first)[0] : self.span(statement)[1]]

    def constant_of(self, statement: ast.stmt) -> str | None:
        """The name of the constant that is set by this statement and has a value that may be changed, or None."""
        for name, (assignment, node) in self.assigned.items():
            if assignment is statement:
                return name if _is_constant(node) else None
        return None

    def rebound(self, name: str) -> list[int]:
        """The lines that bind an assigned name once more."""
        lines = list(self.bindings[name])
        lines.remove(self.assigned[name][0].lineno)
        return lines

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """The node's first byte and the byte behind its last."""
        assert node.end_lineno is not None and node.end_col_offset is not None
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def comment(self, statement: ast.stmt, node: ast.expr) -> str:
        """What stands behind the statement on its last line, or behind the value within brackets around it."""
        for part in (statement, node):
            found = _COMMENT.match(self.data, self.span(part)[1])
            if found:
                return found[1].decode().strip()
        return ""

    def edits(self, node: ast.expr, value: Value | None) -> Iterator[tuple[int, int, str]]:
        """What to replace, as (first byte, byte behind the last, new text), so that the node has the value."""
        if isinstance(node, ast.Tuple | ast.List) and isinstance(value, list) and len(node.elts) == len(value):
            for part, item in zip(node.elts, value, strict=True):
                yield from self.edits(part, item)
        elif not _same(evaluate(node), value):
            start, end = self.span(node)
            yield start, end, render(value, node, self.data[start:end].decode())


@lru_cache(maxsize=4)
def _parsed(source: str) -> _Script:
    return _Script(source)


def _bindings(node: ast.AST) -> Iterator[tuple[str, int]]:
    """Every (name, line) that may bind a name of the module: assignment, loop, import, definition, `global`."""
    for child in ast.iter_child_nodes(node):
        line = getattr(child, "lineno", 0)
        match child:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name, line
                yield from _globals(child)
                continue
            case ast.Lambda():
                continue
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                yield name, line
            case ast.Import(names=aliases) | ast.ImportFrom(names=aliases):
                for alias in aliases:
                    yield (alias.asname or alias.name).split(".")[0], line
            case ast.ExceptHandler(name=str(name)) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                yield name, line
            case ast.MatchMapping(rest=str(name)):
                yield name, line
        yield from _bindings(child)


def _globals(definition: ast.AST) -> Iterator[tuple[str, int]]:
    for node in ast.walk(definition):
        if isinstance(node, ast.Global):
            yield from ((name, node.lineno) for name in node.names)
