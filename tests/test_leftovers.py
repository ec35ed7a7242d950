"""What other sessions of a database left running: what still has its supervisor stays, the rest is ended and told."""

import asyncio
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from told_sessions import beginning, created, run

from engine.record import events as ev
from engine.record.store import Store
from engine.session.leftovers import swept
from engine.training.processes import TOKEN, describe

Process = subprocess.Popen[bytes]


@pytest.fixture
def trainer() -> Iterator[Process]:
    """A process that carries the token of an attempt, as a trainer does."""
    token = secrets.token_hex(16)
    process = subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"],
        env={TOKEN: token},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stdout.readline()  # it has its own environment by now
    yield process
    process.stdout.close()
    process.kill()
    process.wait()


def left(folder: Path, process: Process, *, spawned: bool = False, finished: bool = False) -> Path:
    """A record of a session that began a trial with this process."""
    variables = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
    token = next(each for each in variables if each.startswith(TOKEN.encode())).decode().partition("=")[2]
    began, ended = run("trial-1", 1, 3.9)
    events = [created("other"), *beginning()[1:], msgspec.structs.replace(began, token=token)]
    if spawned:
        known = describe(process.pid)
        identity = {"pid": known.pid, "start_time": known.start_time, "boot_id": known.boot_id}
        events.append(ev.TrainerSpawned(run="trial-1", attempt=1, **identity))
    events += [ended] if finished else []
    asyncio.run(told(folder / "sessions.db", events))
    return folder / "sessions.db"


async def told(db: Path, events: list[ev.Event]) -> None:
    store = await Store.open(db)
    try:
        await store.append("own", [created("own")])
        await store.append("other", events)
    finally:
        await store.close()


def test_processes_without_a_supervisor_are_ended(tmp_path: Path, trainer: Process) -> None:
    db = left(tmp_path, trainer)
    assert list(swept(db, "own")) == ["1 processes that trial-1 of session other had left were ended"]
    assert trainer.wait() == -9
    assert list(swept(db, "own")) == []


def test_a_run_that_still_has_its_supervisor_goes_on(tmp_path: Path, trainer: Process) -> None:
    db = left(tmp_path, trainer, spawned=True)
    assert list(swept(db, "own")) == ["trial-1 of session other still trains beside this one, on the same machine"]
    assert trainer.poll() is None


@pytest.mark.parametrize(("own", "finished"), [("other", False), ("own", True)], ids=["its own", "an ended one"])
def test_other_runs_are_left_alone(tmp_path: Path, trainer: Process, own: str, finished: bool) -> None:
    db = left(tmp_path, trainer, finished=finished)
    assert list(swept(db, own)) == []
    assert trainer.poll() is None
