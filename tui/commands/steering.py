"""Commands to a session that runs: each goes to its engine over the control socket, and its answer is printed."""

import os
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from typing import Any

from engine.control import DIRECTIVES, send
from engine.errors import InputError
from engine.record.view import Mechanism, View
from tui.editor import edited
from tui.subcommand import Subcommand, open_record, running_engine, view_of


def _send(args: Namespace, command: str, arguments: Mapping[str, object]) -> int:
    engine = running_engine(args, args.session)
    answer = send(engine.socket, command, arguments, session=engine.session)
    if not answer.applied:
        raise InputError(f"{command.replace('_', '-')} was refused: {answer.detail}")
    print(answer.detail)
    return 0


def _sender(command: str) -> Callable[[Namespace], int]:
    names = [argument.name for argument in DIRECTIVES[command].arguments]

    def run(args: Namespace) -> int:
        return _send(args, command, {name: getattr(args, name) for name in names})

    return run


def _arguments(command: str) -> Callable[[ArgumentParser], None]:
    """The directive's required arguments by place, the others as options; then the session."""

    def add(parser: ArgumentParser) -> None:
        for argument in DIRECTIVES[command].arguments:
            if argument.type == "flag":
                parser.add_argument(f"--{argument.name}", action="store_true", help=argument.help)
            elif argument.required:
                parser.add_argument(argument.name, metavar=argument.name.upper(), help=argument.help)
            else:
                parser.add_argument(f"--{argument.name}", metavar="TEXT", help=argument.help)
        if any(argument.required for argument in DIRECTIVES[command].arguments):
            parser.add_argument("--session", metavar="SESSION", help="make sure that this is the one that runs")
        else:
            parser.add_argument(
                "session", nargs="?", metavar="SESSION", help="make sure that this is the one that runs"
            )

    return add


def _directive(command: str, example: str) -> Subcommand:
    return Subcommand(
        command.replace("_", "-"), DIRECTIVES[command].help, example, _sender(command), _arguments(command)
    )


# --- mechanisms -------------------------------------------------------------------------------------------------------
def _running_view(args: Namespace) -> View:
    engine = running_engine(args, args.session)
    with open_record(args) as reader:
        return view_of(reader, engine.session)


def approve(args: Namespace) -> int:
    """Say which source is decided on, and send the decision with its hash."""
    return _decide(args, "approve", {})


def veto(args: Namespace) -> int:
    """The same for a veto; while nothing waits it calls off the research that is under way."""
    more = {"reason": args.reason}
    if _running_view(args).waiting is None:
        return _send(args, "veto", {"hash": args.hash, **more})
    return _decide(args, "veto", more)


def _decide(args: Namespace, command: str, more: dict[str, Any]) -> int:
    waiting = _running_view(args).waiting
    if waiting is None:
        raise InputError("no mechanism waits for a decision")
    if args.hash and not waiting.hash.startswith(args.hash):
        raise InputError(f"what waits is {waiting.name} with hash {waiting.hash[:12]}, not {args.hash}")
    print(f"{command} {waiting.name}, source {waiting.hash}")
    return _send(args, command, {"hash": waiting.hash, **more})


def revert(args: Namespace) -> int:
    """Say which source is taken out, and take it out."""
    view = _running_view(args)
    found = _named(args.name, [view.mechanisms[digest] for digest in view.active])
    if found is not None:
        print(f"revert {found.name}, source {found.hash}")
    return _send(args, "revert", {"name": found.hash if found else args.name})


def edit(args: Namespace) -> int:
    """Open a mechanism's file in the person's editor, then have the engine take the change over."""
    view = _running_view(args)
    candidates = [view.mechanisms[view.waiting.hash]] if view.waiting else []
    candidates += [view.mechanisms[digest] for digest in view.active]
    candidates += [known for known in view.mechanisms.values() if known.status == "approved"]
    if not candidates:
        raise InputError("no mechanism is active or waits: there is nothing to edit")
    if args.name is None and len(candidates) > 1:
        names = ", ".join(known.name for known in candidates)
        raise InputError(f"several mechanisms can be edited: name one of {names}")
    chosen = candidates[0] if args.name is None else _named(args.name, candidates)
    if chosen is None:
        names = ", ".join(known.name for known in candidates)
        gone = _named(args.name, list(view.mechanisms.values()))
        what = f"{gone.name} is {gone.status}" if gone else f"there is no mechanism {args.name}"
        raise InputError(f"{what}: only what is active or waits can be edited; there are: {names}")
    _open_editor(chosen.path)
    return _send(args, "edit", {"name": chosen.hash})


def _named(name: str, candidates: list[Mechanism]) -> Mechanism | None:
    found = [known for known in candidates if known.name == name or (len(name) >= 6 and known.hash.startswith(name))]
    return found[-1] if found else None


def _open_editor(path: str) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise InputError(f"EDITOR is not set: edit {path} yourself, then run this again with EDITOR=true")
    try:
        code = edited(editor, path)
    except InputError as error:
        raise InputError(f"the editor {editor} cannot be run: {error}") from None
    if code != 0:
        raise InputError(f"the editor {editor} ended with code {code}: nothing was taken over")


def _edit_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="which mechanism (default: the only one)")
    parser.add_argument("--session", metavar="SESSION", help="make sure that this is the one that runs")


COMMANDS = (
    _directive("pause", "bilevel pause"),
    _directive("stop", "bilevel stop --now"),
    _directive("kill_trial", 'bilevel kill-trial --reason "it diverges"'),
    _directive("freeze", "bilevel freeze WEIGHT_DECAY"),
    _directive("unfreeze", "bilevel unfreeze WEIGHT_DECAY"),
    _directive("guide", 'bilevel guide "try smaller batches first"'),
    Subcommand("approve", DIRECTIVES["approve"].help, "bilevel approve", approve, _arguments("approve")),
    Subcommand("veto", DIRECTIVES["veto"].help, 'bilevel veto --reason "too slow"', veto, _arguments("veto")),
    Subcommand("revert", DIRECTIVES["revert"].help, "bilevel revert tabu_search", revert, _arguments("revert")),
    Subcommand("edit", "Edit a mechanism's file; it is validated and let in.", "bilevel edit", edit, _edit_arguments),
)
