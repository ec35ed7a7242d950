"""The contract: which sources may be loaded, which answers pass, which frames are read."""

import json

import pytest
from mechanism_hosts import module

from engine.mechanism import contract, protocol
from engine.mechanism.contract import ContractViolation, check_answer
from engine.mechanism.source_check import check_source
from engine.mechanism.trust import shipped_sources


def test_a_module_that_keeps_to_the_contract_has_no_problems() -> None:
    assert check_source(module("def review(self, view, proposal):\n    return None")) == []
    assert (
        check_source(module("def suggest(self, view, extra=1):\n    return None", top="import math, numpy as np")) == []
    )
    assert check_source(module("def accept(self, *args):\n    return None")) == []


@pytest.mark.parametrize("name", sorted(shipped_sources()))
def test_the_shipped_modules_keep_to_it(name: str) -> None:
    assert check_source(shipped_sources()[name]) == []


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("class Mechanism(:", "not valid Python"),
        ("x = '\0'", "not valid Python"),
        ("(" * 5000, "not valid Python"),
        ("#" * 200_000, "100,000 are allowed"),
        ("class Other: pass", "exactly one class Mechanism"),
        (module("") + module(""), "there are 2"),
        (module("def __init__(self, size):\n    pass"), "constructor takes no arguments"),
        (module("def __init__(self, *, size):\n    pass"), "constructor takes no arguments"),
        (module("def review(self, view):\n    pass"), "review(self, view, proposal)"),
        (module("def choose(self, view, proposals, more):\n    pass"), "choose(self, view, proposals)"),
        (module("async def accept(self, view, trial):\n    pass"), "async"),
        (module("def suggest(self, view):\n    import sklearn.gaussian_process"), "imports sklearn"),
        (module("", top="from engine.search import trials"), "imports engine"),
        (module("", top="from . import other"), "relative import"),
        (module("").replace('purpose = "It tests."', ""), "purpose"),
        (module("").replace('"It tests."', "str(1)"), "purpose"),
        (module("").replace('"It tests."', '"two\\nlines"'), "one line"),
        (module("").replace('"probe"', '"../../etc"'), "letters, digits"),
    ],
)
def test_each_problem_of_a_source_is_named(source: str, said: str) -> None:
    assert any(said in problem for problem in check_source(source)), check_source(source)


def test_a_module_that_only_advises_is_refused() -> None:
    source = module("def advise(self, view):\n    return 'hi'\ndef observe(self, view, trial):\n    pass")
    source = source[: source.index("    def suggest")]
    [problem] = check_source(source)
    assert problem == (
        "it can change no decision: Mechanism needs a method steer, suggest, choose, review, accept or watch"
    )


def test_methods_that_nothing_would_call_are_named() -> None:
    source = module("def propose(self, history):\n    pass\n\ndef _rank(self):\n    pass")
    source = source.replace("def suggest(self, view)", "def update(self, metric)")
    [problem] = check_source(source)
    assert problem.endswith("choose, review, accept or watch; nothing calls propose, update")


def test_a_module_without_the_class_is_told_what_is_there_instead() -> None:
    source = "class TabuSearchManager:\n    def is_tabu(self, changes): ...\n\ndef make(): ...\n"
    assert check_source(source) == [
        "there must be exactly one class Mechanism at the top level, there is none, and nothing calls "
        "TabuSearchManager, make"
    ]


def test_several_problems_are_named_at_once() -> None:
    source = module("def review(self):\n    pass", top="import torch").replace('source = "own"', "")
    assert len(check_source(source)) == 3


@pytest.mark.parametrize(
    ("hook", "value", "cleaned"),
    [
        ("advise", "  try\x1b[31m less\u202e ", "try [31m less"),
        ("advise", "", None),
        ("watch", "diverges", "diverges"),
        ("accept", False, False),
        ("choose", 1, 1),
        ("review", {"block": "tabu"}, {"block": "tabu"}),
        ("review", {"changes": {"A": [0.8, 0.95]}, "why": "w"}, {"changes": {"A": [0.8, 0.95]}, "why": "w"}),
        ("suggest", [], None),
        ("suggest", [{"replicate": 3, "why": "lucky?"}], [{"replicate": 3, "why": "lucky?"}]),
        (
            "suggest",
            [{"changes": {"A": 1}, "why": "w", "base": 0, "gain": 0.1, "sd": 0.0}],
            [{"changes": {"A": 1}, "why": "w", "base": 0, "gain": 0.1, "sd": 0.0}],
        ),
        ("suggest", [{"changes": {"A": 1}, "why": "w", "base": None}], [{"changes": {"A": 1}, "why": "w"}]),
        ("steer", {}, None),
        ("steer", {"freeze": ["A", "A"], "why": "w"}, {"freeze": ["A"], "why": "w"}),
        (
            "steer",
            {"ranges": {"A": [1, 2.5]}, "base": 2, "why": "w"},
            {"ranges": {"A": [1, 2.5]}, "base": 2, "why": "w"},
        ),
        ("observe", {"anything": 1}, None),
        ("suggest", None, None),
    ],
)
def test_answers_that_pass(hook: str, value: object, cleaned: object) -> None:
    assert check_answer(hook, value, proposals=2) == cleaned


