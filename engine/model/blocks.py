"""The fenced blocks of a prompt, as the offline stand-in finds them: ```python example NAME, ```jsonl trials, ..."""

import json
import re
from dataclasses import dataclass
from typing import Any

_FENCE = re.compile(r"^```(\w+)(?: ([^\n`]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the words after it, its text."""

    language: str
    words: tuple[str, ...]
    text: str


def blocks_of(prompt: str) -> list[Block]:
    """All fenced blocks of a text in order."""
    return [Block(lang, tuple((words or "").split()), text) for lang, words, text in _FENCE.findall(prompt)]


def rows(blocks: list[Block], name: str) -> list[dict[str, Any]]:
    """The objects of the data block of this name, one a line; none where there is no such block."""
    for block in blocks:
        if block.words[:1] == (name,) and block.language in ("json", "jsonl"):
            return [json.loads(line) for line in block.text.split("\n") if line.strip()]  # JSON may hold U+2028
    return []
