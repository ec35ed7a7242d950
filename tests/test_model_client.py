"""The model behind an OpenAI-compatible endpoint, against a real server on loopback that fails in every known way."""

import asyncio
import os
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from loopback import Loopback, purpose_of

from engine.errors import InputError
from engine.model.client import LONGEST_WAIT, ModelRefused, ModelUnavailable, OpenAIModel, Prompt, model_from_settings
from engine.record.settings import Settings

KEY = "sk-very-secret-0123456789"
PROMPT = Prompt("1", "propose", [{"role": "user", "content": "What next? " * 10}])
ROOT = Path(__file__).parent.parent


class Caller:
    """A model with a server, whose waits take no time but are noted, as are the tries that failed."""

    def __init__(self, server: Loopback, timeout: float = 5.0, **options) -> None:
        self.waits: list[float] = []
        self.retries: list[tuple[str, int, float]] = []
        self.model = OpenAIModel(
            "loopback-1", server.base_url, KEY, timeout, **{"sleep": self._sleep, "jitter": lambda: 0.5, **options}
        )

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def _retried(self, error: str, attempt: int, wait: float) -> None:
        self.retries.append((error, attempt, wait))

    async def call(self, prompt: Prompt = PROMPT):
        try:
            return await self.model.complete(prompt, self._retried)
        finally:
            await self.model.close()


def hello(request: dict) -> str:
    return "hello"


async def test_an_answer_comes_with_its_tokens_and_what_was_sent_is_the_prompt_alone():
    async with Loopback(hello) as server:
        reply = await Caller(server).call()
    assert (reply.text, reply.model, reply.finish) == ("hello", "loopback-1", "stop")
    assert (reply.tokens_in, reply.tokens_out) == (110 // 3, 1)
    assert reply.seconds > 0
    assert server.requests == [{"model": "loopback-1", "messages": PROMPT.messages}], "no temperature, no length limit"
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"


async def test_tokens_are_estimated_where_the_endpoint_does_not_count():
    async with Loopback(hello, usage=False) as server:
        reply = await Caller(server).call()
    assert (reply.tokens_in, reply.tokens_out) == (28, 2), "one token for four characters, rounded up"


async def test_a_level_may_have_a_model_of_its_own():
    async with Loopback(hello) as server:
        reply = await Caller(server, level_models={"1": "small", "2": "large"}).call()
    assert (reply.model, server.requests[0]["model"]) == ("small", "small")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("429", "answered 429 (slow down)"),
        ("500", "answered 500 (the server is on fire)"),
        ("cut", "no whole answer from http://127.0.0.1"),
        ("not_json", "sent no chat completion"),
        ("no_choices", "a chat completion without a choice"),
        ("huge", "larger than 2,000,000 bytes"),
    ],
)
async def test_a_fault_that_may_pass_is_tried_again_after_a_backoff(fault, says):
    async with Loopback(hello, [fault, fault, fault]) as server:
        caller = Caller(server)
        reply = await caller.call()
    assert reply.text == "hello"
    assert len(server.requests) == 4
    assert caller.waits == [0.5, 1.0, 2.0], "half of 1, 2, 4: the jitter is a factor on an exponential backoff"
    assert [(attempt, wait) for _, attempt, wait in caller.retries] == [(1, 0.5), (2, 1.0), (3, 2.0)]
    assert all(says in error for error, _, _ in caller.retries), caller.retries


@pytest.mark.parametrize("fault", ["hang", "slow"])
async def test_a_body_that_hangs_or_drips_is_cut_by_the_clock(fault):
    """A drip of 0.1 s a piece never trips a read timeout of 0.3 s; the deadline of the whole try does."""
    async with Loopback(hello, [fault], pace=0.1, pieces=200) as server:
        caller = Caller(server, timeout=0.3)
        reply = await caller.call()
    assert reply.text == "hello"
    assert {error for error, _, _ in caller.retries} == {"no whole answer within 0.3 s"}


async def test_a_slow_body_within_the_deadline_is_an_answer():
    async with Loopback(hello, ["slow"], pace=0.01) as server:
        caller = Caller(server)
        assert (await caller.call()).text == "hello"
    assert caller.retries == []


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", 7.0),
        ("0.2", 0.5),
        ("3600", LONGEST_WAIT),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.5),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_WAIT),
        ("soon", 0.5),
        ("-5", 0.5),
        ("nan", 0.5),
        ("1e999", 0.5),
    ],
)
async def test_retry_after_is_honoured_but_capped(header, wait):
    async with Loopback(hello, ["429_retry_after"], retry_after=header) as server:
        caller = Caller(server)
        await caller.call()
    assert caller.waits == [wait]


