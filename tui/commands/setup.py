"""Commands around sessions: a first target.toml, the state of the machine, the engine's own cost."""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InputError
from tui.output import json_text
from tui.subcommand import Subcommand, database, force_argument, json_argument

if TYPE_CHECKING:
    from engine.tools.bench_figure import Figure


def _init_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("directory", metavar="DIR", nargs="?", type=Path, default=Path(), help="where the script lies")
    parser.add_argument("--script", default="train.py", metavar="FILE", help="the script to search (train.py)")
    force_argument(parser)


def init(args: Namespace) -> int:
    """Write a first target.toml for a training script."""
    from engine.tools.initialise import initialise

    path = initialise(args.directory.expanduser(), args.script, force=args.force)
    print(f"wrote {path}: read it, correct its guesses, then: bilevel run --target {path.parent}")
    return 0


def _doctor_arguments(parser: ArgumentParser) -> None:
    json_argument(parser)
    parser.add_argument("--online", action="store_true", help="call the model once (costs a few tokens)")
    parser.add_argument("--model", help="the model to look at")
    parser.add_argument("--base-url", metavar="URL", help="its endpoint")
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (default: bilevel.toml)")


def doctor(args: Namespace) -> int:
    """Check the machine; exit code 1 when something that a session needs is missing."""
    from engine.tools.doctor import Surroundings, diagnose
    from tui.settings import merge
    from tui.waiting import Waiting

    settings = merge({"model": args.model, "base_url": args.base_url}, os.environ, config=args.config)
    with Waiting("checking"):
        checks = diagnose(Surroundings(database(args), settings, os.environ, args.online))
    if args.json:
        told = [{"name": c.name, "ok": c.ok, "detail": c.detail, "fix": c.fix} for c in checks]
        sys.stdout.write(json_text(told, indent=2) + "\n")
    else:
        for check in checks:
            print(f"{'ok     ' if check.ok else 'MISSING'}  {check.name:<9} {check.detail}")
            if check.fix:
                print(f"{'':<19}{check.fix}")
    return 0 if all(check.ok for check in checks) else 1


def _bench_arguments(parser: ArgumentParser) -> None:
    json_argument(parser)
    parser.add_argument("--view", action="store_true", help="what the application costs, instead of the engine")
    parser.add_argument("--quick", action="store_true", help="with --view: a few seconds, too short for a figure")


def bench(args: Namespace) -> int:
    """Measure what the engine itself, or the application, costs on this machine."""
    from dataclasses import asdict

    if args.quick and not args.view:
        raise InputError("--quick belongs to --view")
    measure = partial(_view_bench(), quick=args.quick) if args.view else _engine_bench()
    if args.json:
        figures = measure(lambda text: print(text, file=sys.stderr))
        sys.stdout.write(json.dumps([asdict(figure) for figure in figures], indent=2) + "\n")
    else:
        measure()
    return 0


def _engine_bench() -> Callable[..., list["Figure"]]:
    from engine.tools.bench import run_bench

    return run_bench


def _view_bench() -> Callable[..., list["Figure"]]:
    from tui.bench_view import run_view_bench

    return run_view_bench


COMMANDS = (
    Subcommand("init", "Write a first target.toml for a script.", "bilevel init my_script", init, _init_arguments),
    Subcommand("doctor", "Check what this machine can do.", "bilevel doctor --json", doctor, _doctor_arguments),
    Subcommand("bench", "Measure what bilevel itself costs.", "bilevel bench --view", bench, _bench_arguments),
)
