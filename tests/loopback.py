"""A real HTTP server on 127.0.0.1 that speaks POST /v1/chat/completions, with faults by plan.

    async with Loopback(lambda request: '{"proposals": […]}', faults=["429", None, "cut"]) as server:
        model = OpenAIModel("any", server.base_url, "key", timeout=1.0)

`faults` says what goes wrong with which request, counted from 0: a list (then nothing more goes wrong), or a function
of the number such as `seeded(0.3, seed=1)`. The kinds are KINDS. As a process of its own it prints its URL first:

    python -m tests.loopback --port 0 --answers offline --faults 0.3 --seed 1
"""

import argparse
import asyncio
import json
import random
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files
from typing import Any

KINDS = (
    "429_retry_after",
    "429",
    "500",
    "slow",
    "hang",
    "cut",
    "length",
    "not_json",
    "no_choices",
    "empty",
    "huge",
    "401",
    "redirect",
)
PASSING = ("429_retry_after", "429", "500", "slow", "cut", "length", "not_json", "no_choices", "empty")
"""The kinds that a session with ordinary time limits gets over without long waits."""

Answer = Callable[[dict[str, Any]], str | Awaitable[str]]
Plan = Callable[[int], str | None]
STATUS = {
    200: "OK",
    307: "Temporary Redirect",
    401: "Unauthorized",
    404: "Not Found",
    429: "Too Many Requests",
    500: "Internal Server Error",
}


def seeded(rate: float, seed: int, kinds: Sequence[str] = PASSING) -> Plan:
    """A plan in which each request fails with probability `rate`, the same for the same seed."""

    def plan(number: int) -> str | None:
        draw = random.Random(f"{seed}:{number}")
        return draw.choice(kinds) if draw.random() < rate else None

    return plan


def completion(text: str | None, request: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
    """A chat completion as endpoints send it, with a made-up but plausible usage."""
    asked = sum(len(str(message.get("content"))) for message in request.get("messages", []))
    return {
        "id": "chatcmpl-loopback",
        "object": "chat.completion",
        "created": 1,
        "model": request.get("model", "loopback"),
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}],
        "usage": {"prompt_tokens": asked // 3, "completion_tokens": len(text or "") // 3, "total_tokens": 0},
    }