def test_a_retry_after_date_is_held_against_the_servers_own_clock():
    from engine.model.endpoint import retry_after

    headers = {"date": "Tue, 01 Jan 2030 00:00:00 GMT", "retry-after": "Tue, 01 Jan 2030 00:00:09 GMT"}
    assert retry_after(headers) == 9.0


async def test_tries_are_bounded_and_the_last_failure_is_told():
    async with Loopback(hello, lambda number: "500") as server:
        caller = Caller(server, attempts=3)
        with pytest.raises(ModelUnavailable, match=r"gave no answer in 3 tries: .*answered 500"):
            await caller.call()
    assert len(server.requests) == 3
    assert len(caller.waits) == 2, "no wait follows the last try"


async def test_no_server_at_all_is_tried_again_too():
    async with Loopback(hello) as server:
        caller = Caller(server, attempts=2)
    with pytest.raises(ModelUnavailable, match="no whole answer from"):
        await caller.call()
    assert len(caller.retries) == 1


async def test_a_wrong_key_is_not_tried_again_and_shows_nowhere():
    async with Loopback(hello, ["401"]) as server:
        caller = Caller(server)
        with pytest.raises(ModelRefused) as refused:
            await caller.call()
    assert "look at the key in BILEVEL_API_KEY" in str(refused.value)
    assert "incorrect API key provided: Bearer [key]" in str(refused.value), "the server quoted the key, we do not"
    assert KEY not in repr(refused.value) + repr(caller.model) + repr(caller.model.__dict__)
    assert (len(server.requests), caller.waits) == (1, [])
    assert refused.value.__cause__ is None


async def test_an_unknown_page_is_not_tried_again():
    async with Loopback(hello) as server:
        server.base_url = server.base_url.replace("/v1", "/v2")
        with pytest.raises(ModelRefused, match=r"answered 404 .*look at --model \(it is 'loopback-1'\)"):
            await Caller(server).call()


async def test_a_redirect_is_not_followed_with_the_key():
    async with Loopback(hello, ["redirect"]) as server:
        with pytest.raises(ModelRefused, match=r"answered 307: it redirects elsewhere: look at BILEVEL_BASE_URL"):
            await Caller(server).call()
    assert len(server.requests) == 1


async def test_an_endpoint_that_echoes_the_key_does_not_get_it_into_an_answer():
    async with Loopback(lambda request: f"your key is {KEY}") as server:
        assert (await Caller(server).call()).text == "your key is [key]"


@pytest.mark.parametrize("fault", ["empty", "length"])
async def test_an_empty_answer_and_one_cut_at_the_length_limit_are_replies(fault):
    """They are paid for; whoever asked refuses them and asks again."""
    async with Loopback(hello, [fault]) as server:
        reply = await Caller(server).call()
    assert (reply.text, reply.finish) == (("", "stop") if fault == "empty" else ("hello", "length"))


async def test_the_event_loop_goes_on_while_the_model_hangs_and_fails():
    """A training process is followed to its end while one call goes through a fault and then hangs."""
    async with Loopback(hello, ["429", "not_json", "cut", "hang"]) as server:
        caller = Caller(server)
        call = asyncio.create_task(caller.call())
        await server.wait_for(4)
        trainer = await asyncio.create_subprocess_exec(
            sys.executable, "-c", "for n in range(50): print(n, flush=True)", stdout=asyncio.subprocess.PIPE
        )
        out, _ = await trainer.communicate()
        assert (len(out.splitlines()), call.done()) == (50, False)
        server.release.set()
        assert (await call).text == "hello"


async def test_a_cancelled_call_leaves_no_connection_behind():
    async with Loopback(hello, ["hang"]) as server:
        caller = Caller(server)
        call = asyncio.create_task(caller.call())
        await server.wait_for(1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert caller.retries == [], "being cancelled is no failed try"


async def test_the_server_runs_as_a_process_of_its_own():
    """It prints its URL first, and deals its faults out by seed; a whole session can be pointed at it."""
    program = [sys.executable, "-m", "tests.loopback", "--answers", "hello", "--faults", "1", "--kinds", "500"]
    server = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE, cwd=ROOT)
    try:
        url = (await asyncio.wait_for(server.stdout.readline(), 30)).decode().strip()
        model = OpenAIModel("any", url, "", 30.0, sleep=lambda seconds: asyncio.sleep(0))
        with pytest.raises(ModelUnavailable, match="answered 500"):
            await model.complete(PROMPT, lambda *told: asyncio.sleep(0))
        await model.close()
    finally:
        server.terminate()
        await server.wait()


