"""Asking: ask, parse, ask again; the budget; the events; and a model that fails in every known way at once."""

import asyncio
import hashlib
import itertools
import json

import pytest
from loopback import KINDS, Loopback, seeded

from engine.errors import InputError
from engine.model.answers import AnswerError, parse_proposals
from engine.model.asking import LONGEST_QUOTE, Asker, Budget, BudgetExhausted
from engine.model.client import ModelRefused, ModelUnavailable, OpenAIModel, Reply
from engine.record.events import AnswerRefused, ModelCalled, ModelRetried, decode, encode, kind_of

KEY = "sk-very-secret-0123456789"
MESSAGES = [{"role": "system", "content": "You search."}, {"role": "user", "content": "Propose."}]
GOOD = json.dumps({"proposals": [{"changes": {"DEPTH": 4}, "hypothesis": "Deeper is better."}]})
BAD = json.dumps({"proposals": [{"changes": {"DEPTH": 4}}]})


class Scripted:
    """A model whose answers are given; an exception among them is raised. It reports no failed try."""

    name, stand_in = "scripted", True

    def __init__(self, *answers: str | Reply | Exception) -> None:
        self.answers = list(answers)
        self.prompts = []

    async def complete(self, prompt, retried) -> Reply:
        self.prompts.append(prompt)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Reply) else Reply(answer, "scripted-1", 1000, 100, 0.5, "stop")

    async def close(self) -> None:
        pass


class Record:
    """Keeps what is recorded, and checks that each event names the blobs that come with it."""

    def __init__(self) -> None:
        self.events = []
        self.blobs: dict[str, bytes] = {}

    async def __call__(self, event, blobs) -> None:
        self.blobs.update({hashlib.sha256(blob).hexdigest(): blob for blob in blobs})
        assert decode(kind_of(event), encode(event)) == event
        self.events.append(event)

    def of(self, kind: type) -> list:
        return [event for event in self.events if isinstance(event, kind)]


def asker(model, budget: Budget | None = None, prices=(2.0, 10.0)) -> tuple[Asker, Record]:
    record = Record()
    return Asker(model, record, budget or Budget(None, None), *prices), record


async def test_an_answer_that_fits_is_one_event_with_prompt_and_answer_as_sent():
    asking, record = asker(Scripted(GOOD))
    proposals = await asking.ask("1", "propose", MESSAGES, parse_proposals)
    assert proposals[0].changes == {"DEPTH": 4}
    (called,) = record.events
    assert (called.level, called.purpose, called.model) == ("1", "propose", "scripted-1")
    assert json.loads(record.blobs[called.prompt_blob]) == MESSAGES
    assert record.blobs[called.answer_blob].decode() == GOOD
    assert (called.tokens_in, called.tokens_out, called.seconds) == (1000, 100, 0.5)
    assert called.cost == pytest.approx((1000 * 2 + 100 * 10) / 1e6)
    assert (asking.budget.spent_tokens, asking.budget.spent_cost) == (1100, called.cost)


async def test_the_cost_is_null_where_a_price_is_unknown():
    asking, record = asker(Scripted(GOOD), prices=(2.0, None))
    await asking.ask("1", "propose", MESSAGES, parse_proposals)
    assert record.events[0].cost is None
    assert (asking.budget.spent_tokens, asking.budget.spent_cost) == (1100, 0.0)


async def test_an_answer_that_does_not_fit_is_asked_for_again_with_the_error():
    model = Scripted(BAD, "I would rather not.", GOOD)
    asking, record = asker(model)
    await asking.ask("2", "critique", MESSAGES, parse_proposals)
    second, third = (prompt.messages for prompt in model.prompts[1:])
    assert second[: len(MESSAGES)] == MESSAGES
    assert second[2] == {"role": "assistant", "content": BAD}
    assert "proposals[0]: object missing required field `hypothesis`" in second[3]["content"]
    assert third[:4] == second
    assert third[4] == {"role": "assistant", "content": "I would rather not."}
    kinds = [type(event) for event in record.events]
    assert kinds == [ModelCalled, AnswerRefused, ModelCalled, AnswerRefused, ModelCalled]
    assert [event.attempt for event in record.of(AnswerRefused)] == [1, 2]
    assert asking.budget.spent_tokens == 3300, "an answer that does not fit is paid for as well, once"


