"""The answers of an earlier session, played back as the model.

Promises: the same prompts get the same answers again; where a prompt differs from the recorded one (another machine's
trainings), the recorded answers of that level and purpose come in their order, each once. Used up, it refuses.

Does not: write to the earlier session, wait as long as its model did, make up an answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.model.client import ModelRefused, Prompt, Reply, Retried, canonical
from engine.record.events import ModelCalled
from engine.record.reader import Reader
from engine.record.schema import blob_hash
from engine.record.settings import REPLAY


@dataclass(frozen=True)
class RecordedCall:
    """One answered call of a session; `prompt_hash` is the SHA-256 (hex) of the canonical messages."""

    level: str
    purpose: str
    prompt_hash: str
    text: str
    tokens_in: int
    tokens_out: int


class RecordedModel:
    """Plays `calls` back, in their order for each level and purpose; an equal prompt gets its own answer.

    Its name is "replay:" and the session's. It is a stand-in where one wrote the answers.
    """

    def __init__(self, calls: Sequence[RecordedCall], session: str, stand_in: bool = False) -> None:
        self.name, self.stand_in = f"{REPLAY}{session}", stand_in
        self._left = list(calls)

    async def complete(self, prompt: Prompt, retried: Retried) -> Reply:
        """The next recorded reply. Raises ModelRefused when none is left for the prompt's level and purpose."""
        mine = [call for call in self._left if (call.level, call.purpose) == (prompt.level, prompt.purpose)]
        if not mine:
            raise ModelRefused(
                f"the recorded session has no further answer for level {prompt.level}, purpose {prompt.purpose!r}"
            )
        asked = blob_hash(canonical(prompt.messages))
        call = next((call for call in mine if call.prompt_hash == asked), mine[0])
        self._left = [other for other in self._left if other is not call]
        return Reply(call.text, self.name, call.tokens_in, call.tokens_out, seconds=0.0, finish="stop")

    async def close(self) -> None:
        """Nothing is open."""


def recorded_calls(reader: Reader, session: str) -> list[RecordedCall]:
    """The answered calls of a session in their order, refused answers included. Raises RecordError for a lost blob."""
    calls = []
    for row in reader.events(session, kinds=["model_called"]):
        called = row.event
        if isinstance(called, ModelCalled):
            text = reader.blob(called.answer_blob).decode(errors="replace")
            tokens = called.tokens_in, called.tokens_out
            calls.append(RecordedCall(called.level, called.purpose, called.prompt_blob, text, *tokens))
    return calls
