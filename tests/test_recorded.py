"""A past session's answers, read from its record and played back as the model."""

import pytest

from engine.errors import InputError
from engine.model.asking import Asker, Budget
from engine.model.client import ModelRefused, Prompt, Reply, canonical, model_from_settings
from engine.model.recorded import RecordedCall, RecordedModel, recorded_calls
from engine.record.events import AnswerRefused, ModelCalled
from engine.record.reader import Reader
from engine.record.schema import RecordError, blob_hash
from engine.record.settings import Settings
from engine.record.store import Store


def prompt(text: str, level: str = "1", purpose: str = "propose") -> Prompt:
    return Prompt(level, purpose, [{"role": "user", "content": text}])


def call(asked: str, text: str, level: str = "1", purpose: str = "propose") -> RecordedCall:
    return RecordedCall(level, purpose, blob_hash(canonical(prompt(asked).messages)), text, 10, 2)


async def no_retry(error: str, attempt: int, wait: float) -> None:
    raise AssertionError("a recorded answer needs no second try")


async def test_equal_prompts_get_their_own_answers_whatever_the_order():
    model = RecordedModel([call("a", "1"), call("b", "2"), call("c", "3")], "20261121-quiet-otter")
    texts = [(await model.complete(prompt(asked), no_retry)).text for asked in "cab"]
    assert texts == ["3", "1", "2"]


async def test_other_prompts_get_the_answers_of_their_level_and_purpose_in_order():
    calls = [call("a", "1"), call("b", "S", "1.5", "strategy"), call("c", "2"), call("d", "E", "2", "explore")]
    model = RecordedModel(calls, "x")
    assert (await model.complete(prompt("new"), no_retry)).text == "1"
    assert (await model.complete(prompt("new", "2", "explore"), no_retry)).text == "E"
    assert (await model.complete(prompt("new"), no_retry)).text == "2"
    assert (await model.complete(prompt("new", "1.5", "strategy"), no_retry)).text == "S"


async def test_each_answer_comes_once_and_then_the_model_refuses():
    model = RecordedModel([call("a", "same"), call("a", "same")], "x")
    reply = await model.complete(prompt("a"), no_retry)
    assert reply == Reply("same", "replay:x", 10, 2, 0.0, "stop")
    await model.complete(prompt("a"), no_retry)
    with pytest.raises(ModelRefused, match="no further answer for level 1, purpose 'propose'"):
        await model.complete(prompt("a"), no_retry)


async def test_the_settings_name_a_replay_and_say_that_it_is_one():
    settings = Settings(target="t", profile="cpu", model="replay:20261121-quiet-otter")
    model = model_from_settings(settings, {}, RecordedModel([call("a", "1")], "20261121-quiet-otter"))
    assert (model.name, model.stand_in) == ("replay:20261121-quiet-otter", False)
    assert (await model.complete(prompt("a"), no_retry)).text == "1"
    await model.close()
    with pytest.raises(InputError, match="no recorded answers"):
        model_from_settings(settings, {})


class Answers:
    """A model with the given texts."""

    name, stand_in = "given", False

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)

    async def complete(self, asked: Prompt, retried) -> Reply:
        return Reply(self.texts.pop(0), "given-1", 7, 3, 0.1, "stop")

    async def close(self) -> None:
        pass


def even(text: str) -> int:
    """A parser that takes even numbers."""
    from engine.model.answers import AnswerError

    if int(text) % 2:
        raise AnswerError(f"{text} is odd")
    return int(text)


async def test_a_session_played_back_asks_and_answers_as_it_did(tmp_path):
    """One answer is refused and asked for again: the replay goes the same way, event by event."""

    async def session(name: str, model) -> list[int]:
        async def record(event, blobs) -> None:
            await store.append(name, [event], blobs)

        asking = Asker(model, record, Budget(None, None), None, None)
        messages = [{"role": "user", "content": "an even number, “please”"}]
        return [await asking.ask("1", "propose", messages, even), await asking.ask("2", "explore", messages, even)]

    store = await Store.open(tmp_path / "sessions.db")
    try:
        first = await session("first", Answers("3", "4", "6"))
        with Reader(tmp_path / "sessions.db") as reader:
            calls = recorded_calls(reader, "first")
        second = await session("second", RecordedModel(calls, "first"))
    finally:
        await store.close()
    assert first == second == [4, 6]
    assert [recorded.text for recorded in calls] == ["3", "4", "6"]
    assert {(recorded.tokens_in, recorded.tokens_out) for recorded in calls} == {(7, 3)}
    with Reader(tmp_path / "sessions.db") as reader:
        one, two = ([row.event for row in reader.events(name)] for name in ("first", "second"))
    assert [type(event) for event in one] == [ModelCalled, AnswerRefused, ModelCalled, ModelCalled]
    asked = [[event.prompt_blob for event in events if isinstance(event, ModelCalled)] for events in (one, two)]
    assert asked[0] == asked[1], "each prompt was found again by its hash"
    assert [event.model for event in two if isinstance(event, ModelCalled)] == ["replay:first"] * 3


async def test_an_answer_that_the_record_has_lost_is_said(tmp_path):
    store = await Store.open(tmp_path / "sessions.db")
    lost = ModelCalled(
        level="1",
        purpose="propose",
        model="m",
        prompt_blob="0" * 64,
        answer_blob="1" * 64,
        tokens_in=1,
        tokens_out=1,
        seconds=0.1,
    )
    await store.append("first", [lost])
    await store.close()
    with Reader(tmp_path / "sessions.db") as reader, pytest.raises(RecordError, match="holds no content 1111"):
        recorded_calls(reader, "first")