def test_the_server_sees_from_a_prompt_what_it_is_for():
    for name in ("propose", "strategy", "explore", "critique", "specify", "generate", "repair"):
        text = files("engine.model.prompts").joinpath(f"{name}.md").read_text()
        again = [{"role": "assistant", "content": "?"}, {"role": "user", "content": "This answer cannot be used: …"}]
        assert purpose_of([{"role": "system", "content": "s"}, {"role": "user", "content": text}, *again]) == name


def settings(**changed) -> Settings:
    return Settings(target="baseline", profile="cpu", **{"model": "any-model", **changed})


@pytest.mark.parametrize(
    ("environ", "changed", "where"),
    [
        ({"OPENAI_API_KEY": KEY}, {}, "https://api.openai.com/v1"),
        ({"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://gpu:8000/v1/"}, {}, "http://gpu:8000/v1"),
        (
            {"BILEVEL_API_KEY": KEY, "OPENAI_BASE_URL": "http://a/v1", "BILEVEL_BASE_URL": "http://b/v1"},
            {},
            "http://b/v1",
        ),
        ({"BILEVEL_API_KEY": KEY, "BILEVEL_BASE_URL": "http://b/v1"}, {"base_url": "http://c/v1"}, "http://c/v1"),
        ({"DEEPSEEK_API_KEY": KEY}, {"model": "deepseek-chat"}, "https://api.deepseek.com/v1"),
        ({}, {"base_url": "http://127.0.0.1:11434/v1"}, "http://127.0.0.1:11434/v1"),
        ({}, {"base_url": "http://localhost:11434/v1"}, "http://localhost:11434/v1"),
        ({}, {"base_url": "http://[::1]:11434/v1"}, "http://[::1]:11434/v1"),
    ],
)
async def test_the_settings_and_the_environment_say_which_endpoint(environ, changed, where):
    model = model_from_settings(settings(**changed), environ)
    assert isinstance(model, OpenAIModel)
    assert repr(model) == f"OpenAIModel({settings(**changed).model!r}, {where!r})"
    await model.close()


@pytest.mark.parametrize(
    ("environ", "changed", "says"),
    [
        ({}, {}, "set BILEVEL_API_KEY or OPENAI_API_KEY, or use --model offline"),
        ({"DEEPSEEK_API_KEY": KEY}, {}, "no key for the model 'any-model' at api.openai.com"),
        ({}, {"model": "deepseek-chat"}, "DEEPSEEK_API_KEY"),
        ({"OPENAI_API_KEY": KEY}, {"base_url": "gpu:8000"}, "is no http address"),
        ({"OPENAI_API_KEY": KEY}, {"base_url": "ftp://gpu/v1"}, "is no http address"),
        ({"OPENAI_API_KEY": KEY}, {"base_url": "http://gpu:99999/v1"}, "cannot be read"),
        ({"OPENAI_API_KEY": KEY}, {"base_url": "http://my gpu/v1"}, "is no http address"),
        ({"OPENAI_API_KEY": KEY}, {"base_url": f"http://me:{KEY}@gpu/v1"}, "put the key in BILEVEL_API_KEY"),
        ({"OPENAI_API_KEY": KEY}, {"base_url": f"http://gpu/v1?key={KEY}"}, "put the key in BILEVEL_API_KEY"),
        ({"OPENAI_API_KEY": "“sk-quoted”"}, {}, "OPENAI_API_KEY holds characters that no key has"),
        ({"OPENAI_API_KEY": KEY}, {"model": " "}, "the model has no name"),
        ({}, {"model": "replay:abc"}, "no recorded answers were found"),
    ],
)
def test_wrong_settings_are_one_sentence_without_the_key(environ, changed, says):
    with pytest.raises(InputError) as wrong:
        model_from_settings(settings(**changed), environ)
    assert says in str(wrong.value)
    assert KEY not in str(wrong.value)


def test_openai_is_loaded_only_for_a_real_endpoint():
    program = (
        "import sys; import engine.model.client, engine.model.asking, engine.model.recorded, engine.model.answers;"
        "print('openai' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, env={**os.environ}, check=True
    )
    assert done.stdout.strip() == "False"