async def test_after_three_asks_the_level_is_told():
    asking, record = asker(Scripted(BAD, BAD, BAD, GOOD))
    with pytest.raises(AnswerError, match=r"no usable answer in 3 asks; the last one: proposals\[0\]: object missing"):
        await asking.ask("1", "propose", MESSAGES, parse_proposals)
    assert len(record.of(ModelCalled)) == len(record.of(AnswerRefused)) == 3


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (Reply(GOOD, "m", 1, 1, 0.1, "length"), "cut off at the length limit"),
        (Reply(" \n", "m", 1, 0, 0.1, "stop"), "the answer is empty"),
    ],
)
async def test_a_cut_or_an_empty_answer_does_not_fit(reply, says):
    model = Scripted(reply, GOOD)
    asking, record = asker(model)
    await asking.ask("1", "propose", MESSAGES, parse_proposals)
    assert says in record.of(AnswerRefused)[0].error
    assert model.prompts[1].messages[2]["content"].strip(), "no message is empty"
    assert len(record.of(ModelCalled)) == 2


async def test_a_very_long_refused_answer_is_quoted_by_its_two_ends():
    model = Scripted("begin " + "x" * 300_000 + " end", GOOD)
    asking, record = asker(model)
    await asking.ask("1", "propose", MESSAGES, parse_proposals)
    quoted = model.prompts[1].messages[2]["content"]
    assert quoted.startswith("begin") and quoted.endswith(" end")
    assert len(quoted) < LONGEST_QUOTE + 100
    assert len(record.blobs[record.events[0].answer_blob]) > 300_000, "the record keeps it whole"


async def test_lone_surrogates_in_a_prompt_or_an_answer_stop_nothing():
    asking, record = asker(Scripted('{"a": "\ud800"}', GOOD))
    await asking.ask("1", "propose", [{"role": "user", "content": "log: \udcff"}], parse_proposals)
    assert json.loads(record.blobs[record.events[0].prompt_blob])[0]["content"] == "log: ?"


async def test_no_call_begins_once_the_tokens_are_used_up():
    model = Scripted(GOOD, GOOD)
    asking, record = asker(model, Budget(max_cost=None, max_tokens=1100))
    assert asking.budget.exhausted is None
    await asking.ask("1", "propose", MESSAGES, parse_proposals)
    assert "used 1,100 tokens, and the limit is 1,100" in asking.budget.exhausted
    with pytest.raises(BudgetExhausted, match="limit is 1,100"):
        await asking.ask("1", "propose", MESSAGES, parse_proposals)
    assert len(model.prompts) == len(record.events) == 1


async def test_the_budget_ends_between_two_asks_of_one_answer_too():
    asking, record = asker(Scripted(BAD, GOOD), Budget(max_cost=0.003, max_tokens=None))
    with pytest.raises(BudgetExhausted, match=r"has cost 0.003, and the limit is 0.003"):
        await asking.ask("1", "propose", MESSAGES, parse_proposals)
    assert [type(event) for event in record.events] == [ModelCalled, AnswerRefused]


def test_a_budget_takes_up_what_an_earlier_engine_spent():
    assert Budget(1.0, None, spent_cost=1.5).exhausted
    assert Budget(None, 10, spent_tokens=10).exhausted
    assert Budget(None, None, spent_cost=1e9, spent_tokens=10**9).exhausted is None


def test_a_budget_in_money_needs_prices():
    with pytest.raises(InputError, match="a budget in money needs the model's prices"):
        asker(Scripted(), Budget(max_cost=1.0, max_tokens=None), prices=(None, None))


async def test_a_model_that_refuses_costs_nothing_and_is_not_asked_again():
    model = Scripted(ModelRefused("the key is wrong"), GOOD)
    asking, record = asker(model)
    with pytest.raises(ModelRefused):
        await asking.ask("1", "propose", MESSAGES, parse_proposals)
    assert (len(model.prompts), record.events, asking.budget.spent_tokens) == (1, [], 0)


async def test_a_cancelled_ask_has_still_spent_what_was_answered():
    """The answer came, the engine is stopped while the event is being written: the money is gone all the same."""
    started = asyncio.Event()

    async def never(event, blobs) -> None:
        started.set()
        await asyncio.Event().wait()

    asking = Asker(Scripted(GOOD), never, Budget(None, None), None, None)
    ask = asyncio.create_task(asking.ask("1", "propose", MESSAGES, parse_proposals))
    await started.wait()
    ask.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ask
    assert asking.budget.spent_tokens == 1100


