"""A session that goes on without an engine, for measurements: real events through the real store, and a growing log.

`python -m engine.tools.bench_live PLAN` takes a plan in JSON. It tells what engine/tools/bench_record.py makes up, of
which the beginning lies in the past, holds the engine's lock, and answers on the engine's socket, until it is ended by
SIGTERM. Nothing is searched and nothing is trained.
"""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from engine.control import Answer, Command, ControlServer, socket_path
from engine.record import events as ev
from engine.record.head import run_directory
from engine.record.lock import EngineLock
from engine.record.store import Store
from engine.tools.bench_record import PROGRESS_SECONDS, SESSION, session_events, texts_of

EVENT_SECONDS = 0.05
"""Between two events that are no progress."""
LINE_SECONDS = 0.02
"""Between two writes to the log."""
READY = "ready"
"""Printed once the past is told and the lock is held."""


class Plan(msgspec.Struct, forbid_unknown_fields=True):
    """What is told: so many trials of the past at once, then the session goes on, or, if it `ended`, does not.

    `lines` a second are appended to the log of the trial that runs; a trial takes `trial_seconds`, None: nothing new
    comes of it.
    """

    db: str
    past: int
    lines: float = 0.0
    trial_seconds: float | None = None
    ended: bool = False


async def tell(plan: Plan) -> None:
    """Tell the session until this process is to end."""
    db = Path(plan.db)
    steps = 2 if plan.trial_seconds is None else max(1, round(plan.trial_seconds / PROGRESS_SECONDS))
    told = (event for _, event in session_events(plan.past + 10_000, steps))
    store = await Store.open(db)
    try:
        running = await _tell_past(store, told, plan.past)
        if plan.ended:
            await store.append(SESSION, [ev.StateChanged(status="finished", reason="all trials are done")])
            print(READY, flush=True)
            return
        socket = socket_path(db, SESSION, os.environ)
        server = ControlServer(socket, _answered)
        with EngineLock(db) as lock:
            lock.acquire(SESSION, socket)
            await server.start()
            print(READY, flush=True)
            try:
                await _go_on(store, told, running, plan)
            finally:
                await server.close()
    finally:
        await store.close()


async def _tell_past(store: Store, told: Iterator[ev.Event], trials: int) -> str:
    """Append so many trials and the start of the next; the name of the run that now runs."""
    events: list[ev.Event] = []
    for event in told:
        events.append(event)
        if isinstance(event, ev.TrialStarted) and event.number > trials:
            break
    else:
        raise ValueError("the past is longer than what can be told")
    texts = [text.encode() for each in events for text in texts_of(each)]
    await store.append(SESSION, events, texts)
    return event.run


async def _go_on(store: Store, told: Iterator[ev.Event], run: str, plan: Plan) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    log = _Log(Path(plan.db), run)
    tasks: list[asyncio.Task[object]] = [asyncio.create_task(log.grow(plan.lines))] if plan.lines else []
    if plan.trial_seconds is not None:
        tasks.append(asyncio.create_task(_append(store, told, log)))
    tasks += [asyncio.create_task(ended.wait()), asyncio.create_task(_orphaned(os.getppid()))]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    for failed in done:
        if isinstance(failed, Exception):
            raise failed


async def _orphaned(parent: int) -> None:
    """Wait until the process that started this one is gone."""
    while os.getppid() == parent:  # noqa: ASYNC110 (nothing wakes a process whose parent has gone)
        await asyncio.sleep(1.0)


async def _append(store: Store, told: Iterator[ev.Event], log: "_Log") -> None:
    for event in told:
        await asyncio.sleep(PROGRESS_SECONDS if isinstance(event, ev.TrialProgress) else EVENT_SECONDS)
        if isinstance(event, ev.TrialProgress):
            event = msgspec.structs.replace(event, offset=log.size)
        elif isinstance(event, ev.TrialStarted):
            log.begin(event.run)
        await store.append(SESSION, [event], [text.encode() for text in texts_of(event)])


class _Log:
    """The log of the run that runs."""

    def __init__(self, db: Path, run: str) -> None:
        self._folder = run_directory(db) / SESSION / "runs"
        self.begin(run)

    def begin(self, run: str) -> None:
        """The lines are another run's from now on."""
        self._path = self._folder / f"{run}.1" / "trainer.log"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        self._line = self.size = 0

    async def grow(self, lines: float) -> None:
        """Append so many lines a second."""
        began, written = time.monotonic(), 0
        while True:
            await asyncio.sleep(LINE_SECONDS)
            due = int((time.monotonic() - began) * lines)
            text = "".join(map(self._next, range(written, due))).encode()
            with self._path.open("ab") as file:
                file.write(text)
            written, self.size = due, self.size + len(text)

    def _next(self, number: int) -> str:
        self._line += 1
        what = f"step {self._line:05d} ({self._line % 1000 / 10:.1f}%) | loss: {9 - (number % 997) / 200:.6f}"
        return f"{what} | lrm: 1.00 | dt: {40 + number % 17}ms | tok/sec: {50_000 + number % 999:,} | epoch: 1\n"


async def _answered(command: Command) -> Answer:
    if command.command == "ping":
        return Answer(True, "{}")
    return Answer(False, "nothing searches here: this session is told for a measurement")


if __name__ == "__main__":
    asyncio.run(tell(msgspec.json.decode(sys.argv[1], type=Plan)))
