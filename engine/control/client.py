"""The client half of the control socket: one command, one answer, without an event loop."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path

from engine.control.directives import LONGEST_LINE, Answer, check
from engine.errors import InputError


def send(
    path: str | Path,
    command: str,
    args: Mapping[str, object] | None = None,
    timeout: float = 5.0,
    *,
    by: str = "person",
    dry_run: bool = False,
    session: str = "",
) -> Answer:
    """Send one command and wait for its answer, at most `timeout` seconds for each step.

    Raises InputError for a command that is none, and when no engine listens or answers (`session` is named then).
    """
    checked = check(command, args or {})
    request = {"id": 1, "command": command, "args": checked, "by": by, "dry_run": dry_run}
    of_session = f" of session {session}" if session else ""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(timeout)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                line = stream.readline(LONGEST_LINE)
        answer = json.loads(line)
        return Answer(bool(answer["applied"]), str(answer["detail"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, TimeoutError):
            why = "it took too long"
        else:
            why = (error.strerror if isinstance(error, OSError) else None) or "it broke off"
        raise InputError(
            f"the engine{of_session} does not answer; {why.lower()}: look with `bilevel status`, "
            f"and if it is gone, `bilevel resume {session or 'last'}`"
        ) from None
