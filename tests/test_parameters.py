"""Values and their space: what a proposal may say, why it is refused, and that what passes is fit to be rendered."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.search.constraints import Constraint
from engine.search.parameters import Parameter, Space, Value, config_key, space_from_json, space_to_json
from engine.search.script import changed_constants, read_block, write_values

SPACE = Space(
    {
        "DEPTH": Parameter("DEPTH", "int", 2, 1, 8, locked=True),
        "BATCH": Parameter("BATCH", "int", 16384, 512, 65536, log=True, meaning="tokens in a step"),
        "RATE": Parameter("RATE", "float", 0.5, 0.01, 5.0),
        "BETAS": Parameter("BETAS", "tuple", [0.8, 0.95], [0.5, 0.8], [0.99, 0.999]),
        "SHAPE": Parameter("SHAPE", "tuple", [4, 0.5], 0, 8),
        "PATTERN": Parameter("PATTERN", "choice", "SL", choices=("SL", "L", 1)),
        "FUSED": Parameter("FUSED", "choice", True, choices=(True, False)),
    },
    (Constraint("BATCH % LENGTH == 0", "whole rows"),),
    {"LENGTH": 128},
)
BASE = SPACE.initial
SCRIPT = "".join(f"{name} = {tuple(v) if isinstance(v, list) else v!r}\n" for name, v in BASE.items())


@pytest.mark.parametrize(
    ("changes", "cleaned"),
    [
        ({"BATCH": 8192}, {"BATCH": 8192}),
        ({"BATCH": 8192.0}, {"BATCH": 8192}),
        ({"RATE": 1}, {"RATE": 1.0}),
        ({"BETAS": (0.9, 0.95)}, {"BETAS": [0.9, 0.95]}),
        ({"SHAPE": [2.0, 1]}, {"SHAPE": [2, 1.0]}),
        ({"PATTERN": "L", "FUSED": False}, {"PATTERN": "L", "FUSED": False}),
        ({"PATTERN": 1}, {"PATTERN": 1}),
        ({"BATCH": 8192, "RATE": 0.5}, {"BATCH": 8192}),
    ],
)
def test_a_fit_proposal_becomes_typed_values(changes: dict[str, Any], cleaned: dict[str, Value]) -> None:
    found = SPACE.clean(changes, BASE)
    assert found == cleaned
    assert [type(value) for value in found.values()] == [type(value) for value in cleaned.values()]
    assert SPACE.check(changes) is None


HOSTILE = "__import__('os').system('touch /tmp/x')"
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "it changes nothing"),
    ({"RATE": 0.5}, "RATE is already 0.5"),
    ({"BATCH": "8192"}, "BATCH is an integer, not '8192'"),
    ({"BATCH": 8192.5}, "BATCH is an integer, not 8192.5"),
    ({"BATCH": True}, "BATCH is an integer, not True"),
    ({"BATCH": None}, "BATCH is an integer, not None"),
    ({"BATCH": [8192]}, "BATCH is an integer"),
    ({"BATCH": 10**400}, "BATCH is too large an integer"),
    ({"BATCH": 10**5000}, "BATCH is too large an integer"),
    ({"BATCH": 1e300}, "BATCH is an integer"),
    ({"BATCH": 131072}, "BATCH lies between 512 and 65536, not at 131072"),
    ({"BATCH": 1000}, "whole rows (BATCH % LENGTH == 0)"),
    ({"RATE": math.nan}, "RATE is a finite number"),
    ({"RATE": math.inf}, "RATE is a finite number"),
    ({"RATE": 10**5000}, "RATE is a finite number"),
    ({"RATE": -0.1}, "RATE lies between 0.01 and 5.0, not at -0.1"),
    ({"RATE": HOSTILE}, "RATE is a number"),
    ({"RATE": {"a": 1}}, "RATE is a number"),
    ({"BETAS": [0.9]}, "BETAS is a list of 2 numbers"),
    ({"BETAS": 0.9}, "BETAS is a list of 2 numbers"),
    ({"BETAS": [0.9, "x"]}, "BETAS[1] is a number"),
    ({"BETAS": [0.9, [0.9]]}, "BETAS[1] is a number"),
    ({"BETAS": [0.4, 0.9]}, "BETAS[0] lies between 0.5 and 0.99, not at 0.4"),
    ({"SHAPE": [2.5, 1]}, "SHAPE[0] is an integer"),
    ({"PATTERN": HOSTILE}, "PATTERN is one of ['SL', 'L', 1]"),
    ({"PATTERN": True}, "PATTERN is one of"),
    ({"PATTERN": 1.0}, "PATTERN is one of"),
    ({"FUSED": 1}, "FUSED is one of [True, False], not 1"),
    ({"PATTERN": "x" * 10_000}, "..."),
    ({"DEPTH": 3}, "DEPTH is locked by the target"),
    ({"WIDTH": 3}, "there is no parameter 'WIDTH'; there are BATCH, BETAS"),
    ({"RATE": 1.0, "EXTRA": 1}, "there is no parameter 'EXTRA'"),
    ({HOSTILE: 1}, "there is no parameter"),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSED)
def test_an_unfit_proposal_is_refused_with_one_sentence_and_the_script_stays(
    changes: dict[str, Any], reason: str
) -> None:
    refusal = SPACE.check(changes)
    assert refusal is not None
    assert reason in refusal
    assert "\n" not in refusal
    with pytest.raises(ValueError):
        SPACE.clean(changes, BASE)
    assert changed_constants(SCRIPT, write_values(SCRIPT, BASE)) == set()


def test_a_deeply_nested_value_is_refused() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    assert "RATE is a number" in (SPACE.check({"RATE": nested}) or "")


def test_frozen_parameters_bind_who_is_bound_by_them() -> None:
    assert SPACE.check({"RATE": 1.0}, frozen={"RATE"}) == "RATE is frozen"
    assert SPACE.check({"RATE": 1.0}, frozen=()) is None


def test_changes_are_held_against_their_base() -> None:
    base = {**BASE, "BATCH": 8192}
    assert SPACE.check({"BATCH": 8192}, base) is not None
    assert SPACE.clean({"BATCH": 16384}, base) == {"BATCH": 16384}


def test_values_that_no_training_tells_apart_are_one() -> None:
    space = Space(
        {
            "LR": Parameter("LR", "float", 0.1, 0.0001, 1.0, log=True),
            "WD": Parameter("WD", "float", 0.0, 0.0, 1.0),
            "BETAS": Parameter("BETAS", "tuple", [0.8, 0.95], [0.5, 0.8], [0.99, 0.999]),
            "BATCH": Parameter("BATCH", "int", 10**9, 1, 10**12),
        }
    )
    for changes in ({"LR": 0.1 * (1 + 1e-9)}, {"WD": 1e-9}, {"BETAS": [0.8, 0.95000001]}):
        assert str(space.check(changes)).startswith("it changes nothing")
    assert space.clean({"LR": 0.1 + 1e-12, "WD": 0.5}, space.initial) == {"WD": 0.5}
    for changes in ({"LR": 0.1001}, {"WD": 0.0001}, {"BETAS": [0.8, 0.951]}, {"BATCH": 10**9 + 1}):
        assert space.clean(changes, space.initial) == changes


def test_constraints_see_the_base_with_the_changes() -> None:
    space = Space(SPACE.parameters, (Constraint("RATE * DEPTH < 2"),))
    assert space.check({"RATE": 0.9}) is None
    assert "RATE * DEPTH < 2" in (space.check({"RATE": 0.9}, {**BASE, "DEPTH": 8}) or "")
    assert space.broken({**BASE, "RATE": 3.0}) is not None


def test_a_space_comes_back_from_json() -> None:
    assert space_from_json(json.loads(json.dumps(space_to_json(SPACE)))) == SPACE


def test_keys_of_configurations_do_not_depend_on_order() -> None:
    assert config_key({"A": 1, "B": [2.0]}) == config_key({"B": [2.0], "A": 1})
    assert config_key({"A": 1, "B": (2.0,)}) == config_key({"A": 1, "B": [2.0]})  # as it was recorded, and as it is
    assert len({config_key({"A": value}) for value in (1, 1.0, True, "1")}) == 4


ANYTHING = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=2)),
    max_leaves=5,
)
NAMES = st.one_of(st.sampled_from(sorted(SPACE.parameters)), st.text(max_size=5))


@given(st.dictionaries(NAMES, ANYTHING, max_size=3))
def test_whatever_is_proposed_is_refused_or_renders_to_exactly_that(changes: dict[str, Any]) -> None:
    try:
        cleaned = SPACE.clean(changes, BASE)
    except ValueError as error:
        assert str(error)
        return
    assert cleaned.keys() <= changes.keys()
    after = write_values(SCRIPT, cleaned)
    assert changed_constants(SCRIPT, after) == cleaned.keys()
    assert {name: read_block(after)[name].value for name in cleaned} == cleaned
    assert SPACE.broken({**BASE, **cleaned}) is None
