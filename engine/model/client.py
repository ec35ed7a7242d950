"""What a model is to the levels, and the model behind an OpenAI-compatible endpoint.

Promises: a reply, or a ModelError whose sentence a person can act on, within a bounded time: each try has a deadline by
the clock (a body that drips is cut by it too), the tries are counted, the waits between them are jittered and capped.
A refusal that another try cannot mend (a wrong key, an unknown model) is not tried again. The key is in no error, no
repr, no reply.

Does not: judge an answer (an empty one, or one cut at the length limit, is a reply; `asking` refuses it), count money,
write events, send a temperature or a length limit: the endpoint's defaults hold.
"""

import asyncio
import ipaddress
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from engine.errors import BilevelError, InputError
from engine.record.events import Level
from engine.record.settings import Settings, replayed

OPENAI_URL = "https://api.openai.com/v1"
DEEPSEEK_URL = "https://api.deepseek.com/v1"
LONGEST_WAIT = 60.0
"""Seconds that a wait between two tries lasts at most, whatever the server's Retry-After says."""

Message = dict[str, str]
Retried = Callable[[str, int, float], Awaitable[None]]
"""Told before each wait: what failed (one sentence), which try it was (from 1), and the wait in seconds."""


class ModelError(BilevelError):
    """The model gave no reply."""


class ModelRefused(ModelError):
    """The endpoint refuses, and would again: the sentence says which setting or variable to look at."""


class ModelUnavailable(ModelError):
    """Every try failed in a way that another may mend; the sentence tells the last failure."""


@dataclass(frozen=True)
class Prompt:
    """What is sent: messages with "role" and "content", for which level, and for what.

    `purpose` is one of "propose", "strategy", "explore", "critique", "specify", "generate", "repair".
    """

    level: Level
    purpose: str
    messages: list[Message]


@dataclass(frozen=True)
class Reply:
    """What came back: the text as the model wrote it (it may be empty), its tokens, and the seconds that it took.

    `finish` is the endpoint's reason for the end: "stop", "length" (cut off), or another word.
    """

    text: str
    model: str
    tokens_in: int
    tokens_out: int
    seconds: float
    finish: str


class Model(Protocol):
    """Something that answers prompts. `stand_in` says that no language model is behind it."""

    name: str
    stand_in: bool

    async def complete(self, prompt: Prompt, retried: Retried) -> Reply:
        """The reply to a prompt. Raises ModelError; `retried` is awaited before each wait between tries."""
        ...

    async def close(self) -> None:
        """Give back connections. The model is not used afterwards."""
        ...


def canonical(messages: Sequence[Message]) -> bytes:
    """The messages as JSON bytes, equal for equal messages: what the record keeps and what a prompt's hash is of."""
    return msgspec.json.encode(list(messages), order="deterministic")


