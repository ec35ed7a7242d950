"""What a command of the command line is, and the arguments that many of them share."""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import BilevelError, InputError

if TYPE_CHECKING:
    from engine.record.lock import Holder
    from engine.record.reader import Reader
    from engine.record.view import View
    from tui.engine_watch import Engine


@dataclass(frozen=True)
class Subcommand:
    """A command: its name, one sentence of help, an example, its arguments, and what it does (to an exit code)."""

    name: str
    help: str
    example: str
    run: Callable[[Namespace], int]
    arguments: Callable[[ArgumentParser], None] = lambda parser: None


def session_argument(parser: ArgumentParser) -> None:
    """A session by name, by the beginning of its name, or `last`."""
    parser.add_argument(
        "session", nargs="?", default="last", metavar="SESSION", help="its name, a unique beginning, or last (default)"
    )


def json_argument(parser: ArgumentParser) -> None:
    """`--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def force_argument(parser: ArgumentParser) -> None:
    """`--force`."""
    parser.add_argument("--force", action="store_true", help="replace a file that exists")


def database(args: Namespace) -> Path:
    """The database that is meant: --db, else BILEVEL_DB, else sessions.db in the current directory."""
    from engine.record.head import located

    return located(Path(args.db or os.environ.get("BILEVEL_DB") or "sessions.db").expanduser())


def open_record(args: Namespace) -> "Reader":
    """The record, open for reading. Raises InputError when there is none."""
    from engine.record.reader import Reader

    return Reader(database(args))


def view_of(reader: "Reader", session: str) -> "View":
    """The session's view at its last event."""
    from engine.record.seeking import advance
    from engine.record.view import View

    view = View()
    advance(view, reader, session, reader.last_seq(session))
    return view


def chosen_view(args: Namespace) -> "View":
    """The view of the session that the command line names."""
    with open_record(args) as reader:
        return view_of(reader, reader.resolve(args.session))


def running_engine(args: Namespace, session: str | None = None) -> "Holder":
    """The engine that runs on the database, which has to be that session's if one is named. Raises InputError.

    Where the record cannot be read, the lock alone tells; that is said on standard error.
    """
    from engine.record.lock import holder

    found = holder(database(args))
    try:
        with open_record(args) as reader:
            wanted = reader.resolve(session) if session else None
    except BilevelError as error:
        if found is None or not found.pid or not _may_mean(session, found):
            raise
        ends = f"`kill {found.pid}` ends it where nothing else does"
        print(f"{error}; by its lock, session {found.session} runs: {ends}", file=sys.stderr)
        return found
    if found is None:
        raise InputError(f"no session is running on {database(args)}: start one with `bilevel run`, or resume one")
    if wanted is not None and found.session != wanted:
        raise InputError(f"session {wanted} is not running; {found.session} is")
    return found


def _may_mean(session: str | None, found: "Holder") -> bool:
    return session in (None, "last") or found.session.startswith(str(session))


def engine_of(args: Namespace, session: str | None = None) -> "Engine | None":
    """The engine that runs on the database for this session (None: for any); None where there is none."""
    from tui.engine_watch import find_engine

    return find_engine(database(args), session)
