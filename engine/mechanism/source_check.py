"""What the source of a mechanism must look like, told from its syntax tree, before any of it runs.

It finds honest mistakes early and names them all at once, so that the model can repair them in one round. It is no
protection: code that means harm passes it easily. That is the cage's part, and the trust rule's.
"""

import ast
import re
import sys
import warnings

from engine.mechanism.contract import DECISIVE, HOOKS
from engine.search import syntax

LONGEST_SOURCE = 100_000
LONGEST_LINE = 300
OF_USE = (
    "abc, array, bisect, cmath, collections, contextlib, copy, dataclasses, decimal, enum, fractions, functools, "
    "hashlib, heapq, itertools, json, math, numbers, operator, random, re, statistics, string, textwrap, types, typing"
)
"""What a mechanism can make use of in the standard library; the rest may be imported, but is for files, networks,
processes and terminals, which the cage withholds."""
PACKAGES = (
    f"numpy, and the standard library, of which {OF_USE} are of use. Not there: scikit-learn, scipy, pandas, torch, or "
    "any other package"
)
"""What the model is told of what can be imported."""
SHOWN = 5
"""Names of what is there instead, in a problem."""
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,59}", re.ASCII)


def parse(source: str) -> ast.Module:
    """The syntax tree of a source. Raises SyntaxError for anything that is none, too long or too deeply nested."""
    if len(source) > LONGEST_SOURCE:
        raise SyntaxError(f"the source has {len(source):,} characters; {LONGEST_SOURCE:,} are allowed")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an odd escape in a string is no concern of the engine's
            return syntax.parse(source)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or "it nests too deeply") from None


def check_source(source: str) -> list[str]:
    """Every problem found, one sentence each; an empty list when the source may be loaded."""
    try:
        tree = parse(source)
    except SyntaxError as error:
        where = f" (line {error.lineno})" if error.lineno else ""
        return [f"the source is not valid Python: {error.msg}{where}"]
    problems = _imports(tree)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Mechanism"]
    if len(classes) != 1:
        return [*problems, f"there must be exactly one class Mechanism at the top level, {_there(tree, len(classes))}"]
    return [*problems, *_texts(classes[0]), *_methods(classes[0])]


def _there(tree: ast.Module, count: int) -> str:
    """What the top level has instead of the one class."""
    others = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    if count or not others:
        return f"there are {count}"
    return f"there is none, and nothing calls {', '.join(others[:SHOWN])}"


def _imports(tree: ast.Module) -> list[str]:
    problems = []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if isinstance(node, ast.ImportFrom) and node.level:
            problems.append(f"line {node.lineno}: a relative import; a mechanism is one file")
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for root in (name.split(".")[0] for name in names):
            if root != "numpy" and root not in sys.stdlib_module_names:
                problems.append(
                    f"it imports {root} (line {node.lineno}): only the standard library and numpy are there"
                )
    return problems


def _texts(mechanism: ast.ClassDef) -> list[str]:
    """Problems with name, purpose and source: one-line string literals in the class body."""
    found: dict[str, str] = {}
    for node in mechanism.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            found.update({target.id: value.value for target in targets if isinstance(target, ast.Name)})
    problems = []
    for attribute in ("name", "purpose", "source"):
        text = found.get(attribute)
        if text is None:
            problems.append(f'Mechanism needs a class attribute {attribute} = "...", a string literal')
        elif not text.strip() or len(text.splitlines()) != 1 or len(text) > LONGEST_LINE:
            problems.append(f"Mechanism.{attribute} is one line of at most {LONGEST_LINE} characters")
        elif attribute == "name" and not _NAME.fullmatch(text):
            problems.append("Mechanism.name has at most 60 letters, digits, spaces, _ and -, a letter first")
    return problems


def _methods(mechanism: ast.ClassDef) -> list[str]:
    problems = []
    methods = {node.name: node for node in mechanism.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    for name, method in methods.items():
        if name == "__init__" and not _takes(method, 1):
            problems.append(f"line {method.lineno}: the constructor takes no arguments")
        if name not in HOOKS:
            continue
        arguments = ("self", "view", *HOOKS[name].arguments)
        if isinstance(method, ast.AsyncFunctionDef):
            problems.append(f"line {method.lineno}: {name} is async; hooks are plain functions")
        elif not _takes(method, len(arguments)):
            problems.append(f"line {method.lineno}: {name} is called as {name}({', '.join(arguments)})")
    if not any(name in methods for name in DECISIVE):
        problem = f"it can change no decision: Mechanism needs a method {', '.join(DECISIVE[:-1])} or {DECISIVE[-1]}"
        strangers = [name for name in methods if name not in HOOKS and not name.startswith("_")]
        problems.append(problem + (f"; nothing calls {', '.join(strangers[:SHOWN])}" if strangers else ""))
    return problems


def _takes(method: ast.FunctionDef | ast.AsyncFunctionDef, count: int) -> bool:
    """Whether the method can be called with `count` positional arguments, self among them."""
    arguments = method.args
    most = len(arguments.posonlyargs) + len(arguments.args)
    least = most - len(arguments.defaults)
    needs_keyword = any(default is None for default in arguments.kw_defaults)
    return not needs_keyword and least <= count and (count <= most or arguments.vararg is not None)
