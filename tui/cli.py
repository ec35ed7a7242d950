"""`bilevel`: from the command line to an exit code.

0 done, 1 failed, 2 wrong input or nothing to do it to, 130 interrupted. Whatever a person can correct is said in one
sentence on standard error. Commands import what they need when they run, so that looking at a session starts quickly.
"""

import errno
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from difflib import get_close_matches
from typing import NoReturn

from engine.errors import BilevelError, InputError
from tui.commands import keeping, looking, running, setup, steering
from tui.output import close_output, prepare_streams
from tui.subcommand import Subcommand, database
from tui.viewing import hindrance, view

GROUPS: dict[str, Sequence[Subcommand]] = {
    "Run": running.COMMANDS,
    "Steer": steering.COMMANDS,
    "Look": looking.COMMANDS,
    "Keep": keeping.COMMANDS,
    "Set up": setup.COMMANDS,
}
COMMANDS: dict[str, Subcommand] = {command.name: command for group in GROUPS.values() for command in group}
INTERRUPTED = 130
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
"""What a write to standard output may fail with; errors of files carry their names."""


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return the process's exit code."""
    heard = prepare_streams()
    try:
        code = _run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
    except BilevelError as error:
        _settle_output()
        _say(f"bilevel: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        _settle_output()
        _say("bilevel: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read the output has left; the interpreter must not fail on it again when it ends.
        close_output()
        return 1
    except OSError as error:
        if error.filename is not None or error.errno not in UNWRITABLE:
            raise
        close_output()
        _say(f"bilevel: standard output cannot be written: {error.strerror}")
        return 1
    if not heard:
        _say("bilevel: standard output is closed: what was to be said there is lost")
    return code if heard else code or 1


def _settle_output() -> None:
    """Write what output still holds; where that fails, let it go."""
    try:
        sys.stdout.flush()
    except OSError:
        close_output()


def _run(argv: list[str]) -> int:
    if not argv and not hindrance():
        return view(database(Namespace(db=None)), None)
    if not argv or argv[0] in ("-h", "--help", "help"):
        if len(argv) > 1 and argv[0] == "help":
            return _run([argv[1], "--help"])
        sys.stdout.write(overview())
        return 0
    if argv[0] in ("-V", "--version"):
        sys.stdout.write(f"bilevel {_version()}\n")
        return 0
    command = COMMANDS.get(argv[0])
    if command is None:
        raise InputError(_unknown(argv[0]))
    try:
        args = parser_of(command).parse_args(argv[1:])
    except SystemExit as leaving:  # argparse has printed the help
        return int(leaving.code or 0)
    return command.run(args)


def parser_of(command: Subcommand) -> ArgumentParser:
    """The parser of one command's arguments; its help ends with the example."""
    parser = _Parser(
        prog=f"bilevel {command.name}",
        description=command.help,
        epilog=f"example:\n  {command.example}",
        formatter_class=RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.arguments(parser)
    parser.add_argument("--db", metavar="PATH", help="the database (default: BILEVEL_DB, else ./sessions.db)")
    return parser


def overview() -> str:
    """Every command with its sentence, by group."""
    lines = ["bilevel: autoresearch that a person can supervise from a terminal", ""]
    lines += ["usage: bilevel COMMAND [...]", "       bilevel                (in a terminal: the list of sessions)"]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:"]
        lines += [f"  {command.name:<11} {command.help}" for command in commands]
    return "\n".join([*lines, "", "bilevel COMMAND --help tells more, with an example.", ""])


def _unknown(word: str) -> str:
    if word.startswith("-"):
        return f"options come after the command, and {word} is none (see bilevel --help)"
    close = get_close_matches(word, COMMANDS, n=1)
    return f'there is no command "{word}"' + (f"; did you mean {close[0]}?" if close else " (see bilevel --help)")


def _say(sentence: str) -> None:
    try:
        print(sentence, file=sys.stderr)
    except OSError:  # the terminal is gone: there is nobody to tell
        return


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("bilevel")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
