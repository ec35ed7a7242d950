"""The client half of the control socket: one command, one answer, without an event loop.

A command that nobody waits for any more does nothing: it lapses before its sender gives up, and an engine that wakes
later refuses it.
"""

import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path

from engine.control.directives import LONGEST_LINE, Answer, check
from engine.errors import InputError

PATIENCE = 5.0
"""Seconds that a person waits for an answer."""
LAPSES = 0.8
"""The share of this time after which a command lapses, so that what was begun before can still be answered."""


class NotAllowed(InputError):
    """The engine belongs to another user: its socket is that one's alone."""


def send(
    path: str | Path,
    command: str,
    args: Mapping[str, object] | None = None,
    timeout: float = PATIENCE,
    *,
    by: str = "person",
    dry_run: bool = False,
    session: str = "",
) -> Answer:
    """Send one command and wait for its answer, at most `timeout` seconds for each step.

    Raises NotAllowed where the engine is another user's; InputError for a command that is none, and when no engine
    listens or answers (`session` is named then). The command does nothing later either.
    """
    checked = check(command, args or {})
    until = time.clock_gettime(time.CLOCK_BOOTTIME) + LAPSES * timeout
    request = {"id": 1, "command": command, "args": checked, "by": by, "dry_run": dry_run, "until": until}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(LONGEST_LINE)
        answer = json.loads(line)
        return Answer(bool(answer["applied"]), str(answer["detail"]))
    except PermissionError:
        why = "is another user's, and takes commands from that one alone: it can be watched"
        raise NotAllowed(f"{_who(session)} {why}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(_no_answer(error, session)) from None


def _who(session: str) -> str:
    return f"the engine of session {session}" if session else "the engine"


def _no_answer(error: Exception, session: str) -> str:
    resume = f"if it is gone, `bilevel resume {session or 'last'}`"
    if isinstance(error, TimeoutError):
        why, what = "it took too long", "the request has lapsed and does nothing later either"
    elif isinstance(error, FileNotFoundError | ConnectionRefusedError):
        why, what = str(error.strerror).lower(), "nothing was asked of it"
    else:
        why, what = "it broke off", "the record says whether the request took effect"
    return f"{_who(session)} does not answer; {why}, {what}: look with `bilevel status`, and {resume}"
