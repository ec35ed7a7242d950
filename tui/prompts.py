"""What Level 2 asked its model in each round: an event of its own, found by the answer that came back."""

from engine.record import events as ev
from tui.feed import Feed

_KINDS = ("model_called", "research_round")
_BATCH = 2_000


class Prompts:
    """The prompts of a feed's session. Each event is read once, when it is first asked for."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self._read = 0
        self._asked: dict[str, str] = {}
        """By answer, the prompt of the last call that gave it."""
        self._rounds: dict[int, list[str | None]] = {}

    def of(self, research: int, index: int) -> str | None:
        """The blob of the prompt of a research's round, counted from 0; None where none is known.

        Raises RecordError.
        """
        while len(self._rounds.get(research, ())) <= index:
            if not self._read_on():
                return None
        return self._rounds[research][index]

    def _read_on(self) -> bool:
        rows = self.feed.rows(self._read, _BATCH, _KINDS)
        for row in rows:
            self._read = row.seq
            if row.kind == "model_called" and '"level":"2"' not in row.body:
                continue
            event = row.event
            if isinstance(event, ev.ModelCalled):
                self._asked[event.answer_blob] = event.prompt_blob
            elif isinstance(event, ev.ResearchRound):
                self._rounds.setdefault(event.research, []).append(self._asked.get(event.answer_blob))
        return bool(rows)
