"""Mutants of the shipped mechanisms: sources with one thing wrong, drawn by a seed; the same seed gives the same one.

What goes wrong is what a language model or an enemy might write: a slip in the syntax tree, a broken text, a hook with
another name or signature, an answer of the wrong type or size, a statement that never returns, ends the process, eats
memory, prints without end or reaches for the machine.
"""

import ast
import random
from collections.abc import Callable
from dataclasses import dataclass

from mutation_parts import ANSWERS, STATEMENTS

from engine.mechanism.contract import HOOKS
from engine.mechanism.trust import shipped_sources

VALUES = (0, 1, -1, 2, 7, 1000, 2**70, 0.0, -0.5, 1e-300, 1e308, True, None, "", "x", "x" * 400, b"x")
SIGNATURES = (
    "self",
    "",
    "self, view, proposal, trial, more",
    "view",
    "self, *args",
    "self, *, view",
    "self, view=None",
)
TEXTS = ("\x00", "\ufeff", "\u2028", "\u202e", "\t", "(", ")", ":", "'", '"""', "\\", "#", "é", "\x1b", "    ", "\r")

LATER = "MORE_THAN_WAS_RECORDED"
Mutation = Callable[[str, random.Random], str]


@dataclass(frozen=True)
class Mutant:
    """A mutated source: of which shipped module, by which mutation."""

    seed: int
    name: str
    mutation: str
    source: str


def mutant(seed: int, completed: int = 0) -> Mutant:
    """The mutant of a seed for a search with so many completed trials; the mutations come in turns."""
    draw = random.Random(seed)
    shipped = shipped_sources()
    name = draw.choice(sorted(shipped))
    mutation = MUTATIONS[seed % len(MUTATIONS)]
    source = shipped[name]
    for _ in range(20):  # some change nothing: a swap of equal lines
        source = mutation(shipped[name], draw)
        if source != shipped[name]:
            break
    return Mutant(seed, name, mutation.__name__, source.replace(LATER, str(completed)))


# --- slips in the syntax tree -----------------------------------------------------------------------------------------
def operator(source: str, draw: random.Random) -> str:
    tree = ast.parse(source)
    node = draw.choice(_nodes(tree, ast.BinOp, ast.BoolOp, ast.UnaryOp, ast.Compare))
    if isinstance(node, ast.Compare):
        node.ops[0] = draw.choice([ast.Lt, ast.GtE, ast.Eq, ast.NotEq, ast.Is, ast.In])()
    elif isinstance(node, ast.BinOp):
        node.op = draw.choice([ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.LShift])()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp):
        node.op = draw.choice([ast.Not, ast.Invert, ast.UAdd])()
    return ast.unparse(tree)


def constant(source: str, draw: random.Random) -> str:
    tree = ast.parse(source)
    in_text = {id(part) for node in _nodes(tree, ast.JoinedStr) for part in ast.walk(node)}
    node = draw.choice([node for node in _nodes(tree, ast.Constant) if id(node) not in in_text])
    node.value = draw.choice(VALUES)  # type: ignore[attr-defined]
    return ast.unparse(ast.fix_missing_locations(tree))


def condition(source: str, draw: random.Random) -> str:
    tree = ast.parse(source)
    node = draw.choice(_nodes(tree, ast.If, ast.IfExp))
    test = node.test  # type: ignore[attr-defined]
    node.test = draw.choice([ast.Constant(True), ast.Constant(False), ast.UnaryOp(ast.Not(), test)])  # type: ignore[attr-defined]
    return ast.unparse(ast.fix_missing_locations(tree))


def loop(source: str, draw: random.Random) -> str:
    """An `if` or a `for` becomes a loop that may have no end."""
    tree = ast.parse(source)
    function = draw.choice(_functions(tree))
    at = draw.randrange(len(function.body))
    function.body[at] = ast.While(ast.Constant(True), [function.body[at]], [])
    return ast.unparse(ast.fix_missing_locations(tree))


