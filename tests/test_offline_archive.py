"""The stand-in's Level 2 with an archive, with modules that it does not know, and how it adapts a module."""

import json
from typing import Any

import pytest

from engine.mechanism.trust import equals_shipped, shipped_sources
from engine.model.adapting import adapted, alike
from engine.model.blocks import fenced
from engine.model.client import Prompt
from engine.model.extraction import json_object
from engine.model.offline import OfflineModel

SHIPPED = shipped_sources()
TRIALS = [{"trial": n, "by": "model", "status": "discard", "changes": {f"P{n}": 1}} for n in range(11)]


def lines(name: str, objects: list[dict[str, Any]]) -> str:
    return fenced(f"jsonl {name}", "\n".join(map(json.dumps, objects)))


class Conversation:
    """A research with the stand-in: what is in the first prompt is given, each round follows on the last."""

    def __init__(
        self,
        archive: list[dict[str, Any]] | None = None,
        archived: dict[str, str] | None = None,
        mechanisms: list[dict[str, Any]] | None = None,
        active: dict[str, str] | None = None,
        examples: dict[str, str] = SHIPPED,
    ) -> None:
        blocks = [lines("trials", TRIALS), lines("mechanisms", mechanisms or [])]
        blocks += [lines("archive", archive)] if archive else []
        for kind, sources in (("example", examples), ("archived", archived or {}), ("active", active or {})):
            blocks += [fenced(f"python {kind} {name}", source) for name, source in sources.items()]
        self.messages = [{"role": "system", "content": ""}, {"role": "user", "content": "\n".join(blocks)}]

    def ask(self, purpose: str) -> str:
        text = OfflineModel().answer(Prompt("2", purpose, self.messages))
        self.messages += [{"role": "assistant", "content": text}, {"role": "user", "content": "next"}]
        return text

    def rounds(self) -> tuple[dict[str, Any], dict[str, Any], str]:
        """The decision, the specification and the module."""
        self.ask("explore")
        decided, specified = json_object(self.ask("critique")), json_object(self.ask("specify"))
        return decided, specified, source(self.ask("generate"))


def source(answer: str) -> str:
    return answer.removeprefix("```python\n").removesuffix("\n```")


def worked(name: str, effect: float | None) -> dict[str, Any]:
    return {"name": name, "outcome": "worked", "effect": effect}


def failed(name: str) -> dict[str, Any]:
    return {"name": name, "outcome": "failed", "reason": "inert"}


def test_without_an_archive_it_begins_with_the_untried_directions() -> None:
    decided, specified, module = Conversation().rounds()
    assert (decided["decision"], decided["pick"]) == ("new", "orthogonal_exploration")
    assert specified["name"] == "orthogonal_exploration" and specified["builds_on"] is None
    assert module != SHIPPED["orthogonal_exploration"].rstrip()
    assert equals_shipped(module, SHIPPED) == "orthogonal_exploration"


def test_it_builds_on_what_worked_best_in_an_earlier_session() -> None:
    tuned = adapted(SHIPPED["tabu_search"], 0)
    archive = [worked("multi_scale_bandit", 0.01), worked("tabu_search", 0.2)]
    told = Conversation(archive, {"tabu_search": tuned, "multi_scale_bandit": SHIPPED["multi_scale_bandit"]})
    decided, specified, module = told.rounds()
    assert (decided["pick"], specified["builds_on"]) == ("tabu_search", "tabu_search")
    assert alike(module, tuned) and module not in (tuned.rstrip(), SHIPPED["tabu_search"].rstrip())
    changed = [(one, two) for one, two in zip(tuned.split("\n"), module.split("\n"), strict=False) if one != two]
    assert len(changed) == 1, "it starts from the archived source, and changes one number of it"


