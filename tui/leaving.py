"""What a person is told who leaves: whether the session goes on, how to come back, and the exit code."""

from engine.errors import BilevelError
from engine.record.lock import holder
from engine.record.view import ENDED
from tui.feed import Feed
from tui.telling import command


def goodbye(feed: Feed) -> tuple[str, int]:
    """One line, and 0 for a session that goes on or has finished, 1 for one that failed or whose engine is gone."""
    feed.poll()
    session, status = feed.session, feed.newest.status
    if status in ENDED:
        word = "has finished" if status == "finished" else "has failed"
        show = command(f"show {session}", feed.db)
        return f"session {session} {word}: `{show}` tells what it came to", int(status == "failed")
    if not _runs(feed):
        resume = command(f"resume {session}", feed.db)
        return f"no engine runs session {session}: `{resume}` takes it up again", 1
    goes_on = "stays paused" if status == "paused" else "goes on"
    return f"session {session} {goes_on}; come back with: {command(f'attach {session}', feed.db)}", 0


def _runs(feed: Feed) -> bool:
    try:
        found = holder(feed.db)
    except BilevelError:  # nobody can tell: an engine that is not known to be gone goes on
        return True
    return found is not None and (found.session == feed.session or not found.pid)
