"""Commands that start a session, come back to it, and take it further."""

import contextlib
import signal
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engine.errors import InputError
from tui.subcommand import Subcommand, chosen_view, database, open_record, session_argument, view_of
from tui.telling import command

if TYPE_CHECKING:
    from argparse import _ActionsContainer

    from engine.record.view import View

INTERRUPTED = 130
EARLIER_LINES = 10
"""What is shown of a session's past when a person comes to it."""


def _start(args: Namespace, plan: dict[str, Any]) -> str:
    from engine.tools.launch import engine_log, hindrance, start_engine
    from tui.waiting import Waiting

    if args.headless:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    db = database(args)
    log = engine_log(db, str(plan.get("session") or plan["resume"]))
    before = log.stat().st_size if log.exists() else 0  # what an earlier engine wrote is not this one's trouble
    with Waiting("the engine starts (Ctrl-C gives up)", lambda: hindrance(db, log, before)):
        return start_engine(db, plan).session


def _new_name(db: Path) -> str:
    from engine.record.reader import Reader, RecordBroken
    from engine.tools.names import new_session_name

    taken: list[str] = []
    # A damaged record is for the engine to move aside and restore.
    if db.exists():
        with contextlib.suppress(RecordBroken), Reader(db) as reader:
            taken = [session.id for session in reader.sessions()]
    return new_session_name(taken)


def _accompany(args: Namespace, session: str, *, earlier: int | None = EARLIER_LINES) -> int:
    """After the start: leave the session alone (--detach), end with it (--headless), or watch it."""
    if args.detach:
        print(f"session {session} runs on its own; come back with: {command(f'attach {session}', database(args))}")
        return 0
    if args.headless:
        return _headless(database(args), session, earlier)
    return _watched(args, session, earlier)


def _watched(args: Namespace, session: str, earlier: int | None = EARLIER_LINES, *, read_only: bool = False) -> int:
    """The application where this terminal can show it, else (or with --plain) lines."""
    from tui.viewing import hindrance, on_terminal, view

    why_not = hindrance()
    if not (args.plain or why_not):
        return view(database(args), session, read_only=read_only)
    if on_terminal() and not args.plain:
        print(f"bilevel: plain lines instead of the application: {why_not}", file=sys.stderr)
    return _attached(database(args), session, earlier)


def _attached(db: Path, session: str, earlier: int | None = EARLIER_LINES) -> int:
    from tui.follow import follow

    try:
        return follow(db, session, earlier=earlier)
    except KeyboardInterrupt:
        back = command(f"attach {session}", db)
        print(f"\ndetached: session {session} goes on; come back with: {back}", file=sys.stderr)
        return INTERRUPTED


def _headless(db: Path, session: str, earlier: int | None = EARLIER_LINES) -> int:
    """In the foreground: an interrupt or SIGTERM ends the session, the loss of the terminal does not."""
    from engine.control import send
    from engine.record.lock import holder
    from tui.follow import follow

    try:
        return follow(db, session, earlier=earlier)
    except KeyboardInterrupt:
        print(f"\nstopping session {session}", file=sys.stderr)
    running = holder(db)
    if running is not None and running.session == session:
        send(running.socket, "stop", {"now": True}, session=session)
        follow(db, session, earlier=0)
    return INTERRUPTED