def lost_statement(source: str, draw: random.Random) -> str:
    tree = ast.parse(source)
    body = draw.choice(_functions(tree)).body
    del body[draw.randrange(len(body))]
    body.extend([] if body else [ast.Pass()])
    return ast.unparse(ast.fix_missing_locations(tree))


def swapped_statements(source: str, draw: random.Random) -> str:
    tree = ast.parse(source)
    body = draw.choice([function.body for function in _functions(tree) if len(function.body) > 1])
    at = draw.randrange(len(body) - 1)
    body[at], body[at + 1] = body[at + 1], body[at]
    return ast.unparse(tree)


def another_name(source: str, draw: random.Random) -> str:
    tree = ast.parse(source)
    names = _nodes(tree, ast.Name)
    draw.choice(names).id = draw.choice(names).id  # type: ignore[attr-defined]
    return ast.unparse(tree)


def another_attribute(source: str, draw: random.Random) -> str:
    tree = ast.parse(source)
    node = draw.choice(_nodes(tree, ast.Attribute))
    node.attr = draw.choice([node.attr + "s", "name", "metric", "number", "__dict__", "rng"])  # type: ignore[attr-defined]
    return ast.unparse(tree)


def lost_argument(source: str, draw: random.Random) -> str:
    tree = ast.parse(source)
    call = draw.choice([node for node in _nodes(tree, ast.Call) if node.args])  # type: ignore[attr-defined]
    call.args.pop(draw.randrange(len(call.args)))  # type: ignore[attr-defined]
    return ast.unparse(tree)


# --- hooks and the class ----------------------------------------------------------------------------------------------
def answer(source: str, draw: random.Random) -> str:
    """A hook returns something else, at once or in place of one of its answers."""
    tree = ast.parse(source)
    hook = draw.choice(_hooks(tree))
    value = ast.parse(draw.choice(ANSWERS), mode="eval").body
    returns = [node for node in ast.walk(hook) if isinstance(node, ast.Return)]
    if returns and draw.random() < 0.5:
        draw.choice(returns).value = value
    else:
        hook.body.insert(0, ast.Return(value))
    return ast.unparse(ast.fix_missing_locations(tree))


def statement(source: str, draw: random.Random) -> str:
    """A statement too many, anywhere in a function."""
    tree = ast.parse(source)
    function = draw.choice(_functions(tree))
    at = draw.randrange(len(function.body))
    function.body[at:at] = _statements(draw.choice(STATEMENTS))
    return ast.unparse(ast.fix_missing_locations(tree))


def late_statement(source: str, draw: random.Random) -> str:
    """A statement that a hook comes to only with a longer history than it is rehearsed on."""
    tree = ast.parse(source)
    hook = draw.choice(_hooks(tree))
    text = draw.choice([text for text in STATEMENTS if "import other" not in text and "sklearn" not in text])
    hook.body[:0] = _statements(f"if len(view.trials) > {LATER}:\n" + _indented(text))
    return ast.unparse(ast.fix_missing_locations(tree))


def added_hook(source: str, draw: random.Random) -> str:
    name = draw.choice([name for name in HOOKS if f"def {name}(" not in source])
    arguments = ", ".join(("self", "view", *HOOKS[name].arguments))
    text = draw.choice([f"return {draw.choice(ANSWERS)}", draw.choice(STATEMENTS)])
    return _with_methods(source, f"def {name}({arguments}):\n" + _indented(text))


def renamed_hook(source: str, draw: random.Random) -> str:
    tree = ast.parse(source)
    hook = draw.choice(_hooks(tree))
    hook.name = draw.choice([*HOOKS, hook.name.upper(), "_" + hook.name, "__getattr__", "__init__", "__deepcopy__"])
    return ast.unparse(tree)


