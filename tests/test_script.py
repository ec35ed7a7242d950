"""The block of constants: what counts as one, writing values byte for byte, proving that nothing else changed."""

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.search.parameters import Value
from engine.search.script import ScriptError, changed_constants, has_constant, read_block, write_values

SCRIPT = '''\
"""Trains."""
import os

# The model.
DEPTH = 8  # layers
TOTAL_BATCH_SIZE = 2**19  # tokens in a step
ADAM_BETAS = (0.8, 0.95)
WINDOW_PATTERN = "SSSL"  # "S" is short
COMPILE: bool = True
BUDGET = None
SEED = int(os.environ.get("SEED", "42"))
lower = 5

def main():
    DEPTH_LOCAL = 3
    return DEPTH * DEPTH_LOCAL
'''


def values(source: str) -> dict[str, Value]:
    return {name: constant.value for name, constant in read_block(source).items()}


def test_a_block_holds_literals_and_constant_expressions_with_their_comments() -> None:
    block = read_block(SCRIPT)
    assert values(SCRIPT) == {
        "DEPTH": 8,
        "TOTAL_BATCH_SIZE": 524288,
        "ADAM_BETAS": [0.8, 0.95],
        "WINDOW_PATTERN": "SSSL",
        "COMPILE": True,
    }
    batch = block["TOTAL_BATCH_SIZE"]
    assert (batch.line, batch.comment, batch.text, batch.rebound) == (6, "tokens in a step", "2**19", ())
    assert block["WINDOW_PATTERN"].comment == '"S" is short'
    assert block["ADAM_BETAS"].comment == ""


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("2**19", 524288),
        ("-(3 + 4) * 2", -14),
        ("7 // 2", 3),
        ("1 << 10", 1024),
        ("1 / 4", 0.25),
        ("2**-1", 0.5),
        ("[1, 2.5]", [1, 2.5]),
        ("(2**3,)", [8]),
        ("1, 2", [1, 2]),
        ("'a' 'b'", "ab"),
        ("1_000", 1000),
        ("0x10", 16),
    ],
)
def test_what_is_a_constant_expression(expression: str, value: Value) -> None:
    assert values(f"X = {expression}\n") == {"X": value}


@pytest.mark.parametrize(
    "expression",
    [
        "f(2)",
        "Y * 2",
        "2**65",
        "9**9**9",
        "1 << 100",
        "1 / 0",
        "(-8)**0.5",
        "1e999",
        "1e200 * 1e200",
        "2.5 << 1",
        "True + 1",
        "((1, 2), 3)",
        "b'x'",
        "2j",
        "None",
        "...",
        "f'{1}'",
        "'a\\nb'",
        "'\\ud800'",
        "'a' * 1000000",
        "{1: 2}",
        "not 1",
        "5 if 1 else 2",
    ],
)
def test_what_is_none(expression: str) -> None:
    assert values(f"X = {expression}\n") == {}


def test_only_single_top_level_assignments_to_capitals_count() -> None:
    source = (
        "A = B = 1\nC, D = 1, 2\nif True:\n    E = 1\nclass K:\n    F = 1\nx.G = 1\nH[0] = 1\nI += 1\n_J = 1\nKl = 1\n"
    )
    assert values(source) == {}


def test_writing_replaces_the_value_and_nothing_else() -> None:
    after = write_values(
        SCRIPT,
        {
            "DEPTH": 12,
            "TOTAL_BATCH_SIZE": 131072,
            "ADAM_BETAS": [0.9, 0.95],
            "WINDOW_PATTERN": "SL",
            "COMPILE": False,
            "BUDGET": 1.5e12,
        },
    )
    expected = (
        SCRIPT.replace("DEPTH = 8 ", "DEPTH = 12 ")
        .replace("2**19", "2**17")
        .replace("(0.8, 0.95)", "(0.9, 0.95)")
        .replace('"SSSL"', '"SL"')
        .replace("bool = True", "bool = False")
        .replace("BUDGET = None", "BUDGET = 1500000000000.0")
    )
    assert after == expected
    assert changed_constants(SCRIPT, after) == {
        "DEPTH", "TOTAL_BATCH_SIZE", "ADAM_BETAS", "WINDOW_PATTERN", "COMPILE", "BUDGET",
    }  # fmt: skip


def test_a_value_that_is_there_already_keeps_its_spelling() -> None:
    source = "A = 2**19\nB = 1e-3\nC = 5\nD = ( 0.80, 9_5 )\n"
    assert write_values(source, {"A": 524288, "B": 0.001, "C": 5.0, "D": [0.8, 95]}) == source


def test_bytes_that_are_no_characters_of_a_line_do_not_shift_the_edit() -> None:
    source = (
        "\ufeff# Größe\r\n"
        "\x0c\r\n"
        "T = 'é'; A = 1; S = \"日本\"  # ünï\r\n"
        "B = (  # outer\r\n    1,  # first\r\n    2.5,  # zweite ä\r\n)  # end\r\n"
        "C = \\\r\n    7\r\n"
    )
    after = write_values(source, {"A": 22, "S": "中", "B": [1, 3.5], "C": -1})
    assert after == source.replace("A = 1;", "A = 22;").replace('"日本"', '"中"').replace("2.5,", "3.5,").replace(
        "    7", "    -1"
    )
    assert read_block(after)["B"].comment == "end"


def test_a_comment_may_stand_inside_the_brackets_around_a_value() -> None:
    assert read_block('A = (\n    "SSSL"  # by layer\n)\n')["A"].comment == "by layer"


