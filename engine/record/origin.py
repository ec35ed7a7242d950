"""Who wrote a session's answers, also where it played those of another back."""

from engine.errors import InputError
from engine.record.events import SessionCreated
from engine.record.reader import Reader
from engine.record.settings import replayed


def by_stand_in(reader: Reader, session: str) -> bool:
    """Whether no language model wrote the answers of a session of this record."""
    seen: set[str] = set()
    while session not in seen:
        seen.add(session)
        row = next(iter(reader.events(session, kinds=["session_created"])), None)
        if row is None or not isinstance(row.event, SessionCreated):
            return False
        played = replayed(row.event.model)
        if row.event.stand_in or played is None:
            return row.event.stand_in
        try:
            session = reader.resolve(played)
        except InputError:
            return False
    return False