def signature(source: str, draw: random.Random) -> str:
    tree = ast.parse(source)
    hook = draw.choice(_hooks(tree))
    hook.args = ast.parse(f"def f({draw.choice(SIGNATURES)}): pass").body[0].args  # type: ignore[attr-defined]
    return ast.unparse(tree)


def decorated_hook(source: str, draw: random.Random) -> str:
    """A hook that is async, a generator, a property, static, a class method, or an object."""
    tree = ast.parse(source)
    hook = draw.choice(_hooks(tree))
    way = draw.choice(["async", "yield", "property", "staticmethod", "classmethod", "7", "lambda hook: object()"])
    if way == "async":
        return ast.unparse(tree).replace(f"def {hook.name}(", f"async def {hook.name}(")
    if way == "yield":
        hook.body.insert(0, ast.Expr(ast.Yield(None)))
    else:
        hook.decorator_list.append(ast.parse(way, mode="eval").body)
    return ast.unparse(ast.fix_missing_locations(tree))


def class_changed(source: str, draw: random.Random) -> str:
    """The class is missing, there are two, it has bases, a metaclass, other attributes, or is gone after loading."""
    head = "class Mechanism:"
    changes: list[Callable[[], str]] = [
        lambda: source.replace(head, "class Other:"),
        lambda: source.replace(head, "class Mechanism(object, type):"),
        lambda: source.replace(head, "class Mechanism(str):"),
        lambda: source.replace(head, "class Mechanism(BaseException):"),
        lambda: source.replace(head, "class Mechanism(metaclass=print):"),
        lambda: source.replace(head, head + "\n    __slots__ = ()\n"),
        lambda: source + "\n\nclass Mechanism:\n    pass\n",
        lambda: source + "\n\ndel Mechanism\n",
        lambda: source + "\n\nMechanism = 7\n",
        lambda: source + "\n\nMechanism = lambda: Mechanism\n",
        lambda: source + "\n\nMechanism.name = 'another'\n",
        lambda: source + "\n\nMechanism.name = property(lambda self: 1 / 0)\n",
        lambda: source.replace("    name = ", "    name = 'x' + ", 1),
        lambda: source.replace("    purpose = ", "    label = ", 1),
        lambda: source.replace("    source = ", "    source = 7 # ", 1),
        lambda: "if False:\n" + _indented(source),
        lambda: "",
        lambda: "pass\n",
    ]
    return draw.choice(changes)()


def constructor(source: str, draw: random.Random) -> str:
    """A constructor with arguments, or one that does what it should not."""
    without = source.replace("def __init__(self)", "def _begin(self)")
    if draw.random() < 0.25:
        return _with_methods(without, "def __init__(self, view):\n    self._begin()\n")
    return _with_methods(without, "def __init__(self):\n" + _indented(draw.choice(STATEMENTS)))


def special_method(source: str, draw: random.Random) -> str:
    """Methods that Python calls by itself: at a copy, a look for an attribute, a comparison, an end."""
    name = draw.choice(["__deepcopy__(self, memo)", "__getattribute__(self, name)", "__getattr__(self, name)"])
    name = draw.choice([name, "__new__(cls)", "__init_subclass__(cls)", "__del__(self)", "__reduce_ex__(self, level)"])
    return _with_methods(source, f"def {name}:\n" + _indented(draw.choice(STATEMENTS)))


def while_loading(source: str, draw: random.Random) -> str:
    """A statement at the top of the module, run as it is loaded."""
    text = draw.choice(STATEMENTS)
    return f"{text}\n{source}" if draw.random() < 0.5 else f"{source}\n{text}\n"


