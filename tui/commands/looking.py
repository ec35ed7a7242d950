"""Commands that look at a session and change nothing."""

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.errors import BilevelError, InputError
from engine.record.view import View
from tui.output import json_text
from tui.subcommand import (
    Subcommand,
    chosen_view,
    database,
    engine_of,
    json_argument,
    open_record,
    session_argument,
    view_of,
)
from tui.telling import command

if TYPE_CHECKING:
    from tui.engine_watch import Engine


def _print_json(value: object) -> None:
    sys.stdout.write(json_text(value, indent=2) + "\n")


def _session_and_json(parser: ArgumentParser) -> None:
    session_argument(parser)
    json_argument(parser)


# --- status -----------------------------------------------------------------------------------------------------------
def status(args: Namespace) -> int:
    """Whether the session's engine lives and answers, how far it is, and what waits for a person."""
    try:
        view = chosen_view(args)
    except BilevelError as error:
        return _status_without_record(args, error)
    told = _status(args, view)
    if args.json:
        _print_json(told)
        return 0
    for line in _status_lines(view, told, database(args)):
        print(line)
    if view.waiting is not None:
        from tui.deciding import decision_lines

        print("\n".join(["", *decision_lines(view, view.waiting, args.db)]))
    return 0


def _status_without_record(args: Namespace, error: BilevelError) -> int:
    """What the lock alone tells of a session that runs while its record cannot be read."""
    from tui.plain import clean

    engine = engine_of(args)
    if engine is None or not (args.session == "last" or engine.session.startswith(args.session)):
        raise error
    trouble = f"{error}" + (f"; {engine.trouble}" if engine.trouble else "")
    if args.json:
        _print_json(_engine_told(engine) | {"session": engine.session, "status": None, "trouble": trouble})
        return 1
    says = "runs and answers" if engine.answers else "runs and does not answer"
    print(f"session  {engine.session}: its process {engine.pid} {says}; more than that only its record tells")
    print(f"trouble  {clean(trouble, 600)}")
    print(f"now      `bilevel stop --now` reaches it all the same; `kill {engine.pid}` ends it where nothing else does")
    return 1


def _engine_told(engine: "Engine | None") -> dict[str, Any]:
    """`alive`: it answers. `engine`: how it is, also where it does not."""
    word = None if engine is None else "answers" if engine.answers else "silent"
    return {"alive": word == "answers", "engine": word, "pid": engine.pid if engine else None}


def _status(args: Namespace, view: View) -> dict[str, Any]:
    from engine.record.summary import confirmed, cost

    engine = engine_of(args, view.session)
    waiting = view.waiting
    running = view.running.started if view.running else None
    return {
        "session": view.session,
        **_engine_told(engine),
        "status": view.status,
        "reason": view.status_reason,
        "ending": view.ending and engine is not None,
        "phase": view.phase,
        "trials": {"done": view.completed, "of": view.settings.trials},
        "running": None if running is None else {"run": running.run, "changes": running.changes},
        "best": _best(view),
        "confirmed": confirmed(view),
        "tokens": {"in": view.tokens_in, "out": view.tokens_out},
        "cost": cost(view),
        "waits": None
        if waiting is None
        else {"name": waiting.name, "hash": waiting.hash, "deadline": waiting.deadline},
        "last_event": view.time,
        "trouble": engine.trouble if engine else None,
    }


def _best(view: View) -> dict[str, Any] | None:
    """`difference` to the baseline and `beyond_noise` are null while no trial is better."""
    best, baseline = view.history.best, view.baseline
    if best is None or best.metric is None:
        return None
    better = best.number > 0 and baseline is not None and baseline.metric is not None
    gap = best.metric - baseline.metric if better else None
    beyond = best.beyond_noise if better else None
    return {"trial": best.number, "metric": best.metric, "difference": gap, "beyond_noise": beyond}


def _status_lines(view: View, told: dict[str, Any], db: Path) -> list[str]:
    from engine.record.account import best_told, confirmed_told
    from engine.record.wording import clean, ending, model_line

    ended = told["status"] in ("finished", "failed")
    state = told["status"] if told["engine"] or ended else "interrupted"
    holds = state == told["status"] != "running"  # why it runs, or what it was when its engine ended, says nothing now
    why = f" ({clean(told['reason'])})" if told["reason"] and holds else ""
    why += f", {ending(view)}" if told["ending"] else ""
    lines = [f"session  {view.session}: {state}{why}", f"model    {model_line(view)}"]
    lines.append(f"trials   {view.completed} of {view.settings.trials}, {view.phase}")
    if view.history.best is not None:
        lines.append(f"best     {best_told(view)}")
    if view.confirmed is not None:
        lines.append(f"         confirmed: {confirmed_told(view.confirmed)}")
    if told["cost"] is not None:
        lines.append(f"cost     {told['cost']:.4f}")
    now = _now(view, told, db)
    if now:
        lines.append(f"now      {now}")
    if view.waiting is not None:
        lines.append(f"waits    {clean(view.waiting.name, 60)} ({view.waiting.hash[:12]}) for a decision")
    if told["trouble"]:
        lines.append(f"trouble  {clean(told['trouble'], 300)}")
    return lines


def _now(view: View, told: dict[str, Any], db: Path) -> str | None:
    """What goes on: an engine that answers, one that does not, or none."""
    from tui.plain import progress_line

    if told["engine"] == "answers":
        return progress_line(view, time.time())
    if told["engine"] == "silent":
        last = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(view.time))
        return f"the engine runs but does not answer; its last event came at {last}"
    if told["status"] in ("finished", "failed"):
        return None
    return f"no engine runs: `{command(f'resume {view.session}', db)}` takes it up again"


