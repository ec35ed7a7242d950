"""The control socket: a person's commands go to the engine of a session, and one answer to each comes back.

The engine listens on a unix socket that its own user alone may use (mode 0600). A message is a line of JSON:

    {"id": 1, "command": "freeze", "args": {"name": "MATRIX_LR"}, "by": "person"}
    {"id": 1, "applied": true, "detail": "MATRIX_LR is frozen from the next proposal on"}

Promises: each line gets exactly one answer, in order; what is not a command of the table, or carries an argument that
the table does not know, is refused with a sentence and reaches nobody; a line is at most 64 KB; no client, however it
behaves, stops the server or another client. Directives are idempotent: what holds already is applied and changes
nothing. With "dry_run": true a command is checked and not handed on.

Does not: record events, or decide what a command does. The session does both, in the `handle` that it gives.

directives   the table of commands with their arguments, and the check against it
place        where the socket lies
server       the engine's half
client       the other half: send one command, get its answer
"""

from typing import TYPE_CHECKING, Any

from engine.control.client import NotAllowed, send
from engine.control.directives import DIRECTIVES, Answer, Argument, Command, Directive, check
from engine.control.place import socket_path

if TYPE_CHECKING:
    from engine.control.server import ControlServer

__all__ = [
    "DIRECTIVES",
    "Answer",
    "Argument",
    "Command",
    "ControlServer",
    "Directive",
    "NotAllowed",
    "check",
    "send",
    "socket_path",
]


def __getattr__(name: str) -> Any:
    """The server when it is asked for: it brings an event loop, which takes clients long to load and serves none."""
    if name != "ControlServer":
        raise AttributeError(name)
    from engine.control.server import ControlServer

    return ControlServer
