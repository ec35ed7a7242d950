"""The stand-in's Level 2: it picks one of the example mechanisms by what the trace shows, and adapts its numbers.

What it writes equals a shipped module except for literals, so it may run unattended. It finds everything in the
conversation: the trials, the mechanisms that were there already, the examples' sources, and what earlier sessions made
of them. What improved a search there it takes up again from where it stood; what failed there comes last.
"""

import ast
import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from engine.model.adapting import adapted, alike
from engine.model.blocks import Block, rows
from engine.model.client import Prompt
from engine.model.extraction import AnswerError, json_object

_ACTING = ("review", "suggest", "steer", "choose", "accept", "watch")


@dataclass(frozen=True)
class _Read:
    """What the prompt of round 1 holds: sources by name, and the lines of the trials and of the mechanisms."""

    examples: dict[str, str]
    active: dict[str, str]
    archived: dict[str, str]
    """Those that did good in earlier sessions and differ from an example in numbers alone."""
    trials: list[dict[str, Any]]
    mechanisms: list[dict[str, Any]]
    archive: list[dict[str, Any]]


def answer_research(prompt: Prompt, blocks: list[Block]) -> str:
    """The answer of one round."""
    read = _read(blocks)
    ranking = _ranking(read)
    match prompt.purpose:
        case "explore":
            candidates = [_candidate(name, read.examples[name]) for name in ranking]
            return _json({"diagnosis": _diagnosis(read.trials), "candidates": candidates})
        case "critique":
            return _json(_critique(ranking, read.mechanisms))
    decided = _decided(prompt)
    name = decided.get("pick") or ranking[0]
    revised = read.active.get(name) if decided.get("decision") == "revise" else None
    archived = read.archived.get(name) if revised is None else None
    if prompt.purpose == "specify":
        return _json(_specified(name, read.examples[name], archived is not None))
    written = sum("```python" in message["content"] for message in prompt.messages if message["role"] == "assistant")
    source = adapted(revised or archived or read.examples[name], len(read.trials) + written)
    return f"```python\n{source.rstrip()}\n```"


def _read(blocks: list[Block]) -> _Read:
    sources: dict[str, dict[str, str]] = {"example": {}, "active": {}, "archived": {}}
    for block in blocks:
        match block.words:
            case [kind, name] if kind in sources:
                sources[kind][name] = block.text
    archive = rows(blocks, "archive")
    worked = {known["name"] for known in archive if known["outcome"] == "worked" and (known.get("effect") or 0) > 0}
    archived = {
        name: source
        for name, source in sources["archived"].items()
        if name in worked and name in sources["example"] and alike(source, sources["example"][name])
    }
    trials, mechanisms = rows(blocks, "trials"), rows(blocks, "mechanisms")
    return _Read(sources["example"], sources["active"], archived, trials, mechanisms, archive)


def _repeats(trials: list[dict[str, Any]]) -> Counter[str]:
    """How often each parameter was changed by the model without a keep."""
    failed = [trial for trial in trials if trial["by"] == "model" and trial["status"] != "keep"]
    return Counter(name for trial in failed for name in trial["changes"])


def _ranking(read: _Read) -> list[str]:
    """The examples, the one that fits best first; what was there already comes last.

    Among the others those go first that did good in an earlier session, by their effect, and those last that failed.
    """
    seen = Counter(known["name"] for known in read.mechanisms)
    effects = {known["name"]: known.get("effect") or 0.0 for known in read.archive if known["name"] in read.archived}
    failed = {known["name"] for known in read.archive if known["outcome"] == "failed"} - effects.keys()
    fit = _fit(read.trials)

    def place(name: str) -> tuple[int, int, float, float]:
        earlier = 0 if name in effects else 2 if name in failed else 1
        return seen[name], earlier, -effects.get(name, 0.0), -fit.get(name, 0.0)

    return sorted(read.examples, key=place)[:6]


def _fit(trials: list[dict[str, Any]]) -> dict[str, float]:
    """How well each shipped module fits the trace."""
    stuck = sum(count > 1 for count in _repeats(trials).values())
    kept = [index for index, trial in enumerate(trials) if trial["status"] == "keep"]
    since = len(trials) - 1 - (kept[-1] if kept else 0)
    return {
        "orthogonal_exploration": 2.0,
        "tabu_search": 1.0 + stuck / 2,
        "multi_scale_bandit": len(trials) / 12,
        "trust_region": len(kept) / 6,
        "annealed_acceptance": since / 12,
        "elite_restart": since / 15,
        "curve_stopping": len(trials) / 30,
    }


def _critique(ranking: list[str], mechanisms: list[dict[str, Any]]) -> dict[str, Any]:
    active = [known for known in mechanisms if known["status"] == "active"]
    seen = {known["name"] for known in mechanisms}
    idle = [known for known in active if not known["acted"]]
    if ranking[0] in seen and idle:
        reason = f"{idle[0]['name']} never acted, and nothing new is left to try."
        return {"decision": "retire", "pick": ranking[0], "target": idle[0]["name"], "reason": reason}
    if any(known["name"] == ranking[0] for known in active):
        reason = "It acts; its numbers may fit the longer history better."
        return {"decision": "revise", "pick": ranking[0], "target": ranking[0], "reason": reason}
    return {"decision": "new", "pick": ranking[0], "target": None, "reason": f"{ranking[0]} fits the trace best."}


def _diagnosis(trials: list[dict[str, Any]]) -> str:
    kept = sum(trial["status"] == "keep" for trial in trials if trial["trial"])
    most = ", ".join(f"{name} {count} times" for name, count in _repeats(trials).most_common(3) if count > 1)
    text = f"{kept} of {max(0, len(trials) - 1)} trials were kept."
    return text + (
        f" Tried again without a gain: {most}." if most else " Steps go one way, and few parameters were tried."
    )


def _candidate(name: str, source: str) -> dict[str, str]:
    said = _attributes(source)
    return {"name": name, "field": said["source"], "idea": said["purpose"]}


def _specified(name: str, example: str, archived: bool) -> dict[str, Any]:
    hooks = [hook for hook in _ACTING if f"def {hook}(" in example]
    model = "archived mechanism" if archived else "example"
    behaviour = f"As the {model} {name}, its numbers adapted."
    builds_on = name if archived else None
    return {"name": name, **_attributes(example), "hooks": hooks, "behaviour": behaviour, "builds_on": builds_on}


def _attributes(source: str) -> dict[str, str]:
    """The purpose and the source in the literature that a module states."""
    said = {"purpose": "", "source": ""}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))) if name in said:
                said[name] = text
    return said


def _decided(prompt: Prompt) -> dict[str, Any]:
    """What was decided in round 2 of this conversation."""
    for message in prompt.messages:
        if message["role"] == "assistant" and '"decision"' in message["content"]:
            try:
                return json_object(message["content"])
            except AnswerError:
                continue
    return {}


def _json(answer: dict[str, Any]) -> str:
    return "```json\n" + json.dumps(answer, ensure_ascii=False, indent=1) + "\n```"
