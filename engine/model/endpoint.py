"""One try at an OpenAI-compatible endpoint: a request, and the answer or the reason why there is none.

Promises: memory stays bounded whatever the server sends (2 MB a body, errors included); every failure is a FailedTry
with one printable sentence that does not hold the key, and says whether another try makes sense. Redirects are not
followed, so that a prompt and a key go only where a person sent them.

Does not: retry, wait, keep the deadline (`client` does). Imported only when a real endpoint is used: openai takes
about 0.3 s and 40 MB.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any
from urllib.parse import urlsplit

import msgspec
import openai

LARGEST_BODY = 2_000_000
LONGEST_SENTENCE = 300
SHORTEST_SECRET = 8
"""Keys shorter than this are placeholders of local servers; taking them out would garble ordinary text."""
TRIED_AGAIN = frozenset({408, 409, 425, 429})
NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


class FailedTry(Exception):
    """A try without an answer. `final`: another would fail the same. `retry_after`: seconds the server asks to wait."""

    def __init__(self, sentence: str, *, final: bool = False, retry_after: float | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.final = final
        self.retry_after = retry_after


@dataclass(frozen=True)
class Answered:
    """What the endpoint answered; tokens are the server's count, or an estimate where it gave none."""

    text: str
    model: str
    tokens_in: int
    tokens_out: int
    finish: str


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Completion(msgspec.Struct):
    """The part of a chat completion that is used; reasoning beside the content is left out."""

    choices: list[_Choice]
    model: Any = None
    usage: Any = None


class _BodyTooLarge(openai.OpenAIError):
    pass


class _CappedClient(openai.DefaultAsyncHttpxClient):
    """The HTTP client of openai, which reads no body beyond LARGEST_BODY, be it an answer's or an error's."""

    async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
        response = await super().send(request, stream=True, **options)
        body = bytearray()
        try:
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > LARGEST_BODY:
                    raise _BodyTooLarge(f"the answer is larger than {LARGEST_BODY:,} bytes")
        finally:
            await response.aclose()
        # The body is decoded already: a header that says otherwise would have it decoded twice.
        headers = {
            name: value
            for name, value in response.headers.items()
            if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
        }
        return type(response)(response.status_code, headers=headers, content=bytes(body), request=request)


class Endpoint:
    """An address with its key. `where` names it in sentences: scheme, host and path."""

    def __init__(self, base_url: str, api_key: str, timeout: float) -> None:
        parts = urlsplit(base_url)
        self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        self._secret = api_key if len(api_key) >= SHORTEST_SECRET else ""
        self._client = openai.AsyncOpenAI(
            api_key=api_key or "none",
            base_url=base_url,
            timeout=timeout,
            max_retries=0,
            default_headers={"Accept-Encoding": "identity"},
            http_client=_CappedClient(timeout=timeout, follow_redirects=False),
        )

    async def answer(self, model: str, messages: Sequence[Mapping[str, str]]) -> Answered:
        """Send the messages once and read the answer. Raises FailedTry."""
        sent: list[Any] = [dict(message) for message in messages]
        try:
            response = await self._client.chat.completions.with_raw_response.create(model=model, messages=sent)
        except openai.APIStatusError as error:
            raise self._refusal(error, model) from None
        except openai.APITimeoutError:
            raise FailedTry(f"{self.where} did not answer in time") from None
        except openai.APIConnectionError as error:
            raise FailedTry(
                f"no whole answer from {self.where}: {self._clean(str(error.__cause__ or error))}"
            ) from None
        except openai.OpenAIError as error:
            raise FailedTry(f"{self.where}: {self._clean(str(error))}") from None
        return self._read(response.content, model, messages)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _read(self, body: bytes, model: str, messages: Sequence[Mapping[str, str]]) -> Answered:
        try:
            completion = msgspec.json.decode(body, type=_Completion)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise FailedTry(f"{self.where} sent no chat completion: {self._clean(str(error))}") from None
        if not completion.choices:
            raise FailedTry(f"{self.where} sent a chat completion without a choice")
        choice = completion.choices[0]
        text = self._without_key(choice.message.content or "")
        usage = completion.usage if isinstance(completion.usage, dict) else {}
        named = completion.model if isinstance(completion.model, str) else ""
        return Answered(
            text=text,
            model=self._clean(named) or model,
            tokens_in=_count(usage.get("prompt_tokens"), sum(len(message["content"]) for message in messages)),
            tokens_out=_count(usage.get("completion_tokens"), len(text)),
            finish=self._clean(choice.finish_reason or "stop"),
        )

    def _refusal(self, error: openai.APIStatusError, model: str) -> FailedTry:
        """The failed try that a status means, with the server's words and the setting to look at."""
        status = error.status_code
        said = self._clean(str(error.body.get("message", "")) if isinstance(error.body, dict) else "")
        sentence = f"{self.where} answered {status}" + (f" ({said})" if said else "")
        out_of_money = status == 402 or error.code in NO_MONEY
        if not out_of_money and (status in TRIED_AGAIN or status >= 500):
            return FailedTry(sentence, retry_after=retry_after(error.response.headers))
        if out_of_money:
            advice = "the account has no credit left"
        elif status in (401, 403):
            advice = "look at the key in BILEVEL_API_KEY or OPENAI_API_KEY, and at what it may use"
        elif status == 404:
            advice = f"look at --model (it is {model!r}) and at the base URL"
        elif status < 400:
            advice = "it redirects elsewhere: look at BILEVEL_BASE_URL or base_url"
        else:
            advice = f"it does not take this request: look at --model (it is {model!r}) and its context length"
        return FailedTry(f"{sentence}: {advice}", final=True)

    def _without_key(self, text: str) -> str:
        return text.replace(self._secret, "[key]") if self._secret else text

    def _clean(self, text: str) -> str:
        """A server's words fit for a terminal and the record: one printable line, no key, bounded."""
        line = re.sub(r"\s+", " ", self._without_key(text[:LARGEST_BODY])).strip()
        line = "".join(character for character in line[: LONGEST_SENTENCE + 1] if character.isprintable())
        return line if len(line) <= LONGEST_SENTENCE else line[: LONGEST_SENTENCE - 1] + "…"


def retry_after(headers: Mapping[str, str]) -> float | None:
    """The seconds that a Retry-After header asks for, given as seconds or as an HTTP date; None where it says nothing.

    A date is held against the server's own Date header where there is one, so that two clocks need not agree.
    """
    said = headers.get("retry-after", "").strip()
    if not said:
        return None
    try:
        seconds = float(said)
    except ValueError:
        try:
            now = parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else time()
            seconds = parsedate_to_datetime(said).timestamp() - now
        except (ValueError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _count(said: object, characters: int) -> int:
    """The server's count of tokens where it is a sane one, else one for four characters, rounded up."""
    if isinstance(said, int) and not isinstance(said, bool) and 0 <= said <= 10**9:
        return said
    return -(-characters // 4)