# --- state and chance -------------------------------------------------------------------------------------------------
def state_elsewhere(source: str, draw: random.Random) -> str:
    """State that other hooks than observe change: in self (which is undone), in the class, in the module."""
    top, text = draw.choice(
        [
            ("", "self.calls = getattr(self, 'calls', 0) + 1\nif self.calls % 2: return None"),
            ("", "type(self).calls = getattr(type(self), 'calls', 0) + 1\nif type(self).calls % 2: return None"),
            ("CALLS = []\n", "CALLS.append(1)\nif len(CALLS) % 2: return None"),
            ("CALLS = []\n", "CALLS.append(bytearray(2 ** 26))"),
            ("", "globals()['calls'] = globals().get('calls', 0) + 1\nif calls > 3: raise ValueError(calls)"),
        ]
    )
    tree = ast.parse(top + source)
    draw.choice(_hooks(tree)).body[:0] = _statements(text)
    return ast.unparse(ast.fix_missing_locations(tree))


def chance(source: str, draw: random.Random) -> str:
    """A hook that answers only by chance, by the clock, or by where its objects lie."""
    texts = ("__import__('os').urandom(1)[0]", "__import__('time').time_ns() // 1000", "id([]) // 64", "hash(object())")
    tree = ast.parse(source)
    draw.choice(_hooks(tree)).body[:0] = (
        ast.parse(f"def f():\n    if {draw.choice(texts)} % 2: return None").body[0].body
    )  # type: ignore[attr-defined]
    return ast.unparse(ast.fix_missing_locations(tree))


# --- the text ---------------------------------------------------------------------------------------------------------
def cut(source: str, draw: random.Random) -> str:
    return source[: draw.randrange(len(source))]


def lost_text(source: str, draw: random.Random) -> str:
    at = draw.randrange(len(source))
    return source[:at] + source[at + draw.choice([1, 1, 3, 20, 200]) :]


def odd_text(source: str, draw: random.Random) -> str:
    at = draw.randrange(len(source))
    return source[:at] + draw.choice(TEXTS) + source[at:]


def lines(source: str, draw: random.Random) -> str:
    """A line twice, in another place, or further in."""
    rows = source.splitlines()
    one, other = draw.randrange(len(rows)), draw.randrange(len(rows))
    match draw.randrange(3):
        case 0:
            rows.insert(one, rows[one])
        case 1:
            rows[one], rows[other] = rows[other], rows[one]
        case _:
            rows[one] = draw.choice(["    ", "\t", " "]) + rows[one]
    return "\n".join(rows) + "\n"


def monstrous_text(source: str, draw: random.Random) -> str:
    texts = ("x = " + "(" * 500 + ")" * 500, "x = " + "-" * 5000 + "1", "x = 1" + "0" * 5000, "# " + "x" * 120_000)
    texts += (
        "x = " + "[" * 90 + "]" * 90,
        "x = '" + "y" * 60_000 + "'",
        "\n" * 50_000,
        "x = 1 if 1 else " * 3000 + "1",
    )
    return source + "\n" + draw.choice(texts) + "\n"


MUTATIONS: tuple[Mutation, ...] = (
    *(operator, constant, condition, loop, lost_statement, swapped_statements, another_name, another_attribute),
    *(lost_argument, answer, answer, answer, statement, statement, statement, late_statement, late_statement),
    *(added_hook, added_hook, added_hook, renamed_hook, signature, decorated_hook, class_changed, constructor),
    *(special_method, while_loading, state_elsewhere, chance, cut, lost_text, odd_text, lines, monstrous_text),
)


def _nodes(tree: ast.AST, *types: type[ast.AST]) -> list[ast.AST]:
    return [node for node in ast.walk(tree) if isinstance(node, types)]


def _functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def _hooks(tree: ast.AST) -> list[ast.FunctionDef]:
    return [function for function in _functions(tree) if function.name in HOOKS]


def _statements(text: str) -> list[ast.stmt]:
    """Statements as they stand in a function."""
    function = ast.parse("def f():\n" + _indented(text)).body[0]
    assert isinstance(function, ast.FunctionDef)
    return function.body


def _with_methods(source: str, text: str) -> str:
    head = "class Mechanism:\n"
    return source.replace(head, head + _indented(text) + "\n", 1)


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" for line in text.splitlines())