@pytest.mark.parametrize("effect", [None, 0.0, -0.1])
def test_what_was_not_measured_to_the_good_is_not_preferred(effect: float | None) -> None:
    told = Conversation([worked("tabu_search", effect)], {"tabu_search": SHIPPED["tabu_search"]})
    decided, specified, _ = told.rounds()
    assert (decided["pick"], specified["builds_on"]) == ("orthogonal_exploration", None)


def test_what_failed_in_an_earlier_session_comes_last() -> None:
    told = Conversation([failed("orthogonal_exploration")], mechanisms=[])
    candidates = [candidate["name"] for candidate in json_object(told.ask("explore"))["candidates"]]
    assert candidates[0] != "orthogonal_exploration"
    assert candidates[-1] == "orthogonal_exploration" or len(candidates) == 6


def test_it_takes_up_no_archived_module_that_a_shipped_one_does_not_vouch_for() -> None:
    foreign = SHIPPED["tabu_search"].replace("import math", "import os")
    told = Conversation([worked("tabu_search", 0.2), worked("own", 0.9)], {"tabu_search": foreign, "own": "x = (" * 9})
    decided, specified, module = told.rounds()
    assert (decided["pick"], specified["builds_on"]) == ("orthogonal_exploration", None)
    assert "import os" not in module


def test_a_revision_starts_from_the_source_that_runs_and_differs_from_it() -> None:
    running = {name: adapted(text, 3) for name, text in SHIPPED.items()}
    mechanisms = [{"name": name, "status": "active", "acted": 3} for name in SHIPPED]
    decided, specified, module = Conversation(mechanisms=mechanisms, active=running).rounds()
    assert decided["decision"] == "revise" and specified["builds_on"] is None
    name = decided["target"]
    assert module not in (running[name].rstrip(), SHIPPED[name].rstrip())
    assert equals_shipped(module, SHIPPED) == name


def test_each_repair_is_another_attempt() -> None:
    told = Conversation()
    modules = [told.rounds()[2]] + [source(told.ask("repair")) for _ in range(3)]
    assert len(set(modules)) == 4
    assert {equals_shipped(module, SHIPPED) for module in modules} == {"orthogonal_exploration"}


def test_modules_that_it_does_not_know_are_fine() -> None:
    odd = 'class Mechanism:\n    purpose = "p"\n    source = "own"\n    def review(self, view, p): ...\n'
    _, specified, module = Conversation(examples={"odd": odd}).rounds()
    assert (specified["name"], specified["hooks"], module) == ("odd", ["review"], odd.rstrip())


# --- adapting ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_module_stays_one_however_often_it_is_adapted(name: str) -> None:
    text = SHIPPED[name]
    for turn in range(40):
        other = adapted(text, turn)
        assert other != text and equals_shipped(other, SHIPPED) == name
        text = other


@pytest.mark.parametrize(
    ("before", "up", "down"),
    [
        ("7", "8", "6"),
        ("1", "2", "2"),
        ("100", "125", "75"),
        ("0.25", "0.3125", "0.2"),
        ("0.9", "0.92", "0.72"),
        ("4.0", "5.0", "3.4"),
        ("1.0", "1.25", "0.8"),
    ],
)
def test_a_number_stays_of_its_kind(before: str, up: str, down: str) -> None:
    module = 'class Mechanism:\n    name = "é"\n    STEP = {}  # how far\n    ZERO = 0\n    FLAG = True\n'
    assert adapted(module.format(before), 0) == module.format(up)
    assert adapted(module.format(before), 1) == module.format(down)


def test_modules_are_alike_that_differ_in_numbers_and_in_what_they_say_of_themselves() -> None:
    one = 'class Mechanism:\n    purpose = "a"\n    N = 1\n    def review(self, view, p):\n        return "x"\n'
    assert alike(one, one.replace("N = 1", "N = 25").replace('"a"', '"b"'))
    assert not alike(one, one.replace('"x"', '"y"'))
    assert not alike(one, one.replace("N = 1", "N = 1.0"))
    assert not alike(one, "x = (" * 500) and not alike(one, "\0")
