"""The stand-in's Level 2: it picks one of the example mechanisms by what the trace shows, and adapts its numbers.

What it writes equals a shipped module except for literals, so it may run unattended. It finds everything in the
conversation: the trials, the mechanisms that were there already, the examples' sources.
"""

import ast
import json
import re
from collections import Counter
from typing import Any

from engine.model.blocks import Block, rows
from engine.model.client import Prompt

_INTEGER = re.compile(r"^(    TENURE = )\d+", re.MULTILINE)


def answer_research(prompt: Prompt, blocks: list[Block]) -> str:
    """The answer of one round."""
    examples = {
        block.words[1]: block.text for block in blocks if block.words[:1] == ("example",) and len(block.words) > 1
    }
    trials, mechanisms = rows(blocks, "trials"), rows(blocks, "mechanisms")
    ranking = _ranking(trials, mechanisms, list(examples))
    match prompt.purpose:
        case "explore":
            return _json({"diagnosis": _diagnosis(trials), "candidates": [_candidate(n, examples[n]) for n in ranking]})
        case "critique":
            return _json(_critique(ranking, mechanisms))
    name = _picked(prompt) or ranking[0]
    if prompt.purpose == "specify":
        said = _attributes(examples[name])
        hooks = [
            hook
            for hook in ("review", "suggest", "steer", "choose", "accept", "watch")
            if f"def {hook}(" in examples[name]
        ]
        return _json(
            {"name": name, **said, "hooks": hooks, "behaviour": f"As the example {name}, its numbers adapted."}
        )
    source = examples[name]
    if prompt.purpose == "generate":
        source = _INTEGER.sub(rf"\g<1>{max(5, len(trials) // 2)}", source)
    return f"```python\n{source.rstrip()}\n```"


def _repeats(trials: list[dict[str, Any]]) -> Counter[str]:
    """How often each parameter was changed by the model without a keep."""
    failed = [trial for trial in trials if trial["by"] == "model" and trial["status"] != "keep"]
    return Counter(name for trial in failed for name in trial["changes"])


def _ranking(trials: list[dict[str, Any]], mechanisms: list[dict[str, Any]], names: list[str]) -> list[str]:
    """The examples, the one that fits the trace best first; what was there already comes last."""
    stuck = sum(count > 1 for count in _repeats(trials).values())
    fit = {"orthogonal_exploration": 2.0, "tabu_search": 1.0 + stuck / 2, "multi_scale_bandit": len(trials) / 12}
    seen = Counter(known["name"] for known in mechanisms)
    return sorted(names, key=lambda name: (seen[name], -fit.get(name, 0.0)))[:6]


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


def _attributes(source: str) -> dict[str, str]:
    """The purpose and the source in the literature that a module states."""
    said = {"purpose": "", "source": ""}
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))) if name in said:
                said[name] = text
    return said


def _picked(prompt: Prompt) -> str | None:
    """The candidate that was chosen in round 2 of this conversation."""
    for message in prompt.messages:
        found = re.search(r'"pick": "(\w+)"', message["content"]) if message["role"] == "assistant" else None
        if found:
            return found[1]
    return None


def _json(answer: dict[str, Any]) -> str:
    return "```json\n" + json.dumps(answer, ensure_ascii=False, indent=1) + "\n```"