# --- show, sessions ---------------------------------------------------------------------------------------------------
def show(args: Namespace) -> int:
    """The summary of a session or of one of its mechanisms, for a person or as JSON."""
    from engine.record.account import summary_lines
    from engine.record.evidence import evidence_lines, named
    from engine.record.folding_level2 import interrupt
    from engine.record.lock import holder
    from engine.record.summary import injection, show_json

    view, running = chosen_view(args), holder(database(args))
    if running is None or running.session not in ("", view.session):  # no event tells what its engine left
        interrupt(view)
    known = None if args.mechanism is None else named(view, args.mechanism)
    if args.json:
        _print_json(show_json(view) if known is None else injection(view, known))
    else:
        print("\n".join(summary_lines(view) if known is None else evidence_lines(view, known)))
    return 0


def _show_arguments(parser: ArgumentParser) -> None:
    _session_and_json(parser)
    parser.add_argument("--mechanism", metavar="NAME", help="one mechanism, by name or by the beginning of its hash")


def sessions(args: Namespace) -> int:
    """All sessions of the record, the newest first."""
    from engine.record.lock import holder

    with open_record(args) as reader:
        running = holder(database(args))
        found = [(row, view_of(reader, row.id)) for row in reader.sessions()]
    told = [_listed(view, row.created, running is not None and running.session == row.id) for row, view in found]
    if args.json:
        _print_json(told)
        return 0
    if not told:
        print("no session yet: start one with `bilevel run`")
        return 0
    width = max(len(entry["session"]) for entry in told)
    print(f"{'SESSION':<{width}}  {'STATE':<11} {'TRIALS':>7}  {'BEST':>9}  {'BEGAN':<16}  MODEL")
    for entry in told:
        best = "-" if entry["best"] is None else f"{entry['best']:.4f}"
        began = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry["created"]))
        trials = f"{entry['trials']}/{entry['of']}"
        model = entry["model"] + (" (stand-in)" if entry["stand_in"] else "")
        print(f"{entry['session']:<{width}}  {entry['state']:<11} {trials:>7}  {best:>9}  {began:<16}  {model}")
    return 0


def _listed(view: View, created: float, alive: bool) -> dict[str, Any]:
    best = view.history.best
    ended = view.status in ("finished", "failed")
    return {
        "session": view.session,
        "state": view.status if alive or ended else "interrupted",
        "trials": view.completed,
        "of": view.settings.trials,
        "best": best.metric if best else None,
        "created": created,
        "target": view.target.get("name", ""),
        "profile": view.settings.profile,
        "model": view.model,
        "stand_in": view.stand_in,
        "parent": view.settings.parent,
    }


# --- tail -------------------------------------------------------------------------------------------------------------
def _tail_arguments(parser: ArgumentParser) -> None:
    session_argument(parser)
    parser.add_argument("-n", "--lines", type=int, default=20, metavar="N", help="the last N lines (20)")
    parser.add_argument("-f", "--follow", action="store_true", help="go on with what comes, until the session ends")
    parser.add_argument("--json", action="store_true", help="events, one JSON object a line")


def tail(args: Namespace) -> int:
    """The last lines of a session, and with -f those that come."""
    from collections import deque

    from tui.follow import engine_gone, narrator_before

    if args.lines < 0:
        raise InputError(f"--lines is {args.lines}: give a number from 0 up")
    with open_record(args) as reader:
        session = reader.resolve(args.session)
        narrator = narrator_before(reader, session, args.lines, every=args.json)
        lines: deque[str] = deque(maxlen=min(args.lines, sys.maxsize))
        while True:
            gone = not args.follow or engine_gone(database(args), session)
            version = reader.data_version()
            for row in reader.events(session, after=narrator.view.seq):
                told = narrator.tell(row.seq, row.time, row.event)
                if args.json:
                    told = json_text(event_object(row.seq, row.time, row.body))
                lines.extend([told] if told else [])
            for line in lines:
                print(line)
            sys.stdout.flush()
            lines = deque()
            if gone or narrator.view.status in ("finished", "failed"):
                return 0
            while reader.data_version() == version and not engine_gone(database(args), session):
                time.sleep(0.25)


def event_object(seq: int, when: float, body: str) -> dict[str, Any]:
    """An event as a JSON object, with its number and its Unix time."""
    return {"seq": seq, "time": when, **json.loads(body)}


# --- diff -------------------------------------------------------------------------------------------------------------
def diff(args: Namespace) -> int:
    """The best script against the baseline's, as a unified difference."""
    from engine.record.wording import changes_from
    from engine.tools.scripts import ScriptGone, baseline_to_best

    view = chosen_view(args)
    best, baseline = view.history.best, view.baseline
    if best is None or baseline is None:
        raise InputError(f"session {view.session} has no valid trial yet")
    if best.number == 0:
        print("the best is the baseline: no trial was better", file=sys.stderr)
        return 0
    try:
        sys.stdout.write(baseline_to_best(database(args), view))
    except ScriptGone as error:
        print(f"{error}; the changes as recorded:", file=sys.stderr)
        print(changes_from(best.config, baseline.config).replace(", ", "\n"))
    return 0


COMMANDS = (
    Subcommand(
        "status", "Whether a session runs, and how far it is.", "bilevel status --json", status, _session_and_json
    ),
    Subcommand("tail", "The last lines of a session.", "bilevel tail last -n 50 -f", tail, _tail_arguments),
    Subcommand("sessions", "All sessions of the database.", "bilevel sessions", sessions, json_argument),
    Subcommand("show", "What a session came to.", "bilevel show --mechanism tabu_search", show, _show_arguments),
    Subcommand("diff", "The best script against the baseline.", "bilevel diff last", diff, session_argument),
)
