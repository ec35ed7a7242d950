"""The fenced blocks of a prompt: how they are written so that no text ends its block, and how the offline stand-in
finds them (```python example NAME, ```jsonl trials, ...).
"""

import json
import re
from dataclasses import dataclass
from typing import Any

_FENCE = re.compile(r"^(`{3,})(\w+)(?: ([^\n`]*))?\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block: its language, the words after it, its text."""

    language: str
    words: tuple[str, ...]
    text: str


def fenced(label: str, text: str) -> str:
    """The text in a block with this label, fenced by more backticks than any of its own lines begins with."""
    longest = max((len(mark) for mark in re.findall(r"^\s*(`+)", text, re.MULTILINE)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{label}\n{text.rstrip()}\n{fence}"


def blocks_of(prompt: str) -> list[Block]:
    """All fenced blocks of a text in order."""
    return [Block(lang, tuple((words or "").split()), text) for _, lang, words, text in _FENCE.findall(prompt)]


def rows(blocks: list[Block], name: str) -> list[dict[str, Any]]:
    """The objects of the data block of this name, one a line; none where there is no such block."""
    for block in blocks:
        if block.words[:1] == (name,) and block.language in ("json", "jsonl"):
            return [json.loads(line) for line in block.text.split("\n") if line.strip()]  # JSON may hold U+2028
    return []