def test_a_tuple_stays_a_tuple_and_a_list_a_list() -> None:
    source = "A = (1, 2)\nB = [1, 2]\nC = 1, 2\nD = (1,)\n"
    after = write_values(source, {"A": [1, 2, 3], "B": [1], "C": [4, 2], "D": [5]})
    assert after == "A = (1, 2, 3)\nB = [1]\nC = 4, 2\nD = (5,)\n"


def test_strings_are_written_as_literals_and_never_as_code() -> None:
    hostile = '"; import os; os.system("x")  # \' \\'
    for source in ('A = "x"\n', "A = 'x'\n"):
        after = write_values(source, {"A": hostile})
        assert values(after) == {"A": hostile}
        assert changed_constants(source, after) == {"A"}
    assert write_values('A = "x"\n', {"A": "it's"}) == 'A = "it\'s"\n'


@pytest.mark.parametrize(
    "again",
    [
        "A = 2",
        "A += 1",
        "for A in []: pass",
        "if x:\n    A = 2",
        "def f():\n    global A\n    A = 2",
        "from m import A",
        "import m as A",
        "def A(): pass",
        "class A: pass",
        "with m as A: pass",
        "try: pass\nexcept E as A: pass",
        "match x:\n    case {**A}: pass",
        "print(A := 3)",
        "del A",
        "(A, b) = 1, 2",
    ],
)
def test_a_constant_that_is_bound_again_is_reported_and_not_written(again: str) -> None:
    source = f"A = 1\n{again}\n"
    assert read_block(source)["A"].rebound
    with pytest.raises(ScriptError, match="A is set in line 1 and again in line"):
        write_values(source, {"A": 5})


def test_a_local_of_the_same_name_is_another_variable() -> None:
    source = "A = 1\ndef f(A=2):\n    A = 3\n    return lambda A: A\nx.A = 5\n"
    assert read_block(source)["A"].rebound == ()


def test_two_assignments_on_one_line_are_two() -> None:
    assert read_block("A = 1; A = 2\n")["A"].rebound == (1,)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, float("-inf")]])
def test_a_number_that_is_not_finite_is_refused(value: Value) -> None:
    with pytest.raises(ScriptError, match="cannot be written"):
        write_values("A = (1.0, 2.0)\n", {"A": value})


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ScriptError, match="no constant DPTH"):
        write_values(SCRIPT, {"DPTH": 4})
    with pytest.raises(ScriptError, match="no constant SEED"):
        write_values(SCRIPT, {"SEED": 4})
    assert has_constant(SCRIPT, "BUDGET")
    assert not has_constant(SCRIPT, "SEED")


@pytest.mark.parametrize("source", ["A = (\n", "A = 1\n\x00", "A = '\ud800'\n", "A = " + "(" * 300 + ")" * 300])
def test_what_is_no_python_is_said(source: str) -> None:
    with pytest.raises(ScriptError, match="the script"):
        read_block(source)


@pytest.mark.parametrize(
    "after",
    [
        SCRIPT.replace("return DEPTH *", "return DEPTH +"),
        SCRIPT + "import sys\n",
        SCRIPT.replace("lower = 5", "lower = 6"),
        SCRIPT.replace("DEPTH = 8", "DEPTH = f(8)"),
        SCRIPT.replace("DEPTH = 8", "DEPTHS = 8"),
        SCRIPT.replace("DEPTH = 8", "DEPTH = 8; DEPTH = 9"),
        SCRIPT.replace("COMPILE: bool", "COMPILE: evil()"),
        SCRIPT.replace("COMPILE: bool = True", "COMPILE = True"),
        SCRIPT.replace('"42"', '"43"'),
        SCRIPT.replace("def main", "@decorated\ndef main"),
    ],
)
def test_any_other_difference_is_found(after: str) -> None:
    with pytest.raises(ScriptError, match=r"differs|lacks"):
        changed_constants(SCRIPT, after)


def test_spelling_and_comments_are_no_difference_and_types_are() -> None:
    assert changed_constants("A = 2**3  # a\n", "A = 8\n") == set()
    assert changed_constants("A = 1\n", "A = 1.0\n") == {"A"}
    assert changed_constants("A = (1, 2)\n", "A = (1, True)\n") == {"A"}


NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,8}", fullmatch=True).filter(lambda name: not keyword.iskeyword(name))
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=("Cs", "Cc"))).filter(str.isprintable),
)
VALUES = st.one_of(SCALARS, st.lists(SCALARS, max_size=4))
COMMENTS = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp")), max_size=12)


@given(
    st.dictionaries(NAMES, st.tuples(VALUES, VALUES, COMMENTS), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"])
)
def test_whatever_is_written_is_read_back_and_nothing_else_moves(
    constants: dict[str, tuple[Value, Value, str]], end: str
) -> None:
    lines = ["ä = 'ö'"]
    for name, (value, _, comment) in constants.items():
        lines.append(f"{name} = {tuple(value) if isinstance(value, list) else value!r}  #{comment}")
    source = end.join([*lines, ""])
    before = values(source)
    assert before == {name: value for name, (value, _, _) in constants.items()}

    after = write_values(source, {name: new for name, (_, new, _) in constants.items()})

    assert values(after) == {name: new for name, (_, new, _) in constants.items()}
    assert changed_constants(source, after) <= constants.keys()
    comments = {name: constant.comment for name, constant in read_block(after).items()}
    assert comments == {name: comment.strip() for name, (_, _, comment) in constants.items()}
    assert after.count(end) == source.count(end)
