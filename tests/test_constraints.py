"""Relations between constants: what may stand in one, when it is broken, and that nothing in it is ever run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.search.constraints import Constraint, ConstraintError

VALUES = {"BATCH": 16384, "ROWS": 8, "LENGTH": 128, "BETAS": [0.8, 0.95], "PATTERN": "SL", "RATE": 0.0}


@pytest.mark.parametrize(
    "expr",
    [
        "BATCH % (ROWS * LENGTH) == 0",
        "BATCH == 2**14",
        "BETAS[0] < BETAS[1] < 1",
        "len(PATTERN) <= 4 and sum(BETAS) < 2",
        "PATTERN in ('SL', 'L')",
        "PATTERN not in ['S']",
        "not ROWS > 8",
        "max(ROWS, LENGTH) == 128 and min(BETAS) == 0.8 and abs(-ROWS) == 8",
        "RATE == 0 or 1 / RATE > 2",
        "BATCH // ROWS - 1 != 3 or False",
    ],
)
def test_relations_that_hold(expr: str) -> None:
    assert Constraint(expr).broken_by(VALUES) is None


def test_a_broken_relation_says_why() -> None:
    reason = Constraint("BATCH % ROWS == 1", "rows must fit").broken_by(VALUES)
    assert reason == "rows must fit (BATCH % ROWS == 1)"
    assert Constraint("ROWS > 9").broken_by(VALUES) == "a constraint of the target is broken (ROWS > 9)"


@pytest.mark.parametrize(
    "expr",
    [
        "1 / RATE > 0",
        "MISSING > 0",
        "PATTERN > 3",
        "BETAS[5] > 0",
        "2**65 > 0",
        "10.0**64**2 > 0",
        "max(()) > 0",
        "len(ROWS) > 1",
    ],
)
def test_what_cannot_be_computed_is_broken_and_not_raised(expr: str) -> None:
    assert "cannot be computed for these values" in (Constraint(expr).broken_by(VALUES) or "")


def test_the_names_are_those_of_constants() -> None:
    assert Constraint("max(A, B[C]) > 0 and len(D) in (E, 1)").names() == {"A", "B", "C", "D", "E"}


@pytest.mark.parametrize(
    "expr",
    [
        "__import__('os').system('x')",
        "open('x')",
        "A.real > 0",
        "[x for x in (1, 2)]",
        "lambda: 1",
        "(A := 1)",
        "f'{A}'",
        "max(A, key=len)",
        "max(*A)",
        "A if B else C",
        "{'a': 1}",
        "A @ B",
        "A << 2",
        "~A",
        "A is B",
        "A[1:2]",
        "None",
        "b'x'",
        "1j > 0",
        "A >",
        "",
        "A = 1",
        "A\nB",
        "\x00",
        "(" * 300 + ")" * 300,
        "+".join(["A"] * 3000),
    ],
)
def test_anything_else_may_not_stand_in_one(expr: str) -> None:
    with pytest.raises(ConstraintError):
        Constraint(expr).names()


@pytest.mark.parametrize("expr", ["A or open('x')", "0 and open('x')", "1 in (open('x'),)", "max(1, open('x'))"])
def test_parts_that_need_no_value_are_checked_too(expr: str) -> None:
    with pytest.raises(ConstraintError, match="may not stand in a constraint"):
        Constraint(expr).names()


@given(st.integers(1, 2**20), st.integers(1, 2**10), st.integers(1, 2**12))
def test_divisibility_is_what_it_says(batch: int, rows: int, length: int) -> None:
    broken = Constraint("BATCH % (ROWS * LENGTH) == 0").broken_by({"BATCH": batch, "ROWS": rows, "LENGTH": length})
    assert (broken is None) == (batch % (rows * length) == 0)
