"""What the environment says of this terminal, and how much of it the application believes.

Textual reads variables of its own when it is loaded, and some values end it with a traceback, or draw nothing. Those
that tell what a terminal can do are left to it where they make sense; the others are not meant for this application.
"""

import os
import re
import sys

KEPT = {
    "TEXTUAL_COLOR_SYSTEM": "auto|standard|256|truecolor",
    "TEXTUAL_FPS": "[1-9][0-9]?",
    "TEXTUAL_DISABLE_KITTY_KEY": "[01]",
    "TEXTUAL_SMOOTH_SCROLL": "[01]",
    "TEXTUAL_ALLOW_SIGNALS": "1",
}
"""Textual's variables that may be set, and to what."""

SIZES = ("COLUMNS", "LINES")
"""What the terminal itself tells, also when it changes."""

SAYS_NOTHING = ("ascii", "usascii", "ansix3.41968", "646")
"""The encoding where nobody has chosen one: the locale is C."""


def charset_hindrance() -> str:
    """Why nothing can be drawn in the encoding that was chosen for this terminal; empty where it can.

    A locale that says nothing hinders nothing: almost every terminal understands UTF-8.
    """
    encoding = (sys.stderr.encoding or "utf-8").lower()
    plain = encoding.replace("-", "").replace("_", "")
    if plain.startswith("utf8") or plain in SAYS_NOTHING:
        return ""
    return f"it is drawn in UTF-8, and this terminal is set to {encoding} (LC_ALL=C.UTF-8, if it can do that)"


def settle() -> None:
    """Before Textual is loaded: take out of the environment what it must not read, and let it write UTF-8."""
    textual = [name for name in os.environ if name == "TEXTUAL" or name.startswith("TEXTUAL_")]
    believed = [name for name in textual if name in KEPT and re.fullmatch(KEPT[name], os.environ[name])]
    for name in {*textual, *SIZES} - {*believed}:
        os.environ.pop(name, None)
    for stream in (sys.stdout, sys.stderr):
        errors = stream.errors  # a new encoding would make it strict again, and a path may be no text
        stream.reconfigure(encoding="utf-8", errors=errors)  # type: ignore[union-attr]