# --- against a real endpoint ------------------------------------------------------------------------------------------
async def no_wait(seconds: float) -> None:
    assert 0 <= seconds <= 60


def remote(server: Loopback, **options) -> OpenAIModel:
    return OpenAIModel("loopback-1", server.base_url, KEY, **{"timeout": 30.0, "sleep": no_wait, **options})


def assert_no_key(record: Record) -> None:
    everything = b"".join([*map(encode, record.events), *record.blobs.values()])
    assert KEY.encode() not in everything


async def test_every_fault_that_may_pass_is_got_over_and_told():
    """All kinds but the refusals, each before one good answer; each is one event, and only answers are charged."""
    faults = [kind for kind in KINDS if kind not in ("401", "redirect")]
    plan = [each for fault in faults for each in (fault, None)]
    async with Loopback(lambda request: GOOD, plan, pace=0.1, pieces=200) as server:
        model = remote(server, timeout=2.0)
        asking, record = asker(model)
        for _ in faults:
            assert (await asking.ask("1", "propose", MESSAGES, parse_proposals))[0].changes == {"DEPTH": 4}
        await model.close()
    assert server.failed == faults
    assert len(record.of(AnswerRefused)) == len({"length", "empty"} & set(faults))
    assert len(record.of(ModelRetried)) == len(faults) - 2
    assert len(record.of(ModelCalled)) == len(faults) + 2
    paid = sum(event.tokens_in + event.tokens_out for event in record.of(ModelCalled))
    assert asking.budget.spent_tokens == paid
    assert all(event.error.isprintable() and event.wait <= 60 for event in record.of(ModelRetried))
    assert_no_key(record)


async def test_a_wrong_key_reaches_the_level_and_shows_in_no_event():
    async with Loopback(lambda request: GOOD, ["500", "401"]) as server:
        model = remote(server)
        asking, record = asker(model)
        with pytest.raises(ModelRefused, match="look at the key"):
            await asking.ask("1", "propose", MESSAGES, parse_proposals)
        await model.close()
    assert [type(event) for event in record.events] == [ModelRetried]
    assert_no_key(record)


async def test_an_endpoint_that_is_down_reaches_the_level_after_bounded_tries():
    async with Loopback(lambda request: GOOD, lambda number: "429") as server:
        model = remote(server, attempts=4)
        asking, record = asker(model)
        with pytest.raises(ModelUnavailable, match="in 4 tries"):
            await asking.ask("1.5", "strategy", MESSAGES, parse_proposals)
        await model.close()
    assert [event.attempt for event in record.events] == [1, 2, 3]
    assert (len(server.requests), asking.budget.spent_tokens) == (4, 0)


async def test_three_levels_ask_at_once_while_a_third_of_the_requests_fail():
    kinds = ("429_retry_after", "429", "500", "cut", "not_json", "no_choices", "huge")
    asks = itertools.count()

    def answer(request: dict) -> str:
        """Every fourth ask gets an answer that does not fit; asked again, it fits."""
        asked_first = len(request["messages"]) == len(MESSAGES)
        return BAD if asked_first and next(asks) % 4 == 0 else GOOD

    async with Loopback(answer, seeded(0.3, seed=4, kinds=kinds)) as server:
        model = remote(server, attempts=20)
        asking, record = asker(model)

        async def level(name: str, purpose: str) -> None:
            for _ in range(15):
                await asking.ask(name, purpose, MESSAGES, parse_proposals)

        await asyncio.gather(level("1", "propose"), level("1.5", "strategy"), level("2", "explore"))
        await model.close()
    answered = [event.answer_blob for event in record.of(ModelCalled)]
    refused = len(record.of(AnswerRefused))
    assert len(record.of(ModelRetried)) == len(server.failed) > 10
    assert refused == answered.count(hashlib.sha256(BAD.encode()).hexdigest()) > 5
    assert len(answered) == 45 + refused
    assert asking.budget.spent_tokens == sum(event.tokens_in + event.tokens_out for event in record.of(ModelCalled))
