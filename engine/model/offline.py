"""The offline stand-in: rules in a language model's place, for a first look, for tests and for machines without a key.

It reads the same prompts, finds its facts in the same data blocks, and answers in the same texts through the same
parser; nothing else is known to it. Its proposals have the bias that the published experiments found in a language
model: it believes that larger is better, tries the larger batch first, and comes back to what failed. Everywhere it
shows it says that it is a stand-in: what it finds says something of the machinery, not of a model.
"""

import asyncio
import json
import random
import time
from typing import Any

from engine.model.blocks import Block, blocks_of, rows
from engine.model.client import Prompt, Reply, Retried
from engine.model.offline_research import answer_research

NAME = "offline"
CHARACTERS_PER_TOKEN = 4
PRIOR = ("BATCH", "MATRIX_LR", "EMBEDDING_LR", "LR", "WARMDOWN", "WEIGHT_DECAY")
"""What the stand-in thinks of first, by parts of a name; the rest follows in the order of the script."""
STEPS = {"explore": 2.0, "focused": 1.5, "exploit": 1.25}
"""Factor of a step on a log scale, by strategy; on another scale a fifth of the range times (factor - 1)."""
COMES_BACK = 4
"""Every so many trials it tries its favourite again, whatever came of it."""


class OfflineModel:
    """Rules that answer prompts. `seed` varies which of its ideas come when."""

    name = NAME
    stand_in = True

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    async def complete(self, prompt: Prompt, retried: Retried) -> Reply:
        """The stand-in's answer. Never fails; takes a few milliseconds."""
        started = time.monotonic()
        await asyncio.sleep(0)
        sent = sum(len(message["content"]) for message in prompt.messages)
        text = self.answer(prompt)
        seconds = time.monotonic() - started
        return Reply(text, NAME, sent // CHARACTERS_PER_TOKEN, len(text) // CHARACTERS_PER_TOKEN, seconds, "stop")

    async def close(self) -> None:
        """Nothing to close."""

    def answer(self, prompt: Prompt) -> str:
        """The text that a model would have written."""
        first = prompt.messages[1]["content"]
        blocks = blocks_of(first)
        match prompt.purpose:
            case "propose":
                asked_before = sum(message["role"] == "assistant" for message in prompt.messages)
                return self._propose(blocks, asked_before + _refused(first))
            case "strategy":
                return _strategy(blocks)
            case _:
                return answer_research(prompt, blocks)

    def _propose(self, blocks: list[Block], skip: int) -> str:
        """Two ranked proposals; `skip` counts the ideas for this trial that were refused already."""
        parameters = [row for row in rows(blocks, "parameters") if not row.get("locked") and not row.get("frozen")]
        trials, state = rows(blocks, "trials"), rows(blocks, "state")[0]
        number = max((trial["trial"] for trial in trials), default=0) + 1
        ideas = _ideas(parameters, trials, state, random.Random(f"{self.seed}/{number}"), number)
        if not ideas:
            return _json(
                {"proposals": [{"replicate": state["incumbent"]["trial"], "hypothesis": "Nothing is left to try."}]}
            )
        start = skip % len(ideas)
        return _json({"proposals": (ideas[start:] + ideas[:start])[:2]})


def _ideas(
    parameters: list[dict[str, Any]],
    trials: list[dict[str, Any]],
    state: dict[str, Any],
    draw: random.Random,
    number: int,
) -> list[dict[str, Any]]:
    """Every step upward, what worked last first, then the favourites; some steps down at the end."""
    factor = STEPS[state["strategy"]]
    by_name = {row["name"]: row for row in parameters}
    favourites = sorted(by_name, key=_rank)
    if number % COMES_BACK != 1 and favourites:  # its favourite comes back by turns, the others move on
        turn = number % len(favourites)
        favourites = favourites[turn:] + favourites[:turn]
    last = next((trial for trial in reversed(trials) if trial["status"] == "keep" and trial["changes"]), None)
    ideas = []
    if last is not None and last["trial"] == trials[-1]["trial"]:
        ideas += [_again(by_name[name], last, factor) for name in last["changes"] if name in by_name]
    down = set(draw.sample(favourites, len(favourites) // 4))
    for name in favourites:
        sign = -1 if name in down and "BATCH" not in name else 1
        ideas.append(_step(by_name[name], sign, factor, draw))
    return [idea for idea in ideas if idea is not None]


def _rank(name: str) -> tuple[int, str]:
    place = next((index for index, part in enumerate(PRIOR) if part in name), len(PRIOR))
    return place, "" if place < len(PRIOR) else name


def _again(row: dict[str, Any], last: dict[str, Any], factor: float) -> dict[str, Any] | None:
    """Another step the way that was kept last."""
    new = last["changes"][row["name"]]
    sign = -1 if "down" in last.get("hypothesis", "") else 1
    idea = _step({**row, "value": new}, sign, factor, random.Random(0))
    if idea is not None:
        idea["hypothesis"] = f"The last step of {row['name']} was kept, so a further one {_way(sign)} should help."
    return idea


def _step(row: dict[str, Any], sign: int, factor: float, draw: random.Random) -> dict[str, Any] | None:
    """A step of one parameter, None where it is at its end."""
    value = _stepped(row, sign, factor, draw)
    if value is None or value == row["value"]:
        return None
    why = "larger is usually better" if sign > 0 else "it may be too large"
    return {
        "changes": {row["name"]: value},
        "hypothesis": f"{row['name']} {_way(sign)} from {row['value']}: {why}.",
        "prediction": {"gain": 0.01, "sd": 0.02},
    }


def _way(sign: int) -> str:
    return "up" if sign > 0 else "down"


def _stepped(row: dict[str, Any], sign: int, factor: float, draw: random.Random) -> Any:
    value = row["value"]
    if row["kind"] == "choice":
        others = [choice for choice in row["choices"] if choice != value]
        return draw.choice(others) if others else None
    if row["kind"] == "tuple":
        return _stepped_tuple(row, sign)
    if row["log"]:
        moved = value * max(factor, 2.0 if row["kind"] == "int" else 1.0) ** sign
    else:
        moved = value + sign * (factor - 1) * 0.2 * (row["high"] - row["low"])
    moved = min(max(moved, row["low"]), row["high"])
    return round(moved) if row["kind"] == "int" else float(f"{moved:.4g}")


def _stepped_tuple(row: dict[str, Any], sign: int) -> list[float]:
    """Every element a tenth of the way towards its bound."""
    ends = row["high"] if sign > 0 else row["low"]
    ends = ends if isinstance(ends, list) else [ends] * len(row["value"])
    moved = []
    for item, end in zip(row["value"], ends, strict=True):
        step = 0.1 * (end - item)
        whole = isinstance(item, int) and not isinstance(item, bool)
        moved.append(item + (round(step) or sign * (item != end)) if whole else round(item + step, 4))
    return moved


def _strategy(blocks: list[Block]) -> str:
    """Freeze what may be frozen; exploit after a keep, explore after none."""
    parameters, trials = rows(blocks, "parameters"), rows(blocks, "trials")
    state = rows(blocks, "state")[0]
    recent = [trial for trial in trials if trial["trial"]][-5:]
    kept = [trial for trial in recent if trial["status"] == "keep"]
    freeze = [row["name"] for row in parameters if row.get("may_freeze")]
    strategy = "exploit" if kept else "focused" if state["strategy"] == "explore" and len(trials) > 11 else "explore"
    names = sorted({name for trial in kept for name in trial["changes"]})
    untried = [row["name"] for row in parameters if not row.get("locked") and not row["tries"] and not row["kept"]]
    guidance = f"{len(kept)} of the last {len(recent)} trials were kept" + (f" ({', '.join(names)})." if names else ".")
    if untried:
        guidance += f" Not tried yet: {', '.join(untried)}."
    return _json(
        {
            "freeze": freeze,
            "unfreeze": [],
            "strategy": strategy,
            "guidance": guidance,
            "reason": f"{len(freeze)} parameters were tried without a gain." if freeze else "Nothing is stuck yet.",
        }
    )


def _refused(prompt: str) -> int:
    """How many ideas the prompt says were refused for this trial."""
    _, found, after = prompt.partition("\n# Refused for this trial")
    return sum(line.startswith("- ") for line in after.partition("\n# ")[0].splitlines()) if found else 0


def _json(answer: dict[str, Any]) -> str:
    return "```json\n" + json.dumps(answer, ensure_ascii=False, indent=1) + "\n```"
