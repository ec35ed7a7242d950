"""Python's parser, asked once more where it failed by an accident of its own."""

import ast
from typing import Literal, overload


@overload
def parse(source: str, mode: Literal["exec"] = "exec") -> ast.Module: ...
@overload
def parse(source: str, mode: Literal["eval"]) -> ast.Expression: ...
def parse(source: str, mode: Literal["exec", "eval"] = "exec") -> ast.AST:
    """The syntax tree of a source. Raises SyntaxError, ValueError, RecursionError or MemoryError, as `ast.parse` does.

    CPython 3.11.7 was seen to raise SystemError ("AST constructor recursion depth mismatch") for a source that it
    parsed a moment later. The source is not to blame, so it is parsed once more.
    """
    try:
        return ast.parse(source, mode=mode)
    except SystemError:
        return ast.parse(source, mode=mode)
