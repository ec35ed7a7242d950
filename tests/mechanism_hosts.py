"""What the mechanism tests share: a space like the CPU baseline's, trials of it, sources, hosts that are closed."""

import asyncio
import itertools
import os
import signal
import textwrap
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from engine.mechanism.client import MechanismHost
from engine.mechanism.contract import ViewState
from engine.search.constraints import Constraint
from engine.search.parameters import Parameter, Space, space_to_json

SPACE = Space(
    {
        "TOTAL_BATCH_SIZE": Parameter("TOTAL_BATCH_SIZE", "int", 2**14, 512, 2**17, log=True, meaning="tokens a step"),
        "DEVICE_BATCH_SIZE": Parameter("DEVICE_BATCH_SIZE", "int", 8, 1, 256, log=True),
        "MATRIX_LR": Parameter("MATRIX_LR", "float", 0.04, 0.002, 0.4, log=True),
        "WEIGHT_DECAY": Parameter("WEIGHT_DECAY", "float", 0.2, 0.0, 1.0),
        "WARMUP_RATIO": Parameter("WARMUP_RATIO", "float", 0.0, 0.0, 0.5),
        "HEAD_DIM": Parameter("HEAD_DIM", "choice", 32, choices=(8, 16, 32, 64)),
        "ADAM_BETAS": Parameter("ADAM_BETAS", "tuple", [0.8, 0.95], [0.5, 0.8], [0.99, 0.999]),
        "DEPTH": Parameter("DEPTH", "int", 2, 1, 24, locked=True),
    },
    (Constraint("TOTAL_BATCH_SIZE % (DEVICE_BATCH_SIZE * MAX_SEQ_LEN) == 0", "whole device batches"),),
    {"MAX_SEQ_LEN": 128},
)


Json = dict[str, Any]


def state(**fields: Any) -> ViewState:
    """The state of a search whose incumbent is the baseline, with `fields` changed."""
    quiet: dict[str, Any] = {"incumbent": 0, "frozen": {}, "noise": 0.02, "trials_left": 10}
    empty: dict[str, Any] = {"strategy": "explore", "guidance": "", "refused": [], "others": []}
    return ViewState(**{**quiet, **empty, **fields})  # type: ignore[typeddict-item]


def trial(number: int, changes: Json | None = None, metric: float | None = 4.0, **fields: Any) -> Json:
    """A completed trial on the baseline; a discarded one unless `fields` say otherwise."""
    changes = changes or {}
    known: Json = {
        "number": number,
        "base": 0 if number else None,
        "changes": changes,
        "config": {**SPACE.initial, **changes},
        "metric": metric,
        "runs": [] if metric is None else [metric],
        "status": "discard" if number else "keep",
        "verdict": "worse" if number else None,
        "hypothesis": "a larger batch is better",
        "replicate": None,
        "proposed_by": "model" if number else "engine",
        "edited_by": [],
        "prediction": None,
        "seconds": 10.5,
        "steps": 120,
        "tokens_per_second": 9000.0,
        "peak_memory_mb": 300.0,
        "curve": [[0.1, 5.0], [0.9, 4.1]],
    }
    return {**known, **fields}


def proposal(changes: Json, base: int = 0) -> Json:
    """A proposal of the model's."""
    return {"base": base, "changes": changes, "replicate": None, "hypothesis": "it should help"}


def module(body: str, top: str = "") -> str:
    """A mechanism's source with these members (and `suggest`, where none of them decides anything)."""
    lines = "\n".join("    " + line for line in body.strip("\n").splitlines())
    filler = "" if "def suggest" in body else "    def suggest(self, view):\n        return None\n"
    head = 'class Mechanism:\n    name = "probe"\n    purpose = "It tests."\n    source = "own"\n'
    return f"{top}\n{head}{lines}\n{filler}"


def asking(expression: str, top: str = "") -> str:
    """A mechanism whose `advise` tells the value of an expression over `view`, as Python shows it."""
    return module(f"def advise(self, view):\n    return repr(({expression}))", top)


def doing(*statements: str, hook: str = "advise(self, view)", top: str = "") -> str:
    """A mechanism whose hook runs these statements."""
    return module(f"def {hook}:\n" + textwrap.indent("\n".join(statements), "    "), top)


async def kill(host: MechanismHost) -> None:
    """Kill a host from outside, and wait until its end of the socket is closed, which may be a moment after."""
    process = host._process
    assert process is not None and process.wire._transport is not None
    os.kill(process.pid, signal.SIGKILL)
    await until(process.wire._transport.is_closing)


def killed_at_frames(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> list[int]:
    """Kill hosts that are about to be sent the frames with these numbers, from now on; the pids of those killed."""
    killed: list[int] = []
    sent = itertools.count()
    ask = MechanismHost._ask

    async def killed_first(host: MechanismHost, *args: Any, **fields: Any) -> Any:
        if next(sent) in numbers:
            assert host.pid is not None
            killed.append(host.pid)
            await kill(host)
        return await ask(host, *args, **fields)

    monkeypatch.setattr(MechanismHost, "_ask", killed_first)
    return killed


async def until(holds: Callable[[], bool]) -> None:
    """Wait until something holds; fails after ten seconds."""
    for _ in range(2000):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it did not come about within 10 s")


HostMaker = Callable[..., MechanismHost]


@pytest.fixture
async def host_of(tmp_path: Path) -> AsyncIterator[HostMaker]:
    """Makes hosts of sources, not yet started; each is closed at the end."""
    made: list[MechanismHost] = []

    def make(source: str, direction: str = "minimize", **options: Any) -> MechanismHost:
        options = {"session": "s1", "space": space_to_json(SPACE), "folder": tmp_path / "hosts", **options}
        made.append(MechanismHost(source, direction=direction, **options))
        return made[-1]

    yield make
    for host in made:
        await host.close()
