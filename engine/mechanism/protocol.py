"""Frames between the engine and a mechanism host, read as strictly by one half as by the other.

A frame is four bytes of length, big-endian, and that many bytes of JSON. The engine sends `{"id", "op", ...}` with an
id that it made up; the host answers once, `{"id", "ok": value}` or `{"id", "error": {...}}`. Nothing else may pass.

What is refused, because what comes from a host may be hostile: frames over the limit, text that is not UTF-8, lone
surrogates, NaN and infinity (`1e999` parses as one), integers beyond 64 bits, duplicate keys, nesting deeper than 32,
and more than 100,000 items. Standard library alone; it opens and reads nothing itself.
"""

import json
import math
import struct
from collections.abc import Mapping
from typing import Any, NoReturn

HEADER = struct.Struct(">I")
TO_HOST_LIMIT = 16 * 2**20
"""Bytes of a frame to the host: a trial with its curve, a state; histories travel trial by trial."""
TO_ENGINE_LIMIT = 2**20
"""Bytes of a frame to the engine: one answer."""
DEEPEST = 32
MOST_ITEMS = 100_000
LARGEST_INTEGER = 2**63


class FrameError(ValueError):
    """A frame that may not pass; the text says what is wrong with it, without quoting it."""


def encode(value: object, limit: int) -> bytes:
    """The frame that carries `value`, header included. Raises FrameError for what `decode` would refuse."""
    admit(value)
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    if len(body) > limit:
        raise FrameError(f"it takes {len(body):,} bytes, {limit:,} are allowed")
    return HEADER.pack(len(body)) + body


def decode(body: bytes) -> Any:
    """The value that a frame's body carries. Raises FrameError for anything but strict, plain JSON."""
    try:
        value = json.loads(
            body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=_integer, parse_float=_real
        )
    except UnicodeDecodeError:
        raise FrameError("it is not UTF-8") from None
    except RecursionError:
        raise FrameError(f"it nests deeper than {DEEPEST}") from None
    except FrameError:
        raise
    except ValueError:
        raise FrameError("it is not JSON") from None
    admit(value)
    return value


def admit(value: object) -> None:
    """Raise FrameError unless `value` is plain JSON data within the caps on depth, items and numbers."""
    stack: list[tuple[object, int]] = [(value, 1)]
    items = 0
    while stack:
        item, depth = stack.pop()
        items += 1
        if depth > DEEPEST:
            raise FrameError(f"it nests deeper than {DEEPEST}")
        if items > MOST_ITEMS:
            raise FrameError(f"it has more than {MOST_ITEMS:,} items")
        if isinstance(item, dict):
            for key in item:
                if not isinstance(key, str):
                    raise FrameError("a key is not a string")
                _text(key)
            stack.extend((part, depth + 1) for part in item.values())
        elif isinstance(item, list | tuple):
            stack.extend((part, depth + 1) for part in item)
        else:
            _scalar(item)


def tellable(value: Any) -> Any:
    """What a trainer or a model may have said, as strict JSON: None for NaN and infinity, no lone surrogates."""
    if isinstance(value, Mapping):
        return {key: tellable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [tellable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    return value


def _scalar(item: object) -> None:
    if isinstance(item, str):
        _text(item)
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise FrameError("a number in it is not finite")
    elif isinstance(item, int):
        if abs(item) > LARGEST_INTEGER:
            raise FrameError("an integer in it is beyond 64 bits")
    elif item is not None:
        raise FrameError(f"it holds a {type(item).__name__}")


def _text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise FrameError("a text in it holds a lone surrogate") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise FrameError("a key in it occurs twice")
    return result


def _no_constant(name: str) -> NoReturn:
    raise FrameError(f"it holds {name}, which is not JSON")


def _integer(digits: str) -> int:
    if len(digits) > 20:
        raise FrameError("an integer in it is beyond 64 bits")
    return int(digits)


def _real(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise FrameError("a number in it is not finite")
    return number
