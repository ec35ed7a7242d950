"""The engine's half of a mechanism: a host process that is called, watched, and started again when it died.

Only `observe` changes a mechanism, so a fresh host that is told all trials again decides as if nothing had happened. A
host that dies in a call (killed from outside, or by the mechanism itself) is therefore replaced at once, and the same
call is asked once more: the same moment, so the same random numbers. A second death in it is the mechanism's failure.
Every other failure is raised and never repeated: the caller records it, and reverts a mechanism that fails three times
in a row. What was decided by a hook is not checked against the search here.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from engine.mechanism import protocol
from engine.mechanism.bubblewrap import Bubblewrap, find_bubblewrap, hail
from engine.mechanism.cage import BUBBLEWRAP, Finding, Setup, level_of, missing, reaches, readable
from engine.mechanism.contract import HOOKS, ContractViolation, ViewState, check_answer, clean_text
from engine.mechanism.failures import (
    DeadlineExceeded,
    HookFailed,
    HostDied,
    LoadFailed,
    SandboxTooWeak,
    Violation,
    WrongAnswer,
)
from engine.mechanism.places import numpy_folder, numpy_paths, private_folders
from engine.mechanism.process import HostProcess
from engine.mechanism.source_check import check_source
from engine.mechanism.trust import source_hash
from engine.mechanism.wire import Fault, read_reply

log = logging.getLogger(__name__)
T = TypeVar("T")
TIME_LIMIT = 5.0
"""Seconds that a call may take; one that is asked again after a death takes up to twice as long."""
START_LIMIT = 30.0
"""Seconds until a spawned host must have said hello; it takes some 50 ms on a machine that is not overloaded."""
CPU_SECONDS = 600
MOST_STARTS = 6
"""Starts in a row without one new answer (a replay gives none), after which a host is not started again."""


@dataclass(frozen=True)
class Hello:
    """What a started host is: the sandbox level with every layer's finding, and the mechanism it holds."""

    level: str
    findings: tuple[Finding, ...]
    name: str
    purpose: str
    source: str
    hooks: tuple[str, ...]

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers that hold."""
        return tuple(finding["layer"] for finding in self.findings if finding["ok"])

    @property
    def missing(self) -> tuple[str, ...]:
        """The layers that do not, each with the reason and with what would give it."""
        return tuple(missing(self.findings))


class MechanismHost:
    """One version of a mechanism, in a process of its own. Its methods raise MechanismError (see failures).

    `space`: as `space_to_json` gives it. `folder`: where the process gets an empty folder of its own. `time_limit`:
    seconds a call. `require`: the sandbox level without which nothing is loaded. `nice`, which may be set until it
    starts: how much the process gives way to others, 0 to 19. Calls are made one at a time; concurrent ones wait.
    """

    def __init__(
        self,
        source: str,
        *,
        session: str,
        space: Mapping[str, Any],
        direction: str,
        folder: Path,
        time_limit: float = TIME_LIMIT,
        memory_mb: int = 1024,
        require: str | None = None,
    ) -> None:
        self.source = source
        self.hello: Hello | None = None
        self.nice = 0
        self.outlived = 0
        """Deaths of the process that changed nothing, as a fresh one answered in its place; `last_death` is how."""
        self.last_death = ""
        self._require = require
        self._space, self._direction, self._session = space, direction, session
        self._folder, self._time_limit, self._memory_mb = folder, time_limit, memory_mb
        self._process: HostProcess | None = None
        self._lock = asyncio.Lock()
        self._history: list[tuple[Mapping[str, Any], int | None]] = []
        self._told = 0  # trials that the process of now has observed
        self._reported = 0  # trials whose observation the caller has been told about
        self._starts = 0

    @property
    def pid(self) -> int | None:
        """The process id of the host that runs now, None while there is none."""
        return self._process.pid if self._process is not None else None

    async def start(self) -> Hello:
        """Start the host and load the mechanism; a host that failed leaves nothing behind."""
        problems = check_source(self.source)
        if problems:
            raise LoadFailed("The mechanism does not keep to the contract: " + "; ".join(problems) + ".")
        async with self._lock:
            return await self._outlive(self._alive)

    async def observe(self, trial: Mapping[str, Any], incumbent: int | None) -> None:
        """Tell of a completed trial, and of the incumbent's number after it; also remembered for a fresh host.

        Where `observe` fails, the trial counts as told nevertheless.
        """
        self._history.append((trial, incumbent))
        async with self._lock:
            await self._outlive(self._up_to_date)

    async def call(self, hook: str, state: ViewState, args: Mapping[str, Any], trial: int, attempt: int = 0) -> Any:
        """What a hook answers, cleaned (see `contract.check_answer`); None for a hook that the mechanism lacks.

        `args`: the hook's arguments by name, as JSON. `trial`, `attempt`: the moment, which seeds `view.rng`.
        """

        async def answer() -> Any:
            hello = await self._up_to_date()
            if hook not in hello.hooks:
                return None
            answered = await self._ask(
                self._time_limit, "call", hook=hook, state=state, args=args, trial=trial, attempt=attempt
            )
            self._starts = 0
            return answered

        async with self._lock:
            answered = await self._outlive(answer)
            try:
                return check_answer(hook, answered, len(args.get("proposals", ())))
            except ContractViolation as error:
                raise WrongAnswer(f"{error}.") from None

    async def close(self) -> None:
        """End the host; it ends by itself when the socket closes, and is killed half a second later."""
        async with self._lock:
            if self._process is not None:
                self._process.wire.close()
                await self._bury(grace=0.5)

    async def _outlive(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` comes to, made once more with a fresh host where the host dies in it."""
        try:
            return await attempt()
        except HostDied as death:
            if self._starts >= MOST_STARTS:
                raise
            name = self.hello.name if self.hello is not None else source_hash(self.source)[:12]
            log.info("%s: %s The same is asked once more of a fresh host.", name, death)
            result = await attempt()
            self.outlived, self.last_death = self.outlived + 1, str(death)
            return result

    async def _up_to_date(self) -> Hello:
        hello = await self._alive()
        await self._catch_up()
        return hello

    async def _alive(self) -> Hello:
        if self._process is not None and self._process.wire.fault is not None:
            fault = self._process.wire.fault
            await self._bury()
            raise Violation(f"Between two calls the mechanism broke the protocol: {fault}.")
        if self._process is None:
            if self._starts >= MOST_STARTS:
                raise HostDied(f"Its host was started {MOST_STARTS} times without one new answer; take it out.")
            self._starts += 1
            self.hello = await self._spawn()
            self._require = self.hello.level  # one that is started again is confined no less
        assert self.hello is not None
        return self.hello

    async def _spawn(self) -> Hello:
        self._told = 0
        try:
            outside = await find_bubblewrap()
            self._process = await HostProcess.spawn(self._folder, outside, numpy_paths())
        except OSError as error:
            raise HostDied(f"Its host cannot be started: {error}.") from error
        findings = await self._confine(outside)
        loaded = await self._ask(
            self._time_limit,
            "load",
            source=self.source,
            source_hash=source_hash(self.source),
            session=self._session,
            space=self._space,
            direction=self._direction,
        )
        return await self._read_hello(findings, loaded)

    async def _confine(self, outside: Bubblewrap) -> list[Finding]:
        """Have the host confine itself, and refuse one that is confined less than was asked for."""
        wrapped = outside.program is not None
        with hail() if wrapped else nullcontext("") as name:
            setup = Setup(
                parent=os.getpid(),
                memory_mb=self._memory_mb,
                cpu_seconds=CPU_SECONDS,
                wrapped=wrapped,
                hail=name,
                readable=readable(numpy_paths()),
                private=private_folders(self._folder),
            )
            preload = "numpy" in self.source or ".rng" in self.source
            findings: list[Finding] = await self._ask(
                START_LIMIT, "setup", numpy=numpy_folder(), preload=preload, nice=self.nice, cage=setup
            )
        if not wrapped:
            findings.append(Finding(layer=BUBBLEWRAP, ok=False, detail=outside.why, fix=outside.fix))
        level = level_of(findings)
        if self._require is not None and not reaches(level, self._require):
            await self._bury()
            reasons = "; ".join(missing(findings))
            raise SandboxTooWeak(f"Its sandbox is of level {level}, and {self._require} is asked for: {reasons}.")
        return findings

    async def _read_hello(self, findings: list[Finding], loaded: Any) -> Hello:
        try:
            texts = {key: clean_text(str(loaded[key]))[:300] for key in ("name", "purpose", "source")}
            hooks = tuple(hook for hook in HOOKS if hook in loaded["hooks"])
            return Hello(level_of(findings), tuple(findings), hooks=hooks, **texts)
        except (KeyError, TypeError) as error:
            await self._bury()
            raise Violation("The mechanism answered the engine in its host's place.") from error

    async def _catch_up(self) -> None:
        """Tell the host the trials that it has not observed; what failed before fails the same way, unreported."""
        while self._told < len(self._history):
            trial, incumbent = self._history[self._told]
            failure = None
            try:
                await self._ask(self._time_limit, "observe", trial=trial, incumbent=incumbent)
            except HookFailed as error:
                failure = error
            self._told += 1
            if self._told > self._reported:
                self._reported, self._starts = self._told, 0
                if failure is not None:
                    raise failure

    async def _ask(self, limit: float, operation: str, **fields: Any) -> Any:
        """One frame and its answer. Raises MechanismError; the host lives on only after HookFailed and WrongAnswer."""
        assert self._process is not None
        what = fields.get("hook", operation)
        call = secrets.token_hex(8)
        frame = protocol.encode({"id": call, "op": operation, **protocol.tellable(fields)}, protocol.TO_HOST_LIMIT)
        try:
            async with asyncio.timeout(limit):
                reply = read_reply(await self._process.wire.ask(frame), call)
        except TimeoutError:
            await self._bury()
            raise DeadlineExceeded(f"It did not answer {what} within {limit:g} s.") from None
        except (Fault, protocol.FrameError) as error:
            output = self._process.output
            await self._bury()
            raise Violation(f"At {what} the mechanism broke the protocol: {error}.", output[-2000:]) from None
        except EOFError:
            process = self._process
            ending = await self._bury(grace=0.5)
            said = clean_text(process.output[-2000:])
            last = (
                f" ({said[-300:]})" if said and operation == "setup" else ""
            )  # what bubblewrap or Python complained of
            raise HostDied(f"Its host died at {what}: {ending}{last}.", said) from None
        except asyncio.CancelledError:
            self._process.kill()  # its answer is still to come, and would be taken for another's
            await asyncio.shield(self._bury())
            raise
        self._process.answered()
        if "error" in reply:
            await self._raise(what, reply["error"])
        return reply["ok"]

    async def _raise(self, what: str, error: Mapping[str, str]) -> None:
        message = f"{error['type']}: {clean_text(error['message'])}"
        trace = clean_text(error["trace"])
        if what == "load":
            await self._bury()
            raise LoadFailed(f"The mechanism cannot be loaded: {message}.", trace)
        if error["kind"] == "answer":
            raise WrongAnswer(f"{what} returned what is no plain data: {clean_text(error['message'])}.")
        raise HookFailed(f"{what} raised {message}.", trace)

    async def _bury(self, grace: float = 0.0) -> str:
        process, self._process = self._process, None
        return await process.bury(grace) if process is not None else ""