@pytest.mark.parametrize(
    ("hook", "value"),
    [
        ("advise", 3),
        ("advise", "x" * 4001),
        ("watch", True),
        ("accept", 1),
        ("accept", "yes"),
        ("choose", 2),
        ("choose", -1),
        ("choose", True),
        ("choose", 1.0),
        ("review", "block"),
        ("review", {}),
        ("review", {"block": ""}),
        ("review", {"block": "w", "changes": {}}),
        ("review", {"changes": {"A": 1}}),
        ("review", {"changes": {}, "why": "w"}),
        ("review", {"changes": {"A": {"x": 1}}, "why": "w"}),
        ("review", {"changes": {"A": None}, "why": "w"}),
        ("review", {"changes": {"A; import os": 1}, "why": "w"}),
        ("review", {"changes": {"A": "x" * 201}, "why": "w"}),
        ("review", {"changes": {"A": [[1]]}, "why": "w"}),
        ("review", {"changes": {"A": 2**70}, "why": "w"}),
        ("suggest", {"changes": {"A": 1}, "why": "w"}),
        ("suggest", [{"changes": {"A": 1}, "why": "w"}] * 9),
        ("suggest", [{"changes": {"A": 1}}]),
        ("suggest", [{"why": "w"}]),
        ("suggest", [{"changes": {"A": 1}, "replicate": 1, "why": "w"}]),
        ("suggest", [{"replicate": 1, "base": 0, "why": "w"}]),
        ("suggest", [{"replicate": -1, "why": "w"}]),
        ("suggest", [{"replicate": "1", "why": "w"}]),
        ("suggest", [{"changes": {"A": 1}, "why": "w", "gain": "big"}]),
        ("suggest", [{"changes": {"A": 1}, "why": "w", "gain": float("nan")}]),
        ("suggest", [{"changes": {"A": 1}, "why": "w", "sd": -0.1}]),
        ("suggest", [{"changes": {"A": 1}, "why": "w", "run": "rm"}]),
        ("steer", ["A"]),
        ("steer", {"freeze": ["A"]}),
        ("steer", {"why": "w"}),
        ("steer", {"freeze": "A", "why": "w"}),
        ("steer", {"freeze": [1], "why": "w"}),
        ("steer", {"ranges": {"A": [2, 1]}, "why": "w"}),
        ("steer", {"ranges": {"A": [1]}, "why": "w"}),
        ("steer", {"ranges": {"A": [1, float("inf")]}, "why": "w"}),
        ("steer", {"base": True, "why": "w"}),
    ],
)
def test_answers_that_are_refused_with_a_sentence(hook: str, value: object) -> None:
    with pytest.raises(ContractViolation, match=f"^{hook}"):
        check_answer(hook, value, proposals=2)


def test_the_interface_shown_to_the_model_names_every_hook_and_is_python_in_its_first_part() -> None:
    stub = contract.INTERFACE.partition("\nview, read-only")[0]
    for hook in contract.HOOKS:
        assert f"def {hook}(self, view" in stub
    assert check_source(stub.replace('"..."', '"x"')) == []


def test_a_frame_carries_what_was_put_in() -> None:
    value = {"id": "1", "ok": [1, 2.5, None, True, "ä\u2028", {"A": [0.8, 0.95]}]}
    frame = protocol.encode(value, 1000)
    assert protocol.HEADER.unpack(frame[:4])[0] == len(frame) - 4
    assert protocol.decode(frame[4:]) == value


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b'{"a": NaN}',
        b"[Infinity]",
        b"[1e999]",
        b"[-1e999]",
        b"[1" + b"0" * 30 + b"]",
        b"[9" + b"0" * 18 + b"0]",
        b'{"a": 1, "a": 2}',
        b'["\\ud800"]',
        b'{"\\udfff": 1}',
        b"[" * 100_000 + b"]" * 100_000,
        b"[" * 33 + b"]" * 33,
        json.dumps([0] * 100_001).encode(),
        b"[1] [2]",
    ],
)
def test_frames_that_are_refused(body: bytes) -> None:
    with pytest.raises(protocol.FrameError):
        protocol.decode(body)


@pytest.mark.parametrize("value", [float("nan"), {1: 2}, {"a": {1, 2}}, object(), 2**80, "\ud800"])
def test_values_that_no_frame_carries(value: object) -> None:
    with pytest.raises(protocol.FrameError):
        protocol.encode(value, 1000)


def test_a_frame_over_the_limit_is_not_made() -> None:
    with pytest.raises(protocol.FrameError, match="1,000 are allowed"):
        protocol.encode("x" * 1000, 1000)
