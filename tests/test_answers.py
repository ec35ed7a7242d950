"""The parser of answers: what it reads, and that hostile text is refused with a sentence that says where."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model.answers import (
    AnswerError,
    parse_critique,
    parse_explore,
    parse_module,
    parse_proposals,
    parse_specify,
    parse_strategy,
)
from engine.model.extraction import LARGEST_ANSWER, json_object

ONE = {"changes": {"TOTAL_BATCH_SIZE": 2**17}, "hypothesis": "Smaller batches take more steps."}
STRATEGY = {"freeze": ["DEPTH"], "unfreeze": [], "strategy": "explore", "guidance": "Try less.", "reason": "It stalls."}
SPECIFY = {
    "name": "tabu_search",
    "purpose": "Do not try again what failed.",
    "source": "Glover 1986",
    "hooks": ["review", "observe"],
    "behaviour": "Blocks a change\nthat failed twice.",
}


def proposals(*items: object) -> str:
    return json.dumps({"proposals": list(items)})


def refusal(parse, text: str) -> str:
    with pytest.raises(AnswerError) as refused:
        parse(text)
    sentence = str(refused.value)
    assert len(sentence) < 400 and sentence.isprintable(), "a refusal is one printable sentence"
    return sentence


def test_proposals_are_read_with_all_that_they_may_state():
    first = {**ONE, "base": 4, "prediction": {"gain": 1, "sd": 0.5}, "mood": "hopeful"}
    second = {"replicate": 3, "hypothesis": "It may be luck.", "changes": {}, "base": None}
    one, two = parse_proposals(proposals(first, second))
    assert (one.changes, one.replicate, one.base) == ({"TOTAL_BATCH_SIZE": 131072}, None, 4)
    assert one.prediction == {"gain": 1.0, "sd": 0.5}
    assert (two.changes, two.replicate, two.base, two.prediction) == (None, 3, None, None)
    assert "mood" not in one.told(), "what the form does not name is not passed on"


@pytest.mark.parametrize(
    "around",
    [
        "{}",
        "\n  {}\n",
        "```json\n{}\n```",
        "Here it is:\n```json\n{}\n```\nGood luck {{with}} it.",
        "Here it is:\n\n```\n{}\n```\n",
        "Sure! {} I hope that helps.",
        '<think>Shall I say {{}} or {{"a": 1}}?</think>\n{}',
        "First a sketch:\n```python\nx = {{}}\n```\nthen\n```json\n{}\n```",
    ],
)
def test_the_object_is_found_in_what_models_put_around_it(around):
    assert parse_proposals(around.format(proposals(ONE)))[0].changes == ONE["changes"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON object"),
        ("I would try a smaller batch.", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ("```json\n{}\n```\n```json\n{}\n```", "2 fenced blocks"),
        ('{"a": 1} and {"b": 2}', "cannot be read at line 1, column 10"),
        ('{"a": 1, "a": 2}', "key a twice"),
        ('{"a": NaN}', "NaN"),
        ('{"a": -Infinity}', "-Infinity"),
        ('{"a": 1e999}', "1e999 is too large"),
        ('{"a": ' + "9" * 5000 + "}", "too large"),
        ('{"a": 9223372036854775808}', "too large"),
        ('{"a": ' + "[" * 40 + "]" * 40 + "}", "deeper than 32"),
        ('{"a": ' + "[" * 100_000 + "}", "deeper than 32"),
        ('{"a": "' + "x" * LARGEST_ANSWER + '"}', "longer than 256 K"),
        ('{"a": "\\ud800"}', "U+D800"),
        ('{"a": "\ud800"}', "U+D800"),
        ('{"a": ["\\u001b[2J"]}', "a[0]: the character U+001B"),
        ('{"a": "\x1b[2J"}', "cannot be read"),
        ('{"a": "\\u0000"}', "U+0000"),
        ('{"a": {"b": "\\u202etxt"}}', "a.b: the character U+202E"),
        ('{"\\u009b": 1}', "U+009B"),
        ("```json\n{", "not closed"),
        ('{"a": 1', "no JSON object"),
        ('{"a": tru}', "cannot be read"),
        ("{'a': 1}", "cannot be read"),
    ],
)
def test_json_that_is_not_strict_or_plays_tricks_is_refused(text, says):
    assert says in refusal(json_object, text)


def test_brackets_inside_texts_do_not_count_as_nesting():
    assert json_object(json.dumps({"a": '[{"\\' * 100})) == {"a": '[{"\\' * 100}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{}", "the answer: object missing required field `proposals`"),
        (proposals(), "proposals: expected"),
        (proposals(ONE, ONE, ONE, ONE), "proposals: expected"),
        (proposals(ONE, {"hypothesis": "x", "changes": []}), "proposals[1].changes: expected"),
        (proposals({"changes": {"A": 1}}), "proposals[0]: object missing required field `hypothesis`"),
        (proposals({"hypothesis": "x"}), "proposals[0]: give either"),
        (proposals({"hypothesis": "x", "changes": {"A": 1}, "replicate": 1}), "proposals[0]: give either"),
        (proposals({"hypothesis": "x", "changes": dict.fromkeys("ABCD", 1)}), "proposals[0].changes: expected"),
        (proposals({**ONE, "hypothesis": " "}), "proposals[0].hypothesis"),
        (proposals({**ONE, "hypothesis": "a\nb"}), "proposals[0].hypothesis"),
        (proposals({**ONE, "hypothesis": "x" * 1001}), "proposals[0].hypothesis"),
        (proposals({**ONE, "changes": {"A": None}}), "proposals[0].changes.A: expected"),
        (proposals({**ONE, "changes": {"A": {"b": 1}}}), "proposals[0].changes.A: expected"),
        (proposals({**ONE, "changes": {"A": [[1]]}}), "proposals[0].changes.A: expected"),
        (proposals({**ONE, "changes": {"A": []}}), "proposals[0].changes.A: expected"),
        (proposals({**ONE, "changes": {"A": "x" * 201}}), "proposals[0].changes.A: expected"),
        (proposals({**ONE, "changes": {"A\nB": None}}), "proposals[0].changes.'A\\nB'"),
        (proposals({**ONE, "base": -1}), "proposals[0].base"),
        (proposals({**ONE, "base": True}), "proposals[0].base"),
        (proposals({**ONE, "base": "4"}), "proposals[0].base"),
        (proposals({"hypothesis": "x", "replicate": 1, "base": 2}), "proposals[0].base"),
        (proposals({**ONE, "prediction": {"gain": 1}}), "proposals[0].prediction"),
        (proposals({**ONE, "prediction": {"gain": 1, "sd": 0}}), "proposals[0].prediction.sd"),
    ],
)
def test_a_proposal_of_the_wrong_shape_is_refused_with_its_path(text, says):
    assert says in refusal(parse_proposals, text)


def test_a_strategy_is_read_and_its_rules_hold():
    answer = parse_strategy(json.dumps(STRATEGY))
    assert (answer.strategy, answer.freeze, answer.guidance) == ("explore", ["DEPTH"], "Try less.")
    assert parse_strategy('{"strategy": "focused", "reason": "x"}').freeze == []
    says = refusal(parse_strategy, json.dumps({**STRATEGY, "strategy": "yolo"}))
    assert says == "strategy: expected one of explore, exploit, focused"
    assert "guidance: expected" in refusal(parse_strategy, json.dumps({**STRATEGY, "guidance": "x" * 2001}))
    assert "freeze: DEPTH is in unfreeze" in refusal(parse_strategy, json.dumps({**STRATEGY, "unfreeze": ["DEPTH"]}))
    assert "freeze[0]: expected" in refusal(parse_strategy, json.dumps({**STRATEGY, "freeze": [1]}))


def test_candidates_are_between_one_and_six_with_names_that_differ():
    candidate = {"name": "tabu", "field": "operations research", "idea": "Forbid what failed."}
    answer = parse_explore(json.dumps({"diagnosis": "It repeats itself.", "candidates": [candidate]}))
    assert answer.candidates[0].field == "operations research"
    for candidates, says in (([], "candidates: expected"), ([candidate] * 2, "candidates[1].name: tabu is taken")):
        assert says in refusal(parse_explore, json.dumps({"diagnosis": "x", "candidates": candidates}))
    many = [{**candidate, "name": f"c{number}"} for number in range(7)]
    assert "candidates: expected" in refusal(parse_explore, json.dumps({"diagnosis": "x", "candidates": many}))


def test_a_critique_names_what_its_decision_needs():
    new = {"decision": "new", "pick": "tabu", "target": None, "reason": "It would have blocked four."}
    assert parse_critique(json.dumps(new)).pick == "tabu"
    assert parse_critique('{"decision": "retire", "target": "tabu", "reason": "x"}').target == "tabu"
    assert "pick: the decision 'new' needs" in refusal(parse_critique, json.dumps({**new, "pick": " "}))
    assert "target: the decision 'revise' needs" in refusal(parse_critique, json.dumps({**new, "decision": "revise"}))
    assert "expected one of new, revise, retire" in refusal(parse_critique, json.dumps({**new, "decision": "wait"}))


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"name": "TabuSearch"}, "name: TabuSearch is no name in snake case"),
        ({"name": "class"}, "name: class is no name"),
        ({"name": "../evil"}, "name: '../evil' is no name"),
        ({"purpose": "two\nlines"}, "purpose: expected one line"),
        ({"hooks": []}, "hooks: expected"),
        ({"hooks": ["review", "review"]}, "hooks: each hook is named once"),
        ({"hooks": ["explode"]}, "hooks[0]: expected one of advise, steer"),
        ({"hooks": ["advise", "observe"]}, "hooks: a mechanism has to act"),
        ({"behaviour": "x" * 8001}, "behaviour: expected"),
    ],
)
def test_a_specification_of_the_wrong_form_is_refused(changed, says):
    assert parse_specify(json.dumps(SPECIFY)).hooks == ["review", "observe"]
    assert says in refusal(parse_specify, json.dumps({**SPECIFY, **changed}))


def test_a_module_is_the_only_python_block():
    source = 'class Mechanism:\n    """Uses `ticks`."""\n'
    assert parse_module(f"Here:\n```python\n{source}```\nDone.") == source
    assert parse_module(f"```py\r\n{source}```") == source
    assert parse_module(f'````python\nFENCE = """\n```\n"""\n{source}````') == f'FENCE = """\n```\n"""\n{source}'
    assert parse_module(f"```text\nnotes\n```\n```python\n{source}```") == source


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("class Mechanism: pass", "0 blocks"),
        ("```python\na = 1\n```\n```python\nb = 1\n```", "2 blocks"),
        ("```python\n\n```", "is empty"),
        ("```python\na = 1\n", "not closed"),
        ("```python\n" + "# x\n" * 20_000 + "```", "larger than 64 KB"),
        ("```python\na = '\u202e'\n```", "the module: the character U+202E"),
        ("```python\na = '\x00'\n```", "the module: the character U+0000"),
        ("```python\na = '\ud800'\n```", "the module: the character U+D800"),
    ],
)
def test_a_module_that_is_not_one_honest_block_is_refused(text, says):
    assert says in refusal(parse_module, text)


PARSERS = (parse_proposals, parse_strategy, parse_explore, parse_critique, parse_specify, parse_module)
FORMS = (proposals(ONE), json.dumps(STRATEGY), json.dumps(SPECIFY), "```python\nx\n```", '"\\\\"', "[{]}", "\ud800")


@given(st.sampled_from(PARSERS), st.lists(st.one_of(st.text(max_size=20), st.sampled_from(FORMS)), max_size=4))
def test_any_text_is_either_read_or_refused(parse, parts):
    """No text raises anything else than AnswerError."""
    try:
        parse("".join(parts))
    except AnswerError as refused:
        assert str(refused).isprintable()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["proposals", "changes", "hypothesis", "freeze", "hooks", "name"]), inner)
    ),
    max_leaves=8,
)


@given(st.sampled_from(PARSERS), st.dictionaries(st.sampled_from([*STRATEGY, *SPECIFY, "proposals"]), json_values))
def test_any_object_is_either_read_or_refused(parse, value):
    """No JSON raises anything else than AnswerError."""
    try:
        parse(json.dumps(value))
    except AnswerError as refused:
        assert str(refused).isprintable()