def _how_arguments(parser: ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--headless", action="store_true", help="plain lines in the foreground; Ctrl-C ends the session")
    how.add_argument("--detach", action="store_true", help="start the engine alone, and print how to come back")
    _plain_argument(how)


def _plain_argument(parser: "_ActionsContainer") -> None:
    parser.add_argument("--plain", action="store_true", help="lines of text instead of the application")


# --- run --------------------------------------------------------------------------------------------------------------
def _run_arguments(parser: ArgumentParser) -> None:
    from tui.starting import add_settings

    _how_arguments(parser)
    parser.add_argument("--quick", action="store_true", help="a first look: 20 trials, mechanisms let in unattended")
    parser.add_argument("--yes", action="store_true", help="with --quick: use a key that is there without asking")
    add_settings(parser)


def run(args: Namespace) -> int:
    """Start a session, after telling what it will take."""
    from engine.record.lock import holder
    from engine.tools.launch import check_notify, check_place, check_target
    from tui.starting import announce, settings_of, with_a_key

    db = database(args)
    check_place(db)
    running = holder(db)
    if running is not None:
        raise InputError(f"session {running.session} is running on {db}: attach to it, or use another with --db")
    offline = args.model == "offline"
    settings = settings_of(args, quick=args.quick, declined=offline)
    check_notify(settings.notify, db)
    target = check_target(settings)
    if args.quick and not offline:
        agreed = with_a_key(settings, target, db, yes=args.yes)
        settings = agreed or settings_of(args, quick=True, declined=True)
        target = target if agreed else check_target(settings)  # on a GPU a first look takes another profile
    announce(settings, target, db)
    plan = {"new": msgspec.to_builtins(settings), "session": _new_name(db)}
    return _accompany(args, _start(args, plan), earlier=None)


# --- attach, replay ---------------------------------------------------------------------------------------------------
def _attach_arguments(parser: ArgumentParser) -> None:
    session_argument(parser)
    parser.add_argument("--read-only", action="store_true", help="without the keys that ask the engine for something")
    _plain_argument(parser)


def attach(args: Namespace) -> int:
    """Watch a session that runs, or see how it ended."""
    with open_record(args) as reader:
        session = reader.resolve(args.session)
    return _watched(args, session, read_only=args.read_only)


def _replay_arguments(parser: ArgumentParser) -> None:
    session_argument(parser)
    parser.add_argument("--at", type=int, metavar="TRIAL", help="begin where this trial has ended (0: the baseline)")


def replay(args: Namespace) -> int:
    """Go through what happened in a session, at any speed, from its first event or from a trial."""
    from tui.viewing import view

    with open_record(args) as reader:
        session = reader.resolve(args.session)
        if args.at is not None:
            _check_trial(view_of(reader, session), args.at)
    return view(database(args), session, replay=True, at=args.at)


def _check_trial(known: "View", number: int) -> None:
    if number not in known.history.trials:
        last = max(known.history.trials, default=None)
        there = "none yet" if last is None else f"0 to {last}"
        raise InputError(f"session {known.session} has no trial {number}: there are {there}")


# --- resume, extend, fork ---------------------------------------------------------------------------------------------
def _resume_arguments(parser: ArgumentParser) -> None:
    session_argument(parser)
    _how_arguments(parser)


def resume(args: Namespace) -> int:
    """Let a paused session go on, or start the engine of one that was interrupted."""
    from engine.control import send
    from engine.record.lock import holder
    from engine.record.reader import RecordBroken

    try:
        with open_record(args) as reader:
            session = reader.resolve(args.session)
            view = view_of(reader, session)
    except RecordBroken:
        if args.session == "last":
            raise
        # A damaged record is for the engine to move aside and restore.
        return _accompany(args, _start(args, {"resume": args.session}))
    running = holder(database(args))
    if running is not None and running.session == session:
        answer = send(running.socket, "resume", session=session)
        print(answer.detail)
        return 0 if answer.applied else 2
    if view.status == "finished" and view.trials_left() == 0:
        raise InputError(f"session {session} is finished: give it more with `bilevel extend {session} --trials N`")
    return _accompany(args, _start(args, {"resume": session}))


def _extend_arguments(parser: ArgumentParser) -> None:
    session_argument(parser)
    parser.add_argument("--trials", type=int, required=True, metavar="N", help="how many trials more")
    _how_arguments(parser)


def extend(args: Namespace) -> int:
    """Give a session that has ended more trials."""
    from engine.record.lock import holder
    from tui.settings import MOST_TRIALS

    if args.trials < 1:
        raise InputError(f"--trials is {args.trials}: give the number of further trials, 1 or more")
    view = chosen_view(args)
    running = holder(database(args))
    if running is not None and running.session == view.session:
        raise InputError(f"session {view.session} is still running: extend it when it has ended")
    if view.completed + args.trials > MOST_TRIALS:
        raise InputError(f"--trials is too large: a session has at most {MOST_TRIALS:,} trials")
    if view.status not in ("finished", "failed"):
        raise InputError(
            f"session {view.session} was {view.status} when its engine went: take it up with `bilevel resume`"
        )
    plan = {"resume": view.session, "extend": {"trials": view.completed + args.trials}}
    return _accompany(args, _start(args, plan))


def _fork_arguments(parser: ArgumentParser) -> None:
    from tui.starting import add_settings

    session_argument(parser)
    _how_arguments(parser)
    add_settings(parser)


def fork(args: Namespace) -> int:
    """Start a new session whose baseline is the best configuration of another."""
    from engine.tools.launch import check_notify, check_target
    from tui.starting import announce, settings_of

    view = chosen_view(args)
    best = view.history.best
    if best is None:
        raise InputError(f"session {view.session} has no valid trial to begin from")
    settings = settings_of(args, parent=view.settings)
    settings = msgspec.structs.replace(settings, initial=dict(best.config), parent=view.session)
    db = database(args)
    check_notify(settings.notify, db)
    announce(settings, check_target(settings), db)
    plan = {"new": msgspec.to_builtins(settings), "session": _new_name(db)}
    print(f"fork      of {view.session}, from trial {best.number}", flush=True)
    return _accompany(args, _start(args, plan), earlier=None)


COMMANDS = (
    Subcommand(
        "run", "Start a session and watch it.", "bilevel run --trials 50 --target my_script", run, _run_arguments
    ),
    Subcommand("attach", "Watch a session; q leaves it running.", "bilevel attach last", attach, _attach_arguments),
    Subcommand("replay", "Go through what happened in a session.", "bilevel replay --at 10", replay, _replay_arguments),
    Subcommand(
        "resume",
        "Let a paused session go on, or take up an interrupted one.",
        "bilevel resume last --detach",
        resume,
        _resume_arguments,
    ),
    Subcommand(
        "extend",
        "Give a session that has ended more trials.",
        "bilevel extend last --trials 20",
        extend,
        _extend_arguments,
    ),
    Subcommand(
        "fork",
        "Start a new session from another's best configuration.",
        "bilevel fork last --trials 40 --seed 7",
        fork,
        _fork_arguments,
    ),
)
