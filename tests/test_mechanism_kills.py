"""Mechanisms whose hosts are killed at random, while a session searches: it decides as if nobody had touched them.

Two sessions of one name over one target, whose metric depends on configuration and seed alone, must agree trial by
trial. Three shipped mechanisms are active from the first trial, and in lockstep the outer levels decide between the
same trials. In one of the two, hosts get SIGKILL: in trials drawn at random, at a drawn event of the trial, the host of
a drawn mechanism, half the time while it is at work on a call.
"""

import asyncio
import contextlib
import hashlib
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import events, opened, plan, until, write_target

from engine.mechanism.chain import Chain
from engine.mechanism.client import MechanismHost
from engine.mechanism.trust import shipped_sources
from engine.mechanism.wire import Wire
from engine.record.events import Event, InjectionDecided, MechanismWritten
from engine.session.startup import Opened

SECONDS = 0.05
"""How long a trial trains."""
ACTIVE = ("tabu_search", "multi_scale_bandit", "orthogonal_exploration")
DECISIONS = (
    *("trial_started", "trial_finished", "proposals_made", "proposal_refused", "strategy_decided", "mechanism_written"),
    *("mechanism_validated", "injection_decided", "mechanism_activated", "mechanism_deactivated", "mechanism_acted"),
    *("mechanism_calls", "mechanism_failed"),
)
NOT_DECIDED = {
    *("attempt", "token", "commit", "seconds", "path", "log_blob", "log_tail", "values", "tokens_per_second"),
    "peak_memory_mb",
}
"""Fields that tell of the machine or of the moment."""
MEASURED = {"milliseconds"}
"""Evidence that is a measurement."""


class Killer:
    """Kills hosts of one session's mechanisms; `killed` holds each, and the pid that was alive until then."""

    def __init__(self, session: Opened, seed: int) -> None:
        self.killed: list[tuple[MechanismHost, int]] = []
        self._journal = session.journal
        chain = session.session.inner.chain
        assert isinstance(chain, Chain)
        self._chain = chain
        self._draw = random.Random(seed)
        self._aim: MechanismHost | None = None

    async def run(self, kills: int, trials: int) -> None:
        """So many kills, each in another trial; no trial has two."""
        for number in sorted(self._draw.sample(range(1, trials - 1), kills)):
            await self._until_trial(number)
            for _ in range(self._draw.randrange(4)):
                await self._journal.changed()
            if self._draw.random() < 0.5:
                await self._kill_in_a_call()
            else:
                self._kill(self._draw.choice(self.alive()))

    def alive(self) -> list[MechanismHost]:
        """The hosts of the mechanisms that are active now."""
        return [member.host for member in self._chain._members.values()]

    async def _until_trial(self, number: int) -> None:
        while self._journal.view.completed < number:
            await self._journal.changed()

    async def _kill_in_a_call(self) -> None:
        before = len(self.killed)
        while len(self.killed) == before:
            if self._aim not in self.alive():  # it may be retired before it is asked again
                self._aim = self._draw.choice(self.alive())
            await self._journal.changed()
        self._aim = None

    @contextlib.contextmanager
    def watching(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """See every frame that is sent to a host; the one aimed at is killed as soon as its frame is written."""
        ask = Wire.ask

        async def ask_and_kill(wire: Wire, frame: bytes) -> bytes:
            aim = self._aim
            if aim is not None and aim._process is not None and aim._process.wire is wire:
                asyncio.get_running_loop().call_soon(self._kill, aim)
            return await ask(wire, frame)

        with monkeypatch.context() as patch:
            patch.setattr(Wire, "ask", ask_and_kill)
            yield

    def _kill(self, victim: MechanismHost) -> None:
        pid = victim.pid
        assert pid is not None and state_of(pid) not in ("Z", "X"), "the host is not alive"
        os.kill(pid, signal.SIGKILL)
        self.killed.append((victim, pid))
        self._aim = None


def state_of(pid: int) -> str:
    """The letter that the kernel has for what a process does: "Z" once it is dead and not yet waited for."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def injections() -> tuple[list[Event], list[bytes]]:
    """The events that have the mechanisms activated before the first trial, with their sources."""
    told: list[Event] = []
    sources = [shipped_sources()[name].encode() for name in ACTIVE]
    for name, source in zip(ACTIVE, sources, strict=True):
        digest = hashlib.sha256(source).hexdigest()
        texts = {"purpose": "It tests.", "source": "own", "written_by": "person", "path": f"/m/{name}.py"}
        told.append(MechanismWritten(hash=digest, name=name, **texts))
        told.append(InjectionDecided(hash=digest, name=name, decision="approved", by="person"))
    return told, sources


async def run(db: Path, target: Path, trials: int, killing: tuple[int, pytest.MonkeyPatch] | None = None) -> Killer:
    """A session from start to end; with `killing`, so many kills meanwhile."""
    async with opened(db, plan(target, trials=trials, lockstep=True, confirm=False)) as session:
        told, sources = injections()
        await session.journal.record(*told, blobs=sources)
        killer = Killer(session, seed=trials)
        with contextlib.ExitStack() as stack:
            if killing is not None:
                kills, monkeypatch = killing
                stack.enter_context(killer.watching(monkeypatch))
                task = asyncio.create_task(killer.run(kills, trials))
            await session.session.run()
            if killing is not None:
                async with asyncio.timeout(10):
                    await task
                for host, times in Counter(host for host, _ in killer.killed).items():
                    # One that is taken out is not asked again, and nobody misses its host.
                    assert host.outlived == times or (host not in killer.alive() and host.outlived == times - 1)
        assert session.journal.view.status == "finished", session.journal.view.status_reason
        assert session.journal.view.completed == trials
    return killer


def decisions(db: Path) -> list[tuple[str, dict[str, Any]]]:
    """What was decided, in order, without what depends on the machine or the moment."""
    found = []
    for event in events(db, "s1", *DECISIONS):
        fields = {name: getattr(event, name) for name in event.__struct_fields__ if name not in NOT_DECIDED}
        if "evidence" in fields:
            fields["evidence"] = {name: value for name, value in fields["evidence"].items() if name not in MEASURED}
        found.append((type(event).__name__, fields))
    return found


@pytest.mark.parametrize(
    ("trials", "kills"), [(30, 5), pytest.param(200, 20, marks=pytest.mark.long)], ids=["sample", "long"]
)
async def test_a_session_whose_hosts_are_killed_at_random_decides_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: int, kills: int
) -> None:
    target = write_target(tmp_path / "target", seconds=SECONDS)
    quiet, disturbed = tmp_path / "quiet" / "sessions.db", tmp_path / "disturbed" / "sessions.db"
    await run(quiet, target, trials)
    killer = await run(disturbed, target, trials, (kills, monkeypatch))
    pids = {pid for _, pid in killer.killed}
    assert len(killer.killed) == len(pids) == kills

    expected = decisions(quiet)
    for before, after in zip(expected, decisions(disturbed), strict=True):
        assert after == before
    kinds = [kind for kind, _ in expected]
    assert {"MechanismActed", "StrategyDecided"} <= set(kinds) and "MechanismFailed" not in kinds

    notes = [event.text for event in events(disturbed, "s1", "noted") if event.text.startswith("the host of")]
    assert len(notes) == sum(host.outlived for host in {host for host, _ in killer.killed}) >= kills - 2
    assert all("died once and a fresh one answered" in note and "SIGKILL" in note for note in notes)
    assert not [event for event in events(quiet, "s1", "noted") if event.text.startswith("the host of")]
    await until(lambda: not [pid for pid in pids if Path(f"/proc/{pid}").exists()])
