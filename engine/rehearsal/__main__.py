"""`python -m engine.rehearsal`: one request on standard input, one answer on standard output, each a line of JSON.

The request is an `asking.Request`, the answer an `evidence.Expected`. The record is read as viewers read it, up to the
event that the request names. When the other end of standard input closes, whoever asked is gone: the rehearsal is
broken off, and its hosts end with it.
"""

import asyncio
import json
import os
import sys
from pathlib import Path

import msgspec

from engine.errors import BilevelError
from engine.record.archive import comparable_trials, decode
from engine.record.reader import Reader
from engine.record.view import View, fold
from engine.rehearsal.asking import Request
from engine.rehearsal.effect import expected_effect
from engine.rehearsal.evidence import not_simulated
from engine.search.parameters import Config


async def main() -> None:
    """Answer, unless whoever asked goes first."""
    os.nice(19)
    asked = asyncio.StreamReader(limit=2**26)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    request = msgspec.json.decode(await asked.readline(), type=Request)
    work = asyncio.create_task(answered(request))
    gone = asyncio.create_task(asked.read())
    await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
    if not work.done():
        work.cancel()
    gone.cancel()
    results = await asyncio.gather(work, gone, return_exceptions=True)
    if isinstance(results[0], dict):
        print(json.dumps(results[0]), flush=True)
    elif isinstance(results[0], Exception):
        raise results[0]


async def answered(request: Request) -> dict[str, object]:
    """The evidence that was asked for; what is wrong with the record or the mechanism is its reason."""
    try:
        view, source, imported = told(request)
        mechanism = view.mechanisms[request.hash]
        hosts = Path(request.hosts)
        expected = await expected_effect(view, mechanism, source, hosts, request.require, imported)
    except BilevelError as error:
        return not_simulated(str(error))
    return expected.told()


def told(request: Request) -> tuple[View, str, list[tuple[Config, float]]]:
    """The view at the event that the request names, the mechanism's source, and what the session's archive adds."""
    with Reader(Path(request.db)) as reader:
        rows = reader.events(request.session, state_only=True, upto=request.seq)
        view = fold((row.seq, row.time, row.event) for row in rows)
        imported = comparable_trials(decode(reader.blob(view.archive.archive_blob))) if view.archive else []
        return view, reader.blob(request.hash).decode("utf-8"), imported


if __name__ == "__main__":
    asyncio.run(main())