class Loopback:
    """The server. `requests` holds what was asked (the JSON body), `headers` the headers of each, `failed` the faults
    that were dealt out. A "hang" ends with `release`; `wait_for` waits until so many requests have arrived.
    """

    def __init__(
        self,
        answer: Answer,
        faults: Sequence[str | None] | Plan = (),
        *,
        retry_after: str = "1",
        pace: float = 0.05,
        pieces: int = 20,
        huge: int = 4_000_000,
        usage: bool = True,
        port: int = 0,
    ) -> None:
        self._answer = answer
        self._plan = faults if callable(faults) else lambda number: faults[number] if number < len(faults) else None
        self._retry_after = retry_after
        self._pace, self._pieces, self._huge, self._usage = pace, pieces, huge, usage
        self._port = port
        self._arrived = asyncio.Condition()
        self._open: set[asyncio.Task[None]] = set()
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.failed: list[str] = []
        self.release = asyncio.Event()
        self.base_url = ""

    async def start(self) -> "Loopback":
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self._port)
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def __aenter__(self) -> "Loopback":
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def wait_for(self, requests: int, deadline: float = 10.0) -> None:
        """Return once so many requests have arrived. Raises TimeoutError after the deadline (seconds)."""
        async with asyncio.timeout(deadline), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= requests)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while await self._serve(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # The client went away, or the server stops: either ends this connection, and nothing else.
        finally:
            self._open.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request; whether the connection stays open for another."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if not head[0].startswith("POST /v1/chat/completions "):
            return await self._send(writer, 404, {"error": {"message": f"no such page: {head[0]}"}})
        request = json.loads(body)
        async with self._arrived:
            fault = self._plan(len(self.requests))
            self.requests.append(request)
            self.headers.append(headers)
            self._arrived.notify_all()
        if fault:
            self.failed.append(fault)
            return await self._fail(fault, request, writer)
        return await self._send(writer, 200, await self._completion(request))

    async def _completion(self, request: dict[str, Any], finish: str = "stop") -> dict[str, Any]:
        text = self._answer(request)
        whole = completion(text if isinstance(text, str) else await text, request, finish)
        if not self._usage:
            del whole["usage"]
        return whole

    async def _fail(self, fault: str, request: dict[str, Any], writer: asyncio.StreamWriter) -> bool:
        match fault:
            case "429_retry_after":
                extra = f"Retry-After: {self._retry_after}\r\n"
                return await self._send(writer, 429, {"error": {"message": "slow down"}}, extra)
            case "429":
                return await self._send(writer, 429, {"error": {"message": "slow down"}})
            case "500":
                return await self._send(writer, 500, {"error": {"message": "the server is on fire"}})
            case "401":
                key = self.headers[-1].get("authorization", "")
                return await self._send(writer, 401, {"error": {"message": f"incorrect API key provided: {key}"}})
            case "redirect":
                return await self._send(writer, 307, {}, f"Location: {self.base_url}/chat/completions\r\n")
            case "slow":
                return await self._drip(writer, await self._completion(request))
            case "hang":
                await self.release.wait()
                return False
            case "cut":
                return await self._cut(writer, await self._completion(request))
            case "length":
                return await self._send(writer, 200, await self._completion(request, finish="length"))
            case "not_json":
                return await self._send(writer, 200, b"<html>the gateway had a bad day</html>")
            case "no_choices":
                return await self._send(writer, 200, {"object": "chat.completion", "choices": []})
            case "empty":
                return await self._send(writer, 200, completion("", request))
            case "huge":
                return await self._send(writer, 200, completion("x" * self._huge, request))
        raise ValueError(f"there is no fault {fault!r}; there are {', '.join(KINDS)}")

    async def _send(self, writer: asyncio.StreamWriter, status: int, body: Any, extra: str = "") -> bool:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        writer.write(_head(status, len(content), extra) + content)
        await writer.drain()
        return True

    async def _drip(self, writer: asyncio.StreamWriter, body: Any) -> bool:
        content = json.dumps(body).encode()
        writer.write(_head(200, len(content)))
        size = -(-len(content) // self._pieces)
        for start in range(0, len(content), size):
            await asyncio.sleep(self._pace)
            writer.write(content[start : start + size])
            await writer.drain()
        return True

    async def _cut(self, writer: asyncio.StreamWriter, body: Any) -> bool:
        content = json.dumps(body).encode()
        writer.write(_head(200, len(content)) + content[: len(content) // 2])
        await writer.drain()
        writer.close()
        return False


def _head(status: int, length: int, extra: str = "") -> bytes:
    lines = f"HTTP/1.1 {status} {STATUS[status]}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    return f"{lines}{extra}\r\n".encode()


def offline_answers(seed: int) -> Answer:
    """Answers of the offline stand-in, which reads what a prompt is for from its text."""
    from engine.model.client import Prompt
    from engine.model.offline import OfflineModel
    from engine.record.events import Level

    levels: dict[str, Level] = {"propose": "1", "strategy": "1.5"}
    model = OfflineModel(seed=seed)

    async def unneeded(error: str, attempt: int, wait: float) -> None:
        raise AssertionError("the stand-in does not fail")

    async def answer(request: dict[str, Any]) -> str:
        purpose = purpose_of(request["messages"])
        prompt = Prompt(levels.get(purpose, "2"), purpose, request["messages"])
        return (await model.complete(prompt, unneeded)).text

    return answer


def purpose_of(messages: Sequence[dict[str, str]]) -> str:
    """The name of the prompt file that the latest of the messages was made from."""
    folder = files("engine.model.prompts")
    names = ("propose", "strategy", "explore", "critique", "specify", "generate", "repair")
    starts = {name: folder.joinpath(f"{name}.md").read_text().split("\n", 1)[0].split("$")[0] for name in names}
    for message in reversed(messages):
        for name, start in starts.items():
            if message["content"].startswith(start):
                return name
    raise ValueError("the messages come from none of the prompts")


async def serve(port: int, answer: Answer, plan: Plan) -> None:
    """Serve until the process is ended."""
    async with Loopback(answer, plan, port=port) as server:
        print(server.base_url, flush=True)
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.loopback", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument(
        "--answers", default="offline", help='"offline" for the stand-in, else the text of every answer'
    )
    parser.add_argument("--faults", type=float, default=0.0, help="probability that a request fails")
    parser.add_argument("--kinds", default=",".join(PASSING), help=f"which faults, of {', '.join(KINDS)}")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    text = asked.answers
    answer = offline_answers(asked.seed) if text == "offline" else lambda request: text
    asyncio.run(serve(asked.port, answer, seeded(asked.faults, asked.seed, asked.kinds.split(","))))


if __name__ == "__main__":
    main()
