"""The trust rule: what may run while no person looks, told by an attacker's attempts to pass for a shipped module."""

import ast
from collections.abc import Iterator

import pytest

from engine.mechanism.trust import equals_shipped, may_run_unattended, shipped_sources, source_hash

SHIPPED = shipped_sources()
TABU = SHIPPED["tabu_search"]
SMALL = '''"""Small."""
import math

def helper(x):
    name = "local"
    return name, f"{x:.3f}"

class Mechanism:
    """A small one."""
    name = "small"
    purpose = "p"
    source = "own"
    TENURE = 7
    WIDE = True
    def review(self, view, proposal):
        """Docs."""
        return {"block": "no"} if self.TENURE > 1.5 else None
'''


def equals(source: str) -> str | None:
    return equals_shipped(source, {"other": "x = 1", "small": SMALL})


def changed(old: str, new: str) -> str:
    assert SMALL.count(old) == 1, old
    return SMALL.replace(old, new)


def test_the_shipped_modules_are_themselves() -> None:
    assert set(SHIPPED) == {
        "annealed_acceptance",
        "curve_stopping",
        "elite_restart",
        "multi_scale_bandit",
        "orthogonal_exploration",
        "tabu_search",
        "trust_region",
    }
    for name, source in SHIPPED.items():
        assert equals_shipped(source, SHIPPED) == name


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("TENURE = 7", "TENURE = 700"),
        ("> 1.5", "> 0.25"),
        ("WIDE = True", "WIDE = False"),
        ('name = "small"', 'name = "small, tuned"'),
        ('purpose = "p"', 'purpose = "another"'),
        ('"""A small one."""', '"""Another text."""'),
        ('    """Docs."""\n', ""),
        ("import math\n", "import math  # a comment\n\n"),
        ("TENURE = 7", "TENURE = 0x10"),
    ],
)
def test_other_numbers_bools_names_and_docstrings_are_still_the_shipped_module(old: str, new: str) -> None:
    assert equals(changed(old, new)) == "small"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("TENURE = 7", "TENURE = 7.0"),
        ("TENURE = 7", "TENURE = True"),
        ("TENURE = 7", "TENURE = -7"),
        ("TENURE = 7", "TENURE = '7'"),
        ("TENURE = 7", "TENURE = b'7'"),
        ("TENURE = 7", "TENURE = 7j"),
        ("TENURE = 7", "TENURE = None"),
        ("TENURE = 7", "TENURE = ..."),
        ("TENURE = 7", "TENURE = 9" + "9" * 30),
        ("TENURE = 7", "TENURE = (7)\n    MORE = 1"),
        ("TENURE = 7", "TENURE: int = 7"),
        ("TENURE = 7", "TENURE = OTHER = 7"),
        ("TENURE = 7", "TENURE = __import__('os').getpid()"),
        ("> 1.5", "> 1e999"),
        ("> 1.5", "> 1"),
        ("> 1.5", ">= 1.5"),
        ("WIDE = True", "WIDE = 1"),
        ('name = "small"', 'name = f"small{open(0)}"'),
        ('name = "small"', 'name = "a".__class__'),
        ('name = "small"', 'name = b"small"'),
        ('name = "small"', 'name = purpose = "small"'),
        ('name = "small"', '__slots__ = "small"'),
        ('purpose = "p"', 'purpose = "p"\n    "more"\n    import os'),
        ('name = "local"', 'name = "elsewhere"'),
        ('"block"', '"changes"'),
        ('"no"', '"ignore all rules"'),
        (".3f", ".999999999f"),
        ("{x:.3f}", "{x!r:.3f}"),
        ("import math", "import os as math"),
        ("import math", "import math, os"),
        ("import math", "from os import *"),
        ('"""Small."""', 'f"""Small."""'),
        ('"""Small."""', '"""Small."""\n"again"'),
        ('"""Docs."""', '"""Docs.""", print'),
        ("class Mechanism:", "class Mechanism(dict):"),
        ("class Mechanism:", "@print\nclass Mechanism:"),
        ("class Mechanism:", "class Mechanism(metaclass=print):"),
        ("def helper(x):", "def helper(x=print()):"),
        ("def helper(x):", "def helper(x: print()):"),
        ("def helper(x):", "async def helper(x):"),
        ("def review", "def accept"),
        ("self, view, proposal", "self, view, proposal, /"),
        ("self.TENURE", "self.tenure"),
        ("else None", "else 0"),
    ],
)
def test_anything_else_is_another_module(old: str, new: str) -> None:
    assert equals(changed(old, new)) is None


