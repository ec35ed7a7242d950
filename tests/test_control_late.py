"""Requests over the control socket that nobody waits for any more: they do nothing later, or that is said."""

import asyncio
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_control import Session, exchange, line, listening, sent

from engine.control import Answer, Command, send
from engine.errors import InputError


async def test_a_request_that_comes_too_late_is_not_begun(tmp_path: Path) -> None:
    session, now = Session(), time.clock_gettime(time.CLOCK_BOOTTIME)
    async with listening(tmp_path / "s", session.handle):
        late, timely = await exchange(
            tmp_path / "s", line(command="pause", until=now - 0.001), line(command="resume", until=now + 60)
        )
    assert (late["applied"], timely["applied"]) == (False, True)
    assert "came too late" in str(late["detail"])
    assert [command.command for command in session.asked] == ["resume"]


SLEEPER = """\
import asyncio, sys
from engine.control import Answer, ControlServer
asked = []
async def handle(command):
    asked.append(command.command)
    return Answer(True, " ".join(asked))
async def serve():
    await ControlServer(sys.argv[1], handle).start()
    print("ready", flush=True)
    await asyncio.Event().wait()
asyncio.run(serve())
"""


def test_what_was_asked_of_a_stopped_engine_does_nothing_when_it_wakes(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SLEEPER, str(tmp_path / "s")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]) as engine:
        try:
            assert engine.stdout is not None
            assert engine.stdout.readline() == b"ready\n"
            engine.send_signal(signal.SIGSTOP)
            with pytest.raises(InputError, match="it took too long, the request has lapsed and does nothing later"):
                send(tmp_path / "s", "pause", timeout=0.2)
            engine.send_signal(signal.SIGCONT)
            # The one connection is served after the other in the order of their coming, so the first has been seen.
            assert send(tmp_path / "s", "ping").detail == "ping"
            assert send(tmp_path / "s", "ping").detail == "ping ping"
        finally:
            engine.kill()


async def test_a_command_that_is_begun_and_cannot_be_done_in_time_is_answered_with_that(tmp_path: Path) -> None:
    room, done = asyncio.Event(), asyncio.Event()

    async def handle(command: Command) -> Answer:
        await room.wait()
        done.set()
        return Answer(True, command.command)

    async with listening(tmp_path / "s", handle):
        answer = await sent(tmp_path / "s", "stop", timeout=1.0)
        assert answer == Answer(True, "stop is begun, and done as soon as the engine can write its record")
        assert not done.is_set()
        room.set()
        await asyncio.wait_for(done.wait(), 10)
