"""Who wrote a session's answers, also where it played those of another back."""

from engine.errors import InputError
from engine.record.events import SessionCreated
from engine.record.reader import Reader

REPLAY = "replay:"
"""What the name of a model begins with that plays a session's answers back."""


def by_stand_in(reader: Reader, session: str) -> bool:
    """Whether no language model wrote the answers of a session of this record."""
    seen: set[str] = set()
    while session not in seen:
        seen.add(session)
        row = next(iter(reader.events(session, kinds=["session_created"])), None)
        if row is None or not isinstance(row.event, SessionCreated):
            return False
        if row.event.stand_in or not row.event.model.startswith(REPLAY):
            return row.event.stand_in
        try:
            session = reader.resolve(row.event.model.removeprefix(REPLAY))
        except InputError:
            return False
    return False
