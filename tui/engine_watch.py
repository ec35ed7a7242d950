"""Whether the engine of a session lives and answers, asked without ever keeping the application waiting.

Alive means: the lock is held, and the socket answers. Both may block, so a thread looks, once a second; the application
reads what it saw last. An engine that died, or that somebody stopped, is known of within three seconds.
"""

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.control import NotAllowed, send
from engine.errors import BilevelError, InputError
from engine.record.events import StateChanged
from engine.record.lock import Holder, holder
from engine.record.reader import Reader
from engine.record.view import ENDED
from tui.feed import Feed
from tui.telling import command

LOOK_SECONDS = 1.0
"""Between two looks."""
ANSWER_SECONDS = 1.0
"""For which an answer is waited for."""


@dataclass(frozen=True)
class Engine:
    """The engine of a session as it is now: its process, and what is amiss with it, if anything.

    `answers`: whether it answers over its socket, as far as this user may ask.
    """

    pid: int
    session: str
    answers: bool
    trouble: str | None


@dataclass(frozen=True)
class EngineState:
    """What is to be shown of a session's engine; `says` is a sentence with what to do, empty where all is well.

    answers: it lives, and `says` is what troubles it, if anything does. silent: it lives and does not answer. gone: no
    engine runs the session, which has not ended. ended: it has. replay: nobody looks.
    """

    state: Literal["answers", "silent", "gone", "ended", "replay"]
    pid: int | None
    says: str


def find_engine(db: Path, session: str | None = None, timeout: float = 2.0) -> Engine | None:
    """The engine that runs on the database for this session (None: for any); None where there is none.

    Waits at most `timeout` seconds for each step of its answer. Raises BilevelError where the lock cannot be read.
    """
    return _asked(_holder(db, session), timeout, db)


def _holder(db: Path, session: str | None) -> Holder | None:
    found = holder(db)
    return found if found and found.pid and session in (None, found.session) else None


def _asked(found: Holder | None, timeout: float, db: Path) -> Engine | None:
    if found is None:
        return None
    try:
        answer = send(found.socket, "ping", timeout=timeout, session=found.session)
    except NotAllowed as error:  # the lock tells that it lives, and nobody else can ask it more
        return Engine(found.pid, found.session, True, str(error))
    except InputError:
        return Engine(found.pid, found.session, False, _silent(found, db))
    try:
        trouble = json.loads(answer.detail).get("trouble")
    except (ValueError, AttributeError):
        trouble = None
    return Engine(found.pid, found.session, True, trouble)


def _silent(found: Holder, db: Path) -> str:
    """Why an engine that lives does not answer, as far as it can be seen, and what to do."""
    ends = f"`kill {found.pid}` ends it, then `{command(f'resume {found.session}', db)}` takes the session up again"
    try:
        state = Path(f"/proc/{found.pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        state = "?"
    if state in "Tt":
        return f"its process {found.pid} is stopped: `kill -CONT {found.pid}` lets it go on; or {ends}"
    return f"its process {found.pid} runs and does not answer: wait a little; if it stays so, {ends}"


class EngineWatch:
    """Looks after the engine of one session until it is closed. `state` is what was seen last."""

    def __init__(self, db: Path, session: str, *, changed: Callable[[EngineState], None] | None = None) -> None:
        """Begin to look; until the first look is over, an engine that answers is taken for granted.

        `changed` is called in the thread that looks, with each new state.
        """
        self.db, self.session = db, session
        self.state = EngineState("answers", None, "")
        self._changed = changed
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="engine watch", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Look no more. Does not wait for a look that goes on. May be called twice."""
        self._closed.set()

    def _watch(self) -> None:
        while not self._closed.is_set():
            state = look(self.db, self.session)
            if state != self.state and not self._closed.is_set():
                self.state = state
                if self._changed is not None:
                    self._changed(state)
            self._closed.wait(LOOK_SECONDS)


def look(db: Path, session: str) -> EngineState:
    """How the engine of a session is now. Blocks for a second or two at most."""
    try:
        found = holder(db)
        if found is None or (found.pid and found.session != session):
            return _without(db, session, found)
        if not found.pid:
            return EngineState("silent", None, f"an engine holds {db.name} and has not yet said which session it runs")
        engine = _asked(found, ANSWER_SECONDS, db)
    except BilevelError as error:
        return EngineState("silent", None, f"{error}")
    assert engine is not None
    return EngineState("answers" if engine.answers else "silent", engine.pid, engine.trouble or "")


def replayed(feed: Feed, state: EngineState) -> EngineState:
    """The state for a replay: no engine is missed, but behind the last event of a session that has not ended."""
    gone = state.state == "gone" and feed.position >= feed.head and feed.view.status not in ENDED
    return EngineState("gone" if gone else "replay", None, "")


def _without(db: Path, session: str, other: Holder | None) -> EngineState:
    """The state where no engine runs the session, and another one the record perhaps."""
    status = _last_status(db, session)
    if status in ENDED:
        return EngineState("ended", None, "")
    if other is not None:
        return EngineState(
            "gone",
            None,
            f"no engine runs this session, and session {other.session} runs on the record: when that one has ended, "
            f"`{command(f'resume {session}', db)}` takes this one up again",
        )
    says = f"the engine is gone: `{command(f'resume {session}', db)}` takes the session up again"
    return EngineState("gone", None, says)


def _last_status(db: Path, session: str) -> str:
    """The status that the record tells, "" where it cannot be read."""
    try:
        with Reader(db) as reader:
            last = reader.last_seq(session)
            rows = reader.newest(session, last, kinds=["state_changed"], state_only=True)
            event = rows[0].event if rows else None
    except BilevelError:
        return ""
    return event.status if isinstance(event, StateChanged) else ""
