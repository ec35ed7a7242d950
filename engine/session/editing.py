"""A person's changes to modules' files: read with care, validated again, let in in the elder's place as theirs.

What a person wrote waits for no approval. Of two changes to one file the later counts, and a veto or a revert while a
change is validated is the person's last word on that as well.
"""

import asyncio
import errno
import logging
import os
import stat
from dataclasses import dataclass

from msgspec.structs import replace

from engine.errors import BilevelError
from engine.levels.course import Course
from engine.record.events import CommandApplied, InjectionDecided, MechanismWritten, Noted
from engine.record.journal import Journal
from engine.record.store import blob_hash
from engine.record.view import Mechanism
from engine.session.workshop import Workshop

log = logging.getLogger(__name__)
LARGEST_FILE = 2**20
"""Bytes of a module's file, ten times what a source may have."""


class NotTaken(BilevelError):
    """A change that cannot be taken over; the sentence says why."""


class Missing(NotTaken):
    """There is no such file, or not at this moment: some editors take the old one away first."""


@dataclass
class Edit:
    """A change that is being validated."""

    digest: str
    task: asyncio.Task[None]


class Editing:
    """Takes over what a person changed in the files of one session's modules."""

    def __init__(self, journal: Journal, workshop: Workshop, course: Course) -> None:
        self.journal = journal
        self.workshop = workshop
        self.course = course
        self._edits: dict[str, Edit] = {}
        """By path, until the change is let in or refused."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._seen: dict[str, str] = {}
        """By path: the hash of what was last found there, or why it could not be read."""
        self._refused: dict[str, tuple[int, str]] = {}
        """By hash: after which trial a change was refused, and why."""

    # --- which, and when ----------------------------------------------------------------------------------------------
    def standing(self) -> dict[str, Mechanism]:
        """What a person may edit, by path: what is active, waits, is tested, or comes in at the next boundary."""
        view = self.journal.view
        known = [view.mechanisms[digest] for digest in view.active]
        known += [view.mechanisms[view.waiting.hash]] if view.waiting else []
        research = self.course.under_way()
        written = self.course.written(research.number) if research else None
        known += [written] if written is not None and written.status == "written" else []
        known += [mechanism for mechanism in view.mechanisms.values() if mechanism.status == "approved"]
        return {mechanism.path: mechanism for mechanism in known}

    async def take(self, path: str) -> str:
        """Take the file's content over, as a person asks; what is done with it. Raises NotTaken."""
        source = await asyncio.to_thread(read_module, path)
        digest = self._seen[path] = blob_hash(source.encode())
        edit, elder = self._edits.get(path), self.standing().get(path)
        if elder is None:
            raise NotTaken(f"what {path} held is not active any more, nor does it wait")
        if edit is not None and edit.digest == digest:
            return f"the change to {path} was noticed, and is being validated"
        if edit is None and elder.hash == digest:
            return f"{path} is unchanged: {elder.name} is {elder.status} with exactly this source"
        after, problem = self._refused.get(digest, (None, ""))
        if after == self.journal.view.completed:  # over more trials its rehearsal might come out differently
            raise NotTaken(f"{path} was refused as it is: {problem}")
        await self._begin(path, source)
        return f"{path} is validated now; what comes of it is in the record"

    async def notice(self, path: str) -> None:
        """Take the file's content over if a person changed it; the same content is not tried twice."""
        known = self.journal.view.mechanisms
        if path not in self.standing():
            return
        try:
            source = await asyncio.to_thread(read_module, path)
        except Missing:
            return
        except NotTaken as error:
            if self._seen.get(path) != str(error):
                self._seen[path] = str(error)
                await self.journal.record(Noted(severity="warning", text=f"a change is not taken over: {error}"))
            return
        if not source.strip():
            return  # it is being saved
        digest = blob_hash(source.encode())
        before, self._seen[path] = self._seen.get(path), digest
        # At the first look what the record knows was tried, unless an engine ended while it was being validated.
        tried = before is None and digest in known and known[digest].status != "written"
        elder = self.standing().get(path)
        if elder is None or digest == before or tried or (elder.hash == digest and path not in self._edits):
            return
        detail = f"a change to {path} was noticed; it is validated now"
        await self.journal.record(CommandApplied(command="edit", args={"name": elder.name}, detail=detail))
        await self._begin(path, source)

    async def drop(self, path: str, reason: str) -> bool:
        """Give up a change to this file that is being validated; whether there was one."""
        edit = self._edits.pop(path, None)
        if edit is None:
            return False
        edit.task.cancel()
        await asyncio.wait([edit.task])
        known = self.journal.view.mechanisms.get(edit.digest)
        if known is not None and known.status == "written":
            await self.journal.record(_decided(known, "refused", reason))
        return True

    async def close(self) -> None:
        """End what is still being validated."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- from a change to a mechanism ---------------------------------------------------------------------------------
    async def _begin(self, path: str, source: str) -> None:
        """Validate in the background: it waits for the machine where trainings use it too."""
        while path in self._edits:
            await self.drop(path, "a person changed it again")
        elder, digest = self.standing().get(path), blob_hash(source.encode())
        if elder is None or elder.hash == digest:
            return
        view = self.journal.view
        if digest in view.active and view.mechanisms[digest].path == path:  # before the heir came in, as it was
            await self.journal.record(_decided(elder, "refused", "a person changed it back"))
            return
        task = asyncio.create_task(self._validated(elder, source))
        self._edits[path] = Edit(digest, task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _validated(self, elder: Mechanism, source: str) -> None:
        """`_replace`, whose failure is said rather than lost."""
        task = asyncio.current_task()
        try:
            await self._replace(elder, source)
        except Exception as error:
            log.exception("%s could not be validated", elder.path)
            text = f"{elder.path}, as a person edited it, could not be validated: {error}"
            await self.journal.record(Noted(severity="error", text=text))
        finally:
            if elder.path in self._edits and self._edits[elder.path].task is task:
                del self._edits[elder.path]

    async def _replace(self, elder: Mechanism, source: str) -> None:
        """Validate a person's version of a module, and let it in in the elder's place."""
        written = MechanismWritten(
            hash=blob_hash(source.encode()),
            name=elder.name,
            purpose=elder.purpose,
            source=elder.source,
            written_by="person",
            path=elder.path,
            research=elder.research,
            replaces=elder.hash if elder.status in ("active", "approved") else elder.replaces,
            derived_from=elder.hash,
        )
        await self.journal.record(written, blobs=[source.encode()])
        problems = await self.workshop.test(written, source)
        if problems:
            self._refused[written.hash] = self.journal.view.completed, problems[0]
            text = f"{elder.path}, as a person edited it, was refused: {problems[0]}"
            await self.journal.record(Noted(severity="warning", text=text))
            return
        self._edits.pop(elder.path, None)  # tested: from here on it cannot be dropped halfway
        await self._let_in(elder, written)

    async def _let_in(self, elder: Mechanism, written: MechanismWritten) -> None:
        """In the elder's place, wherever that has come to by now: written, waiting, let in, or turned away."""
        research = self.course.under_way()
        in_work = research is not None and elder.research == research.number
        if research is not None and in_work and elder.status in ("written", "refused"):
            await self.course.call_off(research, f"a person's change to {elder.name} takes its place")
        approved = _decided(written, "approved", "a person wrote it")
        replaced = f"a person's edit {written.hash[:6]} takes its place"
        if await self.workshop.settle(_decided(elder, "refused", replaced), approved):
            return
        if elder.status in ("active", "approved") and written.replaces != elder.hash:
            await self.journal.record(replace(written, replaces=elder.hash))
        await self.journal.record(approved)


def _decided(module: Mechanism | MechanismWritten, decision: str, reason: str) -> InjectionDecided:
    """A person's decision."""
    told = {"hash": module.hash, "name": module.name, "by": "person", "reason": reason}
    return InjectionDecided(decision=decision, **told)  # type: ignore[arg-type]


def read_module(path: str) -> str:
    """The text of a module's file, whatever lies there by now. Raises NotTaken; never waits for a writer."""
    try:
        body = _content(path)
    except FileNotFoundError:
        raise Missing(f"{path} is not there") from None
    except OSError as error:
        why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise NotTaken(f"{path} cannot be read: {why}") from None
    if body is None:
        raise NotTaken(f"{path} cannot be read: it is no ordinary file")
    if len(body) > LARGEST_FILE:
        raise NotTaken(f"{path} is larger than {LARGEST_FILE // 1024} KB: no mechanism is")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotTaken(f"{path} is no UTF-8 text: see byte {error.start}") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _content(path: str) -> bytes | None:
    """What an ordinary file holds, up to a byte more than is allowed; None for anything else."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(LARGEST_FILE + 1)
