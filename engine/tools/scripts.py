"""The scripts of a session's trials, read from its workspace for a person who wants them.

The workspace is a git repository in which each trial is a commit; it is only read here, with no setting of the user's.
"""

import subprocess
from pathlib import Path

from engine.errors import BilevelError
from engine.record.view import View


class ScriptGone(BilevelError):
    """The workspace is not there any more, or does not hold that commit."""


def workspace(db: Path, session: str) -> Path:
    """Where the workspace of a session lies."""
    return db.absolute().parent / ".bilevel" / session / "workspace"


def script_of(db: Path, view: View, trial: int) -> bytes:
    """The searched script as it ran in a trial (0: the baseline). Raises ScriptGone, or BilevelError without git."""
    return _git(db, view, "cat-file", "blob", f"{_commit(view, trial)}:{view.target['searched']}")


def baseline_to_best(db: Path, view: View) -> str:
    """The unified difference from the baseline's script to the best's. Raises as `script_of`; KeyError for no best."""
    best = view.history.best
    if best is None:
        raise KeyError("best")
    args = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", _commit(view, 0), _commit(view, best.number))
    return _git(db, view, *args).decode(errors="replace")


def _commit(view: View, trial: int) -> str:
    commit = view.history.trials[trial].commit
    if not commit or not all(c in "0123456789abcdef" for c in commit):
        raise ScriptGone(f"the record names no commit for trial {trial} of {view.session}")
    return commit


def _git(db: Path, view: View, *args: str) -> bytes:
    from engine.training.git import git_environment

    folder = workspace(db, view.session).with_name("workspace.git")
    if not folder.is_dir():
        raise ScriptGone(f"the commits of {view.session} are gone from {folder}")
    command = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "--git-dir", str(folder), *args]
    try:
        found = subprocess.run(command, env=git_environment(), stdin=subprocess.DEVNULL, capture_output=True)
    except FileNotFoundError:
        raise BilevelError("git is not on PATH: the scripts of the trials are commits; install git") from None
    if found.returncode != 0:
        words = found.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {found.returncode}"]
        raise ScriptGone(f"the workspace {folder} does not give that script: {words[0][:200]}")
    return found.stdout
