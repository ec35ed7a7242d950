"""Level 2 over a search without a trainer, commanded by a person; a mechanism in a file that is watched; slow writes.

async with level2(tmp_path, approval="ask") as told:
    research = told.begin(source)
    answer = await told.order("veto")
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fast_sessions import events, until
from searches import Search, mechanism, search
from test_research import BLOCKS, EXPLORED, SAID, critique, fenced, trained

from engine.control import Answer, Command
from engine.levels.research import Researcher
from engine.record import events as ev
from engine.session.commands import Commands
from engine.session.editing import Editing
from engine.session.watching import Watching, _mark

GUARD = mechanism("guard", BLOCKS)
OTHER = GUARD.replace("'no'", "'never'")
THIRD = GUARD.replace("'no'", "'not once'")
SLOW = GUARD.replace("        return", "        import time; time.sleep(4); return")


class Level2:
    """Level 2 over a search, with what a person commands it by."""

    def __init__(self, s: Search) -> None:
        self.s = s
        self.researcher = Researcher(s.journal, s.asker, s.workshop)
        self.editing = Editing(s.journal, s.workshop, self.researcher.course)
        self.commands = Commands(
            s.journal,
            s.boundary,
            s.runs,  # type: ignore[arg-type]
            s.workshop,
            self.researcher.course,
            self.editing,
        )

    def begin(self, source: str, decided: str = "", name: str = "probe") -> "asyncio.Task[str]":
        """A research that comes to this module, a new one if `decided` does not say otherwise."""
        answers = self.s.model.by_purpose
        answers["explore"], answers["critique"] = [EXPLORED], [decided or critique(pick="tabu")]
        answers["specify"] = [json.dumps({"name": name, **SAID})]
        answers["generate"] = [fenced(source)]
        return asyncio.create_task(self.researcher.research())

    async def order(self, command: str, **args: Any) -> Answer:
        return await self.commands.handle(Command(command, args, "person"))


@asynccontextmanager
async def level2(folder: Path, **settings: Any) -> AsyncIterator[Level2]:
    async with search(folder, unsafe=True, **settings) as s:
        await trained(s)
        told = Level2(s)
        yield told
        await told.editing.close()


class Held:
    """Holds back the first event for which `which` is true on its way to the disk, until `go` is set."""

    def __init__(self, s: Search, which: Callable[[ev.Event], bool]) -> None:
        self.arrived, self.go = asyncio.Event(), asyncio.Event()
        append = s.journal.store.append

        async def held(session: str, given: Sequence[ev.Event], blobs: Sequence[bytes] = ()) -> Any:
            if not self.arrived.is_set() and any(which(event) for event in given):
                self.arrived.set()
                await self.go.wait()
            return await append(session, given, blobs)

        s.journal.store.append = held  # type: ignore[method-assign]


def decisions(s: Search) -> list[tuple[str, str]]:
    return [(e.decision, e.by) for e in events(s.journal.store.path, "s1", "injection_decided")]


# --- a file that is watched ----------------------------------------------------------------------------------------
def by_rename(path: Path, text: str) -> None:
    """As editors do that write beside the file and rename over it."""
    beside = path.with_name(f".{path.name}.swp")
    beside.write_text(text)
    beside.replace(path)


def in_place(path: Path, text: str) -> None:
    """As editors do that empty the file and write it anew, here in two pieces."""
    with path.open("w") as file:
        file.write(text[:20])
        file.flush()
        file.write(text[20:])


class Edited(Level2):
    """A search with an active mechanism in a file, its folder watched."""

    path: Path
    elder: str
    watch: Watching

    async def let_in(self) -> None:
        """The module that the file is then about, active."""
        self.path = Path(self.s.workshop.save("guard", GUARD))
        await self.written(GUARD)
        decided = ev.InjectionDecided(hash=self.elder, name="guard", decision="approved", by="auto")
        await self.s.journal.record(decided)
        await self.s.boundary.inject()

    async def written(self, source: str) -> ev.MechanismWritten:
        event, _ = self.s.written("guard", source)
        self.elder = event.hash
        event = ev.MechanismWritten(event.hash, "guard", "It tests.", "own", "model", str(self.path), 1)
        validated = ev.MechanismValidated(hash=event.hash, name="guard", evidence={"sandbox": "C"})
        await self.s.journal.record(event, validated, blobs=[source.encode()])
        return event

    def status(self, source: str) -> str | None:
        """What has become of a source; None while it was not seen."""
        known = self.s.view.mechanisms.get(self.s.written("guard", source)[0].hash)
        return known.status if known is not None else None

    async def becomes(self, source: str, status: str) -> None:
        await until(lambda: self.status(source) == status)

    async def looked(self) -> None:
        """The watch has seen the file as it is now."""
        await until(lambda: self.watch._marks.get(str(self.path), ()) == _mark(self.path))

    def told(self, kind: str) -> list[str]:
        """The texts of the notes, or the details of the commands, in the record."""
        found = events(self.s.journal.store.path, "s1", kind)
        return [event.text if isinstance(event, ev.Noted) else event.detail for event in found]


@asynccontextmanager
async def edited(folder: Path) -> AsyncIterator[Edited]:
    """As above; the folder is watched by the time the test begins."""
    async with level2(folder, approval="ask") as plain:
        told = Edited(plain.s)
        await told.let_in()
        told.watch = Watching(told.s.journal, told.s.workshop.folder, told.editing)
        task = asyncio.create_task(told.watch.run())
        await told.looked()
        yield told
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def validating(told: Edited, source: str) -> None:
    """The source is saved, noticed, and in its rehearsal."""
    by_rename(told.path, source)
    await until(lambda: told.status(source) == "written" and any(told.s.workshop.hosts.glob("*/room")))
