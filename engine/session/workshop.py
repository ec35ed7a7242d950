"""The workshop: Level 2's modules are saved where a person can read them, tested, and let in or turned away.

Approval: `auto` lets a module in at the next boundary, `grace` after a deadline, `ask` only by a person. What the trust
rule does not allow to run unattended is never let in by the clock or by `auto`: in the first case it is refused at the
deadline, in the second it waits for a person. The search goes on meanwhile.
"""

import asyncio
import stat
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from engine.mechanism.client import TIME_LIMIT, MechanismHost
from engine.mechanism.contract import INTERFACE
from engine.mechanism.members import deactivated
from engine.mechanism.source_check import PACKAGES
from engine.mechanism.trust import equals_shipped, may_run_unattended, shipped_sources
from engine.mechanism.validation import validate
from engine.record.events import (
    Event,
    InjectionDecided,
    InjectionWaiting,
    LevelActivity,
    MechanismValidated,
    MechanismWritten,
)
from engine.record.journal import Journal
from engine.record.view import Mechanism
from engine.rehearsal.asking import Request, rehearse
from engine.search.parameters import space_to_json
from engine.session.notify import Notifier


class Workshop:
    """Where modules of one session are made fit. `folder`: their files; `hosts`: where host processes get theirs."""

    def __init__(self, journal: Journal, folder: Path, hosts: Path, notifier: Notifier) -> None:
        self.journal = journal
        self.folder = folder
        self.hosts = hosts
        self.interface = INTERFACE
        self.packages = PACKAGES
        self.examples = shipped_sources()
        self.machine: asyncio.Lock | None = None
        """Held while a trial trains; set where trainings and rehearsals share the processor."""
        self.time_limit = TIME_LIMIT
        """Seconds that a call of a mechanism may take."""
        self._notifier = notifier
        self._deciding = asyncio.Lock()

    # --- files and hosts ----------------------------------------------------------------------------------------------
    def save(self, name: str, source: str) -> str:
        """Write a module beside the session's others, under a name not taken by another source; its path."""
        self.folder.mkdir(parents=True, exist_ok=True)
        body = source.encode()
        for number in range(1, 1000):
            path = self.folder / (f"{name}.py" if number == 1 else f"{name}_{number}.py")
            try:
                with path.open("xb") as file:
                    file.write(body)
                return str(path)
            except FileExistsError:
                if _holds(path, body):
                    return str(path)
        raise RuntimeError(f"a thousand modules named {name} lie in {self.folder}")

    def host_of(self, source: str, require: str | None = None) -> MechanismHost:
        """A host for a source, not started; it refuses to run below the sandbox level `require`."""
        view = self.journal.view
        return MechanismHost(
            source,
            session=view.session,
            space=space_to_json(view.space),
            direction=view.history.direction,
            folder=self.hosts,
            time_limit=self.time_limit,
            require=require,
        )

    async def open_host(self, mechanism: Mechanism) -> MechanismHost:
        """A host for a mechanism of the record: the source, and at least the sandbox, that were decided on."""
        source = await self.source_of(mechanism)
        tested = mechanism.evidence.get("sandbox")
        anywhere = equals_shipped(source, self.examples) or self.journal.view.settings.unsafe
        return self.host_of(source, None if anywhere else tested)

    async def source_of(self, mechanism: Mechanism) -> str:
        """The source that was decided on, whatever its file holds by now."""
        return (await self.journal.blob(mechanism.hash)).decode("utf-8")

    # --- Level 2's steps ----------------------------------------------------------------------------------------------
    async def test(self, written: MechanismWritten, source: str) -> list[str]:
        """Validate and rehearse between two trials where they share the machine; record the evidence."""
        view = self.journal.view
        known = view.mechanisms.get(written.hash)
        evidence: dict[str, Any] = {}
        if known is not None and known.hash in view.active:
            problems = [f"{known.name} is active already, with exactly this source: write another one"]
        elif known is not None and known.decision is not None and known.decision.decision == "vetoed":
            problems = [f"a person vetoed exactly this source of {known.name}: write another one"]
        else:
            async with self._machine_awaited(written):
                problems, found = await validate(written.name, source, view, self.host_of)
                evidence = found.told()
                if not problems and view.settings.rehearsal:
                    evidence["expected"] = await self._expected(written.hash, found.sandbox)
        await self.journal.record(
            MechanismValidated(hash=written.hash, name=written.name, problems=problems, evidence=evidence)
        )
        return problems

    @asynccontextmanager
    async def _machine_awaited(self, written: MechanismWritten) -> AsyncIterator[None]:
        """The machine, where trainings and rehearsals share it; those who watch are told what Level 2 waits for."""
        if self.machine is not None and self.machine.locked():
            other = "a trial" if self.journal.view.running else "another rehearsal"
            await self._say(written, f"waits with {written.name}: {other} has the machine")
        async with self.machine or nullcontext():
            await self._say(written, f"rehearsing {written.name}")
            yield

    async def _say(self, written: MechanismWritten, activity: str) -> None:
        if written.written_by != "person":  # a person's edit is no work of Level 2
            await self.journal.record(LevelActivity(level="2", activity=activity))

    async def _expected(self, digest: str, sandbox: str) -> dict[str, Any]:
        """What the mechanism would bring, by searches on a surrogate of what is recorded up to now."""
        view, record = self.journal.view, self.journal.store.path
        return await rehearse(Request(str(record), view.session, view.seq, digest, str(self.hosts), sandbox))

    async def let_in(self, written: MechanismWritten, source: str) -> str:
        """Ask for admission as the session's approval says, and wait: "approved", "vetoed" or "refused"."""
        view = self.journal.view
        level = view.mechanisms[written.hash].evidence.get("sandbox", "C")
        trusted, reason = may_run_unattended(source, level, self.examples, view.settings.unsafe)
        if view.settings.approval == "auto" and trusted:
            approved = InjectionDecided(
                hash=written.hash, name=written.name, decision="approved", by="auto", reason=reason
            )
            await self.journal.record(approved)
            return "approved"
        deadline = time.time() + view.settings.grace if view.settings.approval == "grace" else None
        await self.journal.record(
            InjectionWaiting(
                hash=written.hash,
                name=written.name,
                approval=view.settings.approval,
                trusted=trusted,
                reason=reason,
                deadline=deadline,
            )
        )
        self._notifier.tell(f"mechanism {written.name} waits for a decision: {reason}")
        return await self.decided()

    async def taken_up(self) -> str:
        """Wait for the decision that an earlier engine left open. The clock begins anew: without an engine nobody could
        veto."""
        waiting = self.journal.view.waiting
        if waiting is not None and waiting.deadline is not None:
            await self.journal.record(replace(waiting, deadline=time.time() + self.journal.view.settings.grace))
        return await self.decided()

    async def decided(self) -> str:
        """Wait until the injection that waits is decided; the clock decides at its deadline."""
        waiting = self.journal.view.waiting
        if waiting is None:
            return "refused"
        # Recorded by the wall clock, for people and the next engine, but waited for by a clock that cannot jump.
        until = None if waiting.deadline is None else time.monotonic() + waiting.deadline - time.time()
        try:
            while self.journal.view.waiting is not None:
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    await self._by_the_clock(waiting)
                    break
                try:
                    async with asyncio.timeout(left):
                        await self.journal.changed()
                except TimeoutError:
                    continue
        except asyncio.CancelledError:
            ended = "the session ended first"
            await self.settle(
                InjectionDecided(hash=waiting.hash, name=waiting.name, decision="refused", by="engine", reason=ended)
            )
            raise
        # Not its status: by now it may be active already.
        decision = self.journal.view.mechanisms[waiting.hash].decision
        return decision.decision if decision is not None else "refused"

    async def _by_the_clock(self, waiting: InjectionWaiting) -> None:
        trusted = waiting.trusted
        await self.settle(
            InjectionDecided(
                hash=waiting.hash,
                name=waiting.name,
                decision="approved" if trusted else "refused",
                by="clock",
                reason="nobody objected in time" if trusted else f"nobody decided in time. {waiting.reason}",
            )
        )

    async def settle(self, decision: InjectionDecided, *also: Event) -> bool:
        """Record the decision on what waits, and `also` with it; False, and nothing, where somebody was quicker."""
        return await asyncio.shield(self._settle(decision, also))

    async def _settle(self, decision: InjectionDecided, also: Sequence[Event]) -> bool:
        async with self._deciding:
            waiting = self.journal.view.waiting
            if waiting is None or waiting.hash != decision.hash:
                return False
            await self.journal.record(decision, *also)
            return True

    async def retire(self, mechanism: Mechanism, reason: str, by: str = "model") -> None:
        """Take an active mechanism out; its host ends at the next boundary."""
        view = self.journal.view
        await self.journal.record(deactivated(view, mechanism.hash, view.completed, "retired", by, reason))


def _holds(path: Path, body: bytes) -> bool:
    """Whether this is an ordinary file with exactly this content; nothing else is opened, as a pipe would never end."""
    found = path.lstat()
    return stat.S_ISREG(found.st_mode) and found.st_size == len(body) and path.read_bytes() == body
