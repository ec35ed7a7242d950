"""Which mechanism may run while no person looks.

A shipped module, or one that equals it except for tuned literals, may run at every sandbox level: people have read it.
Any other generated code needs a level that holds hostile code (B or better), a person's approval, or `--unsafe`.

"Except for tuned literals" is meant narrowly, since whoever writes the source may be hostile. Compared are syntax
trees, node by node. A number may be another finite number of the same type, a bool the other bool, and the strings
`name`, `purpose` and `source` of the class any other string; docstrings do not count. Every other string must be the
same, since a string can be a name, a format or a path. What numbers alone can do, run for ever or run out of memory,
the host's limits end.
"""

import ast
import hashlib
import math
from collections.abc import Mapping
from pathlib import Path

from engine.mechanism.source_check import parse

UNATTENDED_LEVELS = frozenset({"A+", "A", "B"})
SHIPPED = Path(__file__).resolve().parents[2] / "mechanisms"
LARGEST_INTEGER = 2**62
_FREE_TEXTS = frozenset({"name", "purpose", "source"})


def source_hash(source: str) -> str:
    """The identity of a source: its sha256 in hexadecimal."""
    return hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()


def shipped_sources(folder: Path = SHIPPED) -> dict[str, str]:
    """The sources of the modules that came with the software, by file name; folders within are not."""
    paths = sorted(path for path in folder.glob("*.py") if path.stem != "__init__")
    return {path.stem: path.read_text(encoding="utf-8") for path in paths}


def equals_shipped(source: str, shipped: Mapping[str, str]) -> str | None:
    """The name of the shipped module that `source` equals except for tuned literals, or None."""
    try:
        tree = parse(source)
    except SyntaxError:
        return None
    for name, original in shipped.items():
        if _same_body(parse(original).body, tree.body, free=False):
            return name
    return None


def may_run_unattended(source: str, level: str, shipped: Mapping[str, str], unsafe: bool = False) -> tuple[bool, str]:
    """Whether `source` may be activated without a person at this sandbox level, and why (one sentence)."""
    original = equals_shipped(source, shipped)
    if original is not None:
        return True, f"It is the shipped module {original} with other numbers at most."
    if level in UNATTENDED_LEVELS:
        return True, f"It runs in a sandbox of level {level}."
    if unsafe:
        return True, f"It runs at level {level} because of --unsafe."
    return False, f"Generated code at sandbox level {level} needs a person's approval (or --unsafe)."


def _same_body(ours: list[ast.stmt], theirs: list[ast.stmt], free: bool) -> bool:
    """Equal statements, docstrings apart. `free`: the statements stand directly in the class Mechanism."""
    ours, theirs = _without_docstring(ours), _without_docstring(theirs)
    return len(ours) == len(theirs) and all(_same(a, b, free) for a, b in zip(ours, theirs, strict=True))


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *rest]:
            return rest
    return body


def _same(ours: object, theirs: object, free: bool = False) -> bool:
    if type(ours) is not type(theirs):
        return False
    if isinstance(ours, ast.Constant) and isinstance(theirs, ast.Constant):
        return _same_literal(ours.value, theirs.value)
    if free and isinstance(ours, ast.Assign) and isinstance(theirs, ast.Assign) and _sets_free_text(ours, theirs):
        return True
    if isinstance(ours, ast.AST):
        is_mechanism = isinstance(ours, ast.ClassDef) and ours.name == "Mechanism"
        return all(_same_field(ours, theirs, field, is_mechanism) for field in ours._fields)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(_same(a, b) for a, b in zip(ours, theirs, strict=True))
    return ours == theirs


def _same_field(ours: ast.AST, theirs: object, field: str, is_mechanism: bool) -> bool:
    a, b = getattr(ours, field, None), getattr(theirs, field, None)
    documented = isinstance(ours, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    if field == "body" and documented and isinstance(a, list) and isinstance(b, list):
        return _same_body(a, b, free=is_mechanism)
    return _same(a, b)


def _same_literal(ours: object, theirs: object) -> bool:
    if type(ours) is not type(theirs):
        return False
    if isinstance(theirs, bool):
        return True
    if isinstance(theirs, int):
        return theirs <= LARGEST_INTEGER
    if isinstance(theirs, float):
        return math.isfinite(theirs)
    return ours == theirs


def _sets_free_text(ours: ast.Assign, theirs: ast.Assign) -> bool:
    """Both are `name = "..."` (or purpose, source), the same one."""
    match ours, theirs:
        case (
            ast.Assign(targets=[ast.Name(id=a)], value=ast.Constant(value=str())),
            ast.Assign(targets=[ast.Name(id=b)], value=ast.Constant(value=str())),
        ):
            return a == b and a in _FREE_TEXTS
    return False
