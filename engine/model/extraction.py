"""The one JSON object, or the fenced blocks, in the text of an answer.

Promises: linear time and bounded memory whatever the text is; every way in which JSON can mean two things (a key
twice, NaN, a number that overflows, a lone surrogate) or can play tricks on a screen (control characters, characters
that turn the direction of writing) is an AnswerError with a sentence that says where.

Does not: know what the object should hold.
"""

import json
import math
import re
import unicodedata
from typing import Any, NoReturn

from engine.errors import BilevelError
from engine.search.parameters import LARGEST_INTEGER

LARGEST_ANSWER = 256 * 1024
"""Characters of an answer that are looked at; a longer one is refused."""
DEEPEST = 32
_TURNING = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
_FENCE = re.compile(r" {0,3}(`{3,})[ \t]*([\w+-]*)[^`]*")


class AnswerError(BilevelError):
    """An answer does not fit its form; the sentence is written for the model that is to mend it."""


def json_object(text: str) -> dict[str, Any]:
    """The one JSON object of an answer: the whole text, its only ```json block, or what its outermost braces hold.

    A leading <think> section is passed over. Raises AnswerError for no object, more than one, JSON that is not
    strict, nesting deeper than 32, or text beyond 256 K characters.
    """
    found = _candidate(_without_thinking(_bounded(text)))
    _check_depth(found)
    try:
        value = json.loads(
            found,
            object_pairs_hook=_unique,
            parse_int=_integer,
            parse_float=_finite,
            parse_constant=_no_constant,
        )
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise AnswerError(f"the JSON cannot be read at {place} of the object: {error.msg}") from None
    if not isinstance(value, dict):
        raise AnswerError("the answer is not a JSON object: it begins with { and ends with }")
    _check_strings("", value)
    return value


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """The blocks between lines of three or more backticks, as (label in lower case, content), in order.

    A block ends at a line with as many backticks as it began with. Raises AnswerError for one that does not end.
    """
    blocks: list[tuple[str, str]] = []
    fence, label = "", ""
    lines: list[str] = []
    for line in _bounded(text).replace("\r\n", "\n").split("\n"):
        mark = _FENCE.fullmatch(line)
        if not fence and mark:
            fence, label, lines = mark[1], mark[2].lower(), []
        elif fence and mark and len(mark[1]) >= len(fence) and line.strip() == mark[1]:
            blocks.append((label, "".join(f"{content}\n" for content in lines)))
            fence = ""
        elif fence:
            lines.append(line)
    if fence:
        raise AnswerError("a fenced block is not closed: the answer may have been cut off")
    return blocks


def check_text(where: str, text: str) -> None:
    """Raises AnswerError for characters that text has no use for: control, direction-turning, lone surrogates."""
    for character in sorted(set(text)):
        if character in "\n\t" or character.isprintable():
            continue
        category = unicodedata.category(character)
        # Other spaces and joiners (category Z, most of Cf) occur in honest prose; these do not.
        if category in ("Cc", "Cs") or unicodedata.bidirectional(character) in _TURNING:
            raise AnswerError(f"{where}: the character U+{ord(character):04X} may not stand in an answer")


def shown(name: str) -> str:
    """A name from an answer as it may stand in a sentence: as it is, or quoted and at most 40 characters."""
    return name if re.fullmatch(r"\w{1,40}", name) else repr(name[:40])


def _bounded(text: str) -> str:
    if len(text) > LARGEST_ANSWER:
        raise AnswerError(f"the answer is longer than {LARGEST_ANSWER // 1024} K characters: answer more briefly")
    return text


def _without_thinking(text: str) -> str:
    """The text after a leading <think> section, in which some local models put their reasoning."""
    text = text.strip()
    if text.startswith("<think>"):
        _, ended, rest = text.partition("</think>")
        return rest.strip() if ended else text
    return text


def _candidate(text: str) -> str:
    if text.startswith("{") and text.endswith("}"):
        return text
    if "```" in text:
        blocks = [content for label, content in fenced_blocks(text) if label in ("json", "")]
        if len(blocks) == 1:
            return blocks[0].strip()
        if len(blocks) > 1:
            raise AnswerError(f"the answer holds {len(blocks)} fenced blocks of JSON, and exactly one object is wanted")
    first, last = text.find("{"), text.rfind("}")
    if first < 0 or last < first:
        raise AnswerError("the answer holds no JSON object")
    return text[first : last + 1]


def _check_depth(text: str) -> None:
    """Count brackets outside strings before anything recursive reads the text."""
    depth, quoted, skip = 0, False, -1
    for found in re.finditer(r'["\\{}\[\]]', text):
        if found.start() == skip:
            continue
        match found[0]:
            case "\\" if quoted:
                skip = found.end()
            case '"':
                quoted = not quoted
            case "{" | "[" if not quoted:
                depth += 1
            case "}" | "]" if not quoted:
                depth -= 1
        if depth > DEEPEST:
            raise AnswerError(f"the JSON is nested deeper than {DEEPEST} levels")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise AnswerError(f"the JSON holds the key {shown(key)} twice in one object")
        found[key] = value
    return found


def _integer(digits: str) -> int:
    if len(digits) > 20 or abs(int(digits)) > LARGEST_INTEGER:
        raise AnswerError(f"the number {digits[:20]} is too large")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise AnswerError(f"the number {digits[:20]} is too large")
    return number


def _no_constant(name: str) -> NoReturn:
    raise AnswerError(f"{name} is no JSON: give a finite number")


def _check_strings(where: str, value: object) -> None:
    if isinstance(value, str):
        check_text(where, value)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_strings(f"{where}[{index}]", item)
    elif isinstance(value, dict):
        for key, item in value.items():
            check_text(f"a key of {where or 'the answer'}", key)
            _check_strings(f"{where}.{shown(key)}" if where else shown(key), item)
