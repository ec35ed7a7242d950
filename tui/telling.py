"""A command as a person has to type it, in this directory and environment, to mean the record that is shown."""

import os
import shlex
from pathlib import Path

from engine.record.head import located


def command(words: str, db: Path) -> str:
    """`bilevel WORDS`, with --db where the command would take another database than `db` by itself."""
    own = Path(os.environ.get("BILEVEL_DB") or "sessions.db").expanduser()
    try:
        same = located(own) == located(db)
    except OSError:  # the working directory is gone
        same = False
    return f"bilevel {words}" + ("" if same else f" --db {shlex.quote(str(located(db)))}")