class OpenAIModel:
    """A model behind an endpoint that speaks POST {base_url}/chat/completions.

    `timeout` bounds one try, in seconds by the clock; `attempts` counts the tries of one reply. Tried again, after an
    exponential backoff with full jitter and not before the server's Retry-After (capped at 60 s): no connection, a
    cut or unreadable body, one over 2 MB, the deadline, and the statuses 408, 409, 425, 429 and 5xx. `level_models`
    names another model for a level. `sleep` and `jitter` (a number in [0, 1)) are there for tests.

    Where the endpoint leaves out the usage, tokens are estimated as one for four characters.
    """

    stand_in = False

    def __init__(
        self,
        name: str,
        base_url: str,
        api_key: str,
        timeout: float,
        attempts: int = 5,
        level_models: Mapping[str, str] | None = None,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        from engine.model.endpoint import Endpoint

        self.name = name
        self._timeout = timeout
        self._attempts = max(1, attempts)
        self._level_models = dict(level_models or {})
        self._sleep = sleep
        self._jitter = jitter
        self._endpoint = Endpoint(base_url, api_key, timeout)

    def __repr__(self) -> str:
        return f"OpenAIModel({self.name!r}, {self._endpoint.where!r})"

    async def complete(self, prompt: Prompt, retried: Retried) -> Reply:
        """The reply to a prompt. Raises ModelRefused at once, ModelUnavailable when the tries are used up."""
        from engine.model.endpoint import FailedTry

        model = self._level_models.get(prompt.level, self.name)
        attempt = 1
        while True:
            try:
                return await self._try(model, prompt)
            except FailedTry as failure:
                if failure.final:
                    raise ModelRefused(failure.sentence) from None
                if attempt >= self._attempts:
                    raise ModelUnavailable(
                        f"{self._endpoint.where} gave no answer in {attempt} tries: {failure.sentence}"
                    ) from None
                wait = self._wait(attempt, failure.retry_after)
                await retried(failure.sentence, attempt, wait)
            await self._sleep(wait)
            attempt += 1

    async def close(self) -> None:
        """Close the connections to the endpoint."""
        await self._endpoint.close()

    async def _try(self, model: str, prompt: Prompt) -> Reply:
        from engine.model.endpoint import FailedTry

        started = time.monotonic()
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._endpoint.answer(model, prompt.messages)
        except TimeoutError:
            raise FailedTry(f"no whole answer within {self._timeout:g} s") from None
        seconds = time.monotonic() - started
        return Reply(answer.text, answer.model, answer.tokens_in, answer.tokens_out, seconds, answer.finish)

    def _wait(self, attempt: int, retry_after: float | None) -> float:
        backoff = min(LONGEST_WAIT, 2.0 ** (attempt - 1)) * self._jitter()
        return max(backoff, min(LONGEST_WAIT, retry_after or 0.0))


def model_from_settings(settings: Settings, environ: Mapping[str, str], recorded: Model | None = None) -> Model:
    """The model that the settings name: "offline", "replay:SESSION" (`recorded`, handed in), or a real one.

    The base URL is the settings', else BILEVEL_BASE_URL's, else OPENAI_BASE_URL's, else the maker's of the model. The
    key is BILEVEL_API_KEY's or OPENAI_API_KEY's (DEEPSEEK_API_KEY's comes between them at DeepSeek). An endpoint on
    this machine needs none. Raises InputError for a missing key and for a base URL that cannot be one.
    """
    if settings.model == "offline":
        from engine.model.offline import OfflineModel

        return OfflineModel(seed=settings.seed)
    if replayed(settings.model) is not None:
        if recorded is None:
            raise InputError(f"no recorded answers were found for --model {settings.model}")
        return recorded
    if not settings.model.strip():
        raise InputError("the model has no name: give --model NAME, or --model offline for the stand-in")
    base_url = _base_url(settings, environ)
    key = _key(settings.model, base_url, environ)
    return OpenAIModel(settings.model, base_url, key, settings.model_timeout, level_models=settings.level_models)


def _base_url(settings: Settings, environ: Mapping[str, str]) -> str:
    default = DEEPSEEK_URL if settings.model.startswith("deepseek-") else OPENAI_URL
    url = settings.base_url or environ.get("BILEVEL_BASE_URL") or environ.get("OPENAI_BASE_URL") or default
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise InputError("the model's base URL cannot be read: give one like http://127.0.0.1:8000/v1") from None
    # Credentials in a URL would end up in the record of the session, so that they are not even repeated here.
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError("the model's base URL holds more than host and path: put the key in BILEVEL_API_KEY instead")
    if not usable or not url.strip().isprintable() or " " in url.strip():
        raise InputError(f"the model's base URL {url!r} is no http address: give one like http://127.0.0.1:8000/v1")
    return url.strip().rstrip("/")


def _key(model: str, base_url: str, environ: Mapping[str, str]) -> str:
    host = urlsplit(base_url).hostname or ""
    names = ["BILEVEL_API_KEY", "OPENAI_API_KEY"]
    if "deepseek" in host:
        names.insert(1, "DEEPSEEK_API_KEY")
    for name in names:
        key = environ.get(name, "").strip()
        if key and not (key.isascii() and key.isprintable()):
            raise InputError(f"the environment variable {name} holds characters that no key has: set it again")
        if key:
            return key
    if _is_loopback(host):
        return ""
    raise InputError(f"no key for the model {model!r} at {host}: set {' or '.join(names)}, or use --model offline")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
