"""Where a session's control socket lies: a folder that is private to the user, and a path that a socket can have."""

import hashlib
import os
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

from engine.errors import BilevelError
from engine.record.head import located

LONGEST_PATH = 107
"""Bytes of a socket's path that Linux takes, without the zero that ends it."""


def socket_path(db_path: Path, session: str, environ: Mapping[str, str]) -> Path:
    """Where the engine of a session listens; the folder is made, private to this user.

    In XDG_RUNTIME_DIR if that is this user's, else in `.bilevel/SESSION/` beside the database. Where that is longer
    than a socket's path may be, in a folder of this user under the directory for temporary files. Raises BilevelError
    when a folder cannot be made, or is somebody else's.
    """
    db_path = located(db_path)
    digest = hashlib.sha256(os.fsencode(db_path) + f":{session}".encode()).hexdigest()
    name = f"{digest[:16]}.sock"
    runtime = Path(environ.get("XDG_RUNTIME_DIR") or ".")
    if runtime.is_absolute() and _is_ours(runtime):
        path = runtime / "bilevel" / name
    else:
        path = db_path.parent / ".bilevel" / session / "control.sock"
    if len(os.fsencode(path)) > LONGEST_PATH:
        path = Path(tempfile.gettempdir()) / f"bilevel-{os.geteuid()}" / name
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise BilevelError(f"the control socket's path {path} is too long: set XDG_RUNTIME_DIR to a short directory")
    private = path.name == name
    try:
        path.parent.mkdir(mode=0o700 if private else 0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise BilevelError(f"the folder {path.parent} of the control socket cannot be made: {error.strerror}") from None
    if private and not _is_ours(path.parent):
        raise BilevelError(f"{path.parent} is not private to this user: remove it, or set XDG_RUNTIME_DIR")
    return path


def _is_ours(folder: Path) -> bool:
    """Whether it is a directory (not a link to one) of this user that nobody else may use."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
