"""Standard output and error as they are: closed, full, or unable to write a character.

Nothing that a command does depends on them. Where a stream cannot write a character, a plain one stands in its place.
"""

import codecs
import json
import os
import sys
from typing import TextIO

_PLAIN = {"→": "->", "…": "...", "±": "+/-", "×": "x"}
_INSTEAD = "bilevel.plain"


def _plain(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(_PLAIN.get(c, "?") for c in error.object[error.start : error.end]), error.end


codecs.register_error(_INSTEAD, _plain)


def prepare_streams() -> bool:
    """Make standard output and error safe to write to; False when output is closed, so that nobody reads it.

    A closed descriptor is opened on nothing: else the next file, the record even, would be given its number.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free, which is this one
    open_before = sys.stdout is not None
    if sys.stdout is None:
        sys.stdout = _nothing(1)
    if sys.stderr is None:
        sys.stderr = _nothing(2)
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape"):  # the second in the locale C
            stream.reconfigure(errors=_INSTEAD)  # type: ignore[union-attr]
    return open_before


def _nothing(descriptor: int) -> TextIO:
    return os.fdopen(descriptor, "w", encoding="utf-8", closefd=False)


def close_output() -> None:
    """Let standard output lead nowhere: what it still holds must not fail again when the interpreter ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def writes_unicode(stream: TextIO) -> bool:
    """Whether every character can be written to a stream."""
    return (stream.encoding or "").lower().replace("-", "").startswith("utf")


def json_text(value: object, indent: int | None = None) -> str:
    """JSON for standard output, with escapes where the stream takes no other characters."""
    return json.dumps(value, ensure_ascii=not writes_unicode(sys.stdout), indent=indent)