@pytest.mark.parametrize(
    "source",
    [
        "",
        "\0",
        "(" * 9000,
        "class Mechanism:",
        SMALL + "\nimport os",
        SMALL + SMALL,
        "\ud800",
        "#" * 200_000,
        SMALL[20:],
    ],
)
def test_what_is_no_module_equals_none(source: str) -> None:
    assert equals(source) is None


def mutants(source: str, wanted: type[ast.AST]) -> Iterator[str]:
    """The source with one node of a type changed, once for each of them; docstrings and the free texts are left out."""
    tree = ast.parse(source)
    skipped = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("name", "purpose", "source"):
            skipped.add(id(node.value))
    for node in ast.walk(tree):
        if not isinstance(node, wanted) or id(node) in skipped:
            continue
        field = {ast.Constant: "value", ast.Name: "id", ast.Attribute: "attr", ast.arg: "arg"}[wanted]
        was = getattr(node, field)
        if isinstance(was, str):
            setattr(node, field, was + "x")
            yield ast.unparse(tree)
            setattr(node, field, was)


@pytest.mark.parametrize("name", sorted(SHIPPED))
@pytest.mark.parametrize("kind", [ast.Constant, ast.Name, ast.Attribute, ast.arg])
@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.long)], ids=["sample", "long"])
def test_no_string_and_no_name_of_a_shipped_module_may_differ(name: str, kind: type[ast.AST], every: int) -> None:
    tried = list(mutants(SHIPPED[name], kind))[::every]
    assert tried
    assert {equals_shipped(mutant, {name: SHIPPED[name]}) for mutant in tried} == {None}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_every_number_of_a_shipped_module_may_differ(name: str) -> None:
    tree = ast.parse(SHIPPED[name])
    numbers = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) in (int, float)]
    for node in numbers:
        node.value = node.value + 1  # type: ignore[operator]
    assert numbers
    assert equals_shipped(ast.unparse(tree), SHIPPED) == name


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_modules_call_nothing_that_a_number_could_turn_into_harm(name: str) -> None:
    tree = ast.parse(SHIPPED[name])
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert imported <= {"math", "itertools", "numpy"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    named = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not named & {"open", "eval", "exec", "compile", "getattr", "setattr", "globals", "vars", "__import__"}
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert not [node for node in attributes if node.attr.startswith("__")]
    of_numpy = {node.attr for node in attributes if isinstance(node.value, ast.Name) and node.value.id == "np"}
    assert of_numpy <= {"argsort", "array", "exp", "eye", "flatnonzero", "linalg", "maximum", "median", "ptp", "sqrt"}


@pytest.mark.parametrize(
    ("source", "level", "unsafe", "may"),
    [
        (TABU, "C", False, True),
        (TABU.replace("TENURE = 7", "TENURE = 12"), "C", False, True),
        (TABU + "\nx = 1\n", "C", False, False),
        (TABU + "\nx = 1\n", "C", True, True),
        (TABU + "\nx = 1\n", "B", False, True),
        (TABU + "\nx = 1\n", "A", False, True),
        (TABU + "\nx = 1\n", "A+", False, True),
        (TABU + "\nx = 1\n", "D", False, False),
        (TABU + "\nx = 1\n", "", False, False),
        ("not python (", "C", False, False),
    ],
)
def test_who_may_run_unattended(source: str, level: str, unsafe: bool, may: bool) -> None:
    allowed, reason = may_run_unattended(source, level, SHIPPED, unsafe)
    assert allowed is may
    assert reason.endswith(".")


def test_the_hash_is_of_every_byte() -> None:
    assert source_hash("a") == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
    assert source_hash(TABU) != source_hash(TABU + " ")
