"""Commands that take results out of the record, and that keep it small and safe."""

import json
import sys
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping
from pathlib import Path

from engine.errors import InputError
from engine.record.view import View
from tui.output import writes_unicode
from tui.subcommand import Subcommand, chosen_view, database, force_argument, open_record, session_argument

DAY = 86400.0


def _export_arguments(parser: ArgumentParser) -> None:
    session_argument(parser)
    what = parser.add_argument_group("what").add_argument
    what("--best", metavar="FILE", help="the winning script")
    what("--results-tsv", metavar="FILE", help="one line a trial, for spreadsheets; - prints it")
    what("--events", metavar="FILE", help="every event, one JSON object a line; - prints them")
    force_argument(parser)


def export(args: Namespace) -> int:
    """Write the winning script, the table of trials or the events to files."""
    wanted = {name: getattr(args, name) for name in ("best", "results_tsv", "events") if getattr(args, name)}
    if not wanted:
        raise InputError("say what to export: --best FILE, --results-tsv FILE or --events FILE")
    view = chosen_view(args)
    _check_places(wanted, args.force)
    makers = {"best": _best, "results_tsv": _results, "events": _events}
    made = [(makers[name](args, view), place) for name, place in wanted.items()]
    for data, place in made:  # all of it is there before anything is written
        _deliver(data, place, args.force)
    return 0


def _check_places(wanted: Mapping[str, str], force: bool) -> None:
    """Refuse a place that is taken, that two of them share, or whose directory is not there."""
    from engine.tools.keeping import check_free

    seen: dict[str, str] = {}
    for name, place in wanted.items():
        where = place if place == "-" else str(Path(place).expanduser().resolve())
        flag = f"--{name.replace('_', '-')}"
        if where in seen:
            raise InputError(f"{seen[where]} and {flag} both go to {place}: name two places")
        seen[where] = flag
        if place != "-":
            check_free(Path(place).expanduser(), force=force)


def _deliver(data: bytes, place: str, force: bool) -> None:
    from engine.tools.keeping import write_whole

    if place == "-" and sys.stdout.isatty():
        sys.stdout.write(data.decode(errors="replace"))
        return
    if place == "-":  # for a file or a program the bytes themselves, whatever the encoding of this terminal
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        return
    path = Path(place).expanduser()
    write_whole(path, data, force=force)
    print(f"wrote {path}", file=sys.stderr)


def _best(args: Namespace, view: View) -> bytes:
    from engine.tools.scripts import script_of

    best = view.history.best
    if best is None:
        raise InputError(f"session {view.session} has no valid trial yet: there is no winning script")
    return script_of(database(args), view, best.number)


def _results(args: Namespace, view: View) -> bytes:
    from engine.tools.keeping import results_table

    return results_table(view).encode()


def _events(args: Namespace, view: View) -> bytes:
    from tui.commands.looking import event_object

    plain = args.events == "-" and not writes_unicode(sys.stdout)
    with open_record(args) as reader:
        rows = [event_object(row.seq, row.time, row.body) for row in reader.events(view.session)]
    return "".join(json.dumps(row, ensure_ascii=plain) + "\n" for row in rows).encode()


# --- backup, prune ----------------------------------------------------------------------------------------------------
def _backup_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="where the copy goes")
    force_argument(parser)


def backup(args: Namespace) -> int:
    """Copy the whole record to one file, also while an engine writes."""
    from engine.tools.keeping import backup as copy
    from tui.waiting import Waiting

    path = args.file.expanduser()
    with Waiting("copying"):
        size = copy(database(args), path, force=args.force)
    print(f"wrote {path}, {size / 2**20:.1f} MB")
    return 0


def _prune_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--days", type=float, default=30.0, metavar="N", help="sessions that ended so long ago (30)")
    parser.add_argument("--events", action="store_true", help="remove them from the record as well, for good")
    parser.add_argument("--yes", action="store_true", help="do it; without this it is only listed")


def prune(args: Namespace) -> int:
    """Remove the workspaces and logs of sessions that ended long ago, and with --events the sessions themselves."""
    from engine.tools.keeping import prunable
    from engine.tools.keeping import prune as clear
    from tui.waiting import Waiting

    if not args.days >= 0:
        raise InputError(f"--days is {args.days}: give a number from 0 up")
    db = database(args)
    with Waiting("looking"):
        found = [each for each in prunable(db, time.time() - args.days * DAY) if args.events or each.folder]
    if not found:
        print(f"nothing to remove: no session ended more than {args.days:g} days ago, or its files are gone already")
        return 0
    for each in found:
        ended = time.strftime("%Y-%m-%d", time.localtime(each.ended))
        print(f"{each.session}  ended {ended}  {each.size / 2**20:.1f} MB of workspace and logs")
    if not args.yes:
        what = "their files and their events, for good" if args.events else "their workspaces and logs"
        print(f"nothing was removed yet: --yes removes {what}; `bilevel export --best` no longer works afterwards")
        return 0
    with Waiting("removing"):
        cleared, freed = clear(db, found, events=args.events)
    for each in found:
        if each.session not in cleared:
            print(f"{each.session} was taken up again meanwhile: it stays")
    print(f"{len(cleared)} sessions cleared, {freed / 2**20:.1f} MB given back")
    return 0


COMMANDS = (
    Subcommand(
        "export",
        "Write the winning script, the table of trials or the events.",
        "bilevel export last --best train.py --results-tsv results.tsv",
        export,
        _export_arguments,
    ),
    Subcommand("backup", "Copy the record to one file.", "bilevel backup sessions-copy.db", backup, _backup_arguments),
    Subcommand("prune", "Clear old sessions away.", "bilevel prune --days 14 --yes", prune, _prune_arguments),
)
