"""The commands that an engine takes: one table, for the server that checks and for the command line that sends.

A command is refused here for its form alone (unknown, wrong arguments); whether there is something to act on is the
session's to say.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal

from engine.errors import InputError

LONGEST_LINE = 64 * 1024
"""Bytes of a message."""
LONGEST_TEXT = 2000
"""Characters of one argument."""
ArgumentValue = bool | str | None


@dataclass(frozen=True)
class Argument:
    """An argument of a command: a text or a flag. One that is left out is handed on as None, a flag as False."""

    name: str
    type: Literal["text", "flag"]
    help: str
    required: bool = False


@dataclass(frozen=True)
class Directive:
    """A command that an engine knows, with one sentence on what it does."""

    name: str
    help: str
    arguments: tuple[Argument, ...] = ()


_DIRECTIVES = (
    Directive("ping", "Ask whether the engine answers, and for its state."),
    Directive("pause", "Start no further trial; the one that trains goes on to its end."),
    Directive("resume", "Go on after a pause."),
    Directive(
        "stop",
        "End the session after the trial that trains.",
        (Argument("now", "flag", "stop the trial that trains as well"),),
    ),
    Directive(
        "kill_trial",
        "Stop the trial that trains; the search goes on with the next.",
        (
            Argument("reason", "text", "why, for the record"),
            Argument("run", "text", "its run, such as trial-12, to be sure which one"),
        ),
    ),
    Directive(
        "freeze",
        "Nobody changes this parameter from the next proposal on.",
        (Argument("name", "text", "the parameter's name", required=True),),
    ),
    Directive(
        "unfreeze",
        "Release a parameter, from a person's freeze and from Level 1.5's.",
        (Argument("name", "text", "the parameter's name", required=True),),
    ),
    Directive(
        "guide",
        "Give words for the next proposals; an empty text takes them back.",
        (Argument("text", "text", "what the model is told", required=True),),
    ),
    Directive(
        "approve",
        "Let the waiting mechanism in at the next boundary.",
        (Argument("hash", "text", "the beginning of its source's hash, to be sure which one"),),
    ),
    Directive(
        "veto",
        "Turn the waiting mechanism away; while none waits, call off the research that is under way.",
        (
            Argument("hash", "text", "the beginning of its source's hash, to be sure which one"),
            Argument("reason", "text", "why, for the record and for Level 2"),
        ),
    ),
    Directive(
        "revert",
        "Take an active mechanism out; the elder that it replaced comes back.",
        (Argument("name", "text", "its name, or the beginning of its source's hash", required=True),),
    ),
    Directive(
        "edit",
        "Take over a person's change to a mechanism's file: it is validated again and let in, in place of the elder. "
        "A change is also noticed by itself.",
        (Argument("name", "text", "its name, or the beginning of the hash that it had", required=True),),
    ),
)
DIRECTIVES: dict[str, Directive] = {directive.name: directive for directive in _DIRECTIVES}
"""Every command of the socket, by name: the server checks against it, and the command line is made from it."""


@dataclass(frozen=True)
class Command:
    """A checked command: `args` has every argument of its directive."""

    command: str
    args: dict[str, ArgumentValue] = field(default_factory=dict)
    by: str = "person"
    dry_run: bool = False


@dataclass(frozen=True)
class Answer:
    """Whether the command took effect (or will at the next boundary, as `detail` says), or why not."""

    applied: bool
    detail: str


def check(command: str, args: Mapping[str, object]) -> dict[str, ArgumentValue]:
    """The arguments, complete and typed, for a command of the table. Raises InputError with one sentence."""
    directive = DIRECTIVES.get(command)
    if directive is None:
        raise InputError(f'there is no command "{command[:40]}"{_nearest(command, DIRECTIVES)}')
    known = {argument.name: argument for argument in directive.arguments}
    for name in args:
        if name not in known:
            raise InputError(f'{command} takes no argument "{name[:40]}"{_nearest(name, known)}')
    return {name: check_argument(command, argument, args.get(name)) for name, argument in known.items()}


def check_argument(command: str, argument: Argument, value: object) -> ArgumentValue:
    """The value of one argument, typed. Raises InputError."""
    if argument.type == "flag":
        if value is not None and not isinstance(value, bool):
            raise InputError(f"{argument.name} of {command} is true or false")
        return bool(value)
    if value is None:
        if argument.required:
            raise InputError(f"{command} needs {argument.name}: {argument.help}")
        return None
    if not isinstance(value, str):
        raise InputError(f"{argument.name} of {command} is a text")
    if len(value) > LONGEST_TEXT:
        raise InputError(f"{argument.name} of {command} has {len(value)} characters: at most {LONGEST_TEXT} fit")
    if not all(character.isprintable() or character in "\n\t" for character in value):
        raise InputError(f"{argument.name} of {command} holds a control character: use plain text")
    return value


def _nearest(word: str, known: Mapping[str, object]) -> str:
    close = get_close_matches(word, known, n=1)
    return f'; did you mean "{close[0]}"?' if close else f"; there are: {', '.join(known) or 'none'}"
