"""Relations between constants that a configuration must fulfil, stated as expressions in the target.

`TOTAL_BATCH_SIZE % (DEVICE_BATCH_SIZE * MAX_SEQ_LEN) == 0` is one. The expression is parsed once and walked as a syntax
tree; nothing is ever passed to `eval`. Standard library alone: the mechanism host imports this module too.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from engine.search.syntax import parse

_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_FUNCTIONS: dict[str, Callable[..., Any]] = {"min": min, "max": max, "abs": abs, "len": len, "sum": sum}
_LARGEST_EXPONENT = 64


class ConstraintError(ValueError):
    """The expression is not one that a constraint may be; the text says which part."""


@dataclass(frozen=True)
class Constraint:
    """One relation: `expr` must be true for a configuration; `why` tells a person or a model what it is for."""

    expr: str
    why: str = ""

    def names(self) -> set[str]:
        """The constants that the expression speaks of. Raises ConstraintError on an expression that may not be."""
        tree = _parse(self.expr)
        try:
            _walk(tree.body, None)
        except RecursionError:
            raise ConstraintError(f"'{self.expr[:60]}...' is nested too deeply") from None
        called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called}

    def broken_by(self, values: Mapping[str, Any]) -> str | None:
        """None when `values` fulfil the relation, else the reason in one sentence."""
        try:
            fulfilled = bool(_walk(_parse(self.expr).body, values))
        except ConstraintError:
            raise
        except (ArithmeticError, TypeError, ValueError, KeyError, IndexError) as error:
            return f"{self.expr} cannot be computed for these values ({error})"
        if fulfilled:
            return None
        return f"{self.why or 'a constraint of the target is broken'} ({self.expr})"


def _parse(expr: str) -> ast.Expression:
    try:
        return parse(expr, "eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ConstraintError(f"'{expr}' is not an expression: {error}") from None


def _walk(node: ast.AST, values: Mapping[str, Any] | None) -> Any:
    """Evaluate `node`; with `values` None only check that every part is allowed."""
    checking = values is None
    match node:
        case ast.Constant(value=bool() | int() | float() | str() as value):
            return value
        case ast.Name(id=name):
            return 1 if values is None else values[name]
        case ast.Tuple(elts=parts) | ast.List(elts=parts):
            return [_walk(part, values) for part in parts]
        case ast.Subscript(value=inner, slice=index):
            sequence, at = _walk(inner, values), _walk(index, values)
            return 1 if checking else sequence[at]
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            base, exponent = _walk(left, values), _walk(right, values)
            if checking:
                return 1
            if abs(exponent) > _LARGEST_EXPONENT:
                raise OverflowError(f"exponent {exponent} is beyond {_LARGEST_EXPONENT}")
            return base**exponent
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            a, b = _walk(left, values), _walk(right, values)
            return 1 if checking else _BINARY[type(op)](a, b)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _walk(operand, values)
            return 1 if checking else -value
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _walk(operand, values)
        case ast.BoolOp(op=op, values=parts):
            if checking:
                return [_walk(part, None) for part in parts]
            # One after the other, so that `WARMUP == 0 or 1 / WARMUP > 2` can be computed at 0.
            results = (bool(_walk(part, values)) for part in parts)
            return all(results) if isinstance(op, ast.And) else any(results)
        case ast.Compare(left=left, ops=ops, comparators=rights) if all(type(op) in _COMPARE for op in ops):
            sides = [_walk(side, values) for side in (left, *rights)]
            return checking or all(_COMPARE[type(op)](a, b) for op, a, b in zip(ops, sides, sides[1:], strict=False))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in _FUNCTIONS:
            numbers = [_walk(argument, values) for argument in args]
            return 1 if checking else _FUNCTIONS[name](*numbers)
    raise ConstraintError(f"'{ast.unparse(node)}' may not stand in a constraint")
