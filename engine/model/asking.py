"""Asking a model until its answer fits: ask, parse, ask again with the error; the budget; the events.

Promises: every answered call is one ModelCalled event with the prompt and the answer as sent, and is charged to the
budget exactly once, whether its answer fits or not; a try that failed is a ModelRetried event and costs nothing. An
answer that does not fit is an AnswerRefused event, and the model is shown its answer and the error, three asks in all.
No call begins once the budget is used up.

Does not: decide what follows from a failure (the levels do), bound a prompt, know what an answer means (`parse` does).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from engine.errors import BilevelError, InputError
from engine.model.answers import AnswerError
from engine.model.client import Message, Model, Prompt, Reply, canonical
from engine.record.events import AnswerRefused, Event, Level, ModelCalled, ModelRetried
from engine.record.schema import blob_hash

ASKS = 3
LONGEST_QUOTE = 16_000
"""Characters of a refused answer that are shown to the model again; what lies between its two ends is left out."""

Answer = TypeVar("Answer")
Record = Callable[[Event, Sequence[bytes]], Awaitable[None]]
"""Returns once the event is committed, with the blobs that it names by hash."""


class BudgetExhausted(BilevelError):
    """The budget of the session for its model is used up; no call was made."""


@dataclass
class Budget:
    """What the model may cost in a session: money in the currency of the prices, and tokens (None: no limit).

    Levels ask at the same time, so that calls under way when the limit is passed may exceed it by their own cost.
    """

    max_cost: float | None
    max_tokens: int | None
    spent_cost: float = 0.0
    spent_tokens: int = 0

    @property
    def exhausted(self) -> str | None:
        """Why no further call may begin, in one sentence; None while one may."""
        if self.max_cost is not None and self.spent_cost >= self.max_cost:
            return f"the model has cost {self.spent_cost:.4g}, and the limit is {self.max_cost:.4g}"
        if self.max_tokens is not None and self.spent_tokens >= self.max_tokens:
            return f"the model has used {self.spent_tokens:,} tokens, and the limit is {self.max_tokens:,}"
        return None

    def charge(self, tokens: int, cost: float | None) -> None:
        """Count one answered call; `cost` is None where the price is unknown."""
        self.spent_tokens += tokens
        self.spent_cost += cost or 0.0


class Asker:
    """A model with a budget and a record. Prices are for a million tokens, None where unknown.

    Raises InputError for a budget in money while a price is unknown: it could never be kept.
    """

    def __init__(
        self, model: Model, record: Record, budget: Budget, price_in: float | None, price_out: float | None
    ) -> None:
        if budget.max_cost is not None and (price_in is None or price_out is None):
            raise InputError(
                "a budget in money needs the model's prices: give price_in and price_out, or limit the tokens instead"
            )
        self.model = model
        self.budget = budget
        self._record = record
        self._prices = (price_in, price_out)

    async def ask(
        self, level: Level, purpose: str, messages: Sequence[Message], parse: Callable[[str], Answer]
    ) -> Answer:
        """What `parse` makes of the model's answer.

        `parse` raises AnswerError with a sentence for the model where the text does not fit. Raises BudgetExhausted
        before a call that the budget does not allow, ModelError where no reply came, AnswerError after the third
        answer that does not fit.
        """
        prompt = Prompt(level, purpose, [_encodable(message) for message in messages])
        for attempt in range(1, ASKS + 1):
            reply = await self._call(prompt)
            try:
                _check_whole(reply)
                return parse(reply.text)
            except AnswerError as error:
                refusal = str(error)
            refused = AnswerRefused(level=level, purpose=purpose, error=refusal, attempt=attempt)
            await self._record(refused, ())
            prompt = Prompt(level, purpose, [*prompt.messages, *_ask_again(reply.text, refusal)])
        raise AnswerError(f"the model gave no usable answer in {ASKS} asks; the last one: {refusal}")

    async def _call(self, prompt: Prompt) -> Reply:
        reason = self.budget.exhausted
        if reason:
            raise BudgetExhausted(reason)

        async def retried(error: str, attempt: int, wait: float) -> None:
            event = ModelRetried(level=prompt.level, purpose=prompt.purpose, error=error, attempt=attempt, wait=wait)
            await self._record(event, ())

        reply = await self.model.complete(prompt, retried)
        cost = self._cost(reply)
        # Charged before the event is awaited: a cancelled ask has still spent the money.
        self.budget.charge(reply.tokens_in + reply.tokens_out, cost)
        sent, answered = canonical(prompt.messages), reply.text.encode(errors="backslashreplace")
        called = ModelCalled(
            level=prompt.level,
            purpose=prompt.purpose,
            model=reply.model,
            prompt_blob=blob_hash(sent),
            answer_blob=blob_hash(answered),
            tokens_in=reply.tokens_in,
            tokens_out=reply.tokens_out,
            seconds=reply.seconds,
            cost=cost,
        )
        await self._record(called, (sent, answered))
        return reply

    def _cost(self, reply: Reply) -> float | None:
        price_in, price_out = self._prices
        if price_in is None or price_out is None:
            return None
        return (reply.tokens_in * price_in + reply.tokens_out * price_out) / 1e6


def _check_whole(reply: Reply) -> None:
    if reply.finish == "length":
        raise AnswerError("the answer was cut off at the length limit: answer more briefly")
    if not reply.text.strip():
        raise AnswerError("the answer is empty")


def _ask_again(answer: str, refusal: str) -> list[Message]:
    """The refused answer and the reason as the next two messages; an empty one gets words, which some servers need."""
    half = LONGEST_QUOTE // 2
    quoted = answer if len(answer) <= LONGEST_QUOTE else f"{answer[:half]}\n[… left out …]\n{answer[-half:]}"
    request = f"This answer cannot be used: {refusal}\nAnswer again, in full and in the form that was asked for."
    return [
        _encodable({"role": "assistant", "content": quoted.strip() or "(no answer)"}),
        _encodable({"role": "user", "content": request}),
    ]


def _encodable(message: Message) -> Message:
    """The message with lone surrogates (from a log that was no UTF-8) replaced, so that it can be sent and hashed."""
    return {key: text.encode(errors="replace").decode() for key, text in message.items()}
