"""What Level 2 is told of earlier sessions: the mechanisms that did most, with their source, and those that failed.

All of it was written by others in other sessions: data, fenced so that no text of it can end its block.
"""

import json
import logging
import re
from dataclasses import dataclass, field
from typing import Any

import msgspec

from engine.levels.briefing import rounded
from engine.levels.protocols import Journal
from engine.model.answers import AnswerError, SpecifyAnswer
from engine.model.blocks import fenced
from engine.model.prompts import render
from engine.record.archive import Archived, best_mechanisms, decode, failed_mechanisms
from engine.record.legacy import Tally
from engine.record.schema import RecordError

log = logging.getLogger(__name__)
LARGEST_SHOWN = 12_000
"""Characters of a source that a prompt has room for; a longer one is told of without it."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True)
class Earlier:
    """The mechanisms of earlier sessions: the best first. `sources` holds those that are shown, by hash."""

    best: list[Archived] = field(default_factory=list)
    failed: list[Archived] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)

    def hash_of(self, specified: SpecifyAnswer) -> str | None:
        """The hash of the archived mechanism that a specification builds on, None for none."""
        named = (known.deed for known in self.best if known.deed.hash in self.sources)
        return next((deed.hash for deed in named if deed.name == specified.builds_on), None)

    def check(self, specified: SpecifyAnswer) -> None:
        """Raises AnswerError where a specification builds on what was not shown."""
        if specified.builds_on is not None and self.hash_of(specified) is None:
            names = ", ".join(known.deed.name for known in self.best if known.deed.hash in self.sources)
            raise AnswerError(
                f"builds_on is null or an archived mechanism with its source; archived: {names or 'none'}"
            )


async def earlier_mechanisms(journal: Journal) -> Earlier:
    """What this session took over. What the record has lost is left out: no research fails for it."""
    read = journal.view.archive
    if read is None:
        return Earlier()
    try:
        archive = decode(await journal.blob(read.archive_blob))
    except (RecordError, msgspec.DecodeError) as error:
        log.warning("the archive of earlier sessions cannot be read: %s", error)
        return Earlier()
    best = best_mechanisms(archive)
    sources = {}
    for known in best:
        source = await _source(journal, known)
        if source is not None:
            sources[known.deed.hash] = source
    return Earlier(best, failed_mechanisms(archive), sources)


def earlier_section(earlier: Earlier) -> str:
    """The prompt's part on earlier sessions; empty where there is nothing to tell."""
    told = [_told(known) for known in (*earlier.best, *earlier.failed)]
    if not told:
        return ""
    lines = "\n".join(json.dumps(line, ensure_ascii=False) for line in told)
    blocks = [
        fenced(f"python archived {known.deed.name}", earlier.sources[known.deed.hash])
        for known in earlier.best
        if known.deed.hash in earlier.sources
    ]
    return render("earlier", archive=lines, sources="\n".join(blocks))


async def _source(journal: Journal, known: Archived) -> str | None:
    if not _NAME.fullmatch(known.deed.name):
        return None
    try:
        source = (await journal.blob(known.deed.hash)).decode("utf-8")
    except (RecordError, UnicodeDecodeError) as error:
        log.warning("the source of the archived %s cannot be read: %s", known.deed.name, error)
        return None
    return source if len(source) <= LARGEST_SHOWN else None


def _told(known: Archived) -> dict[str, Any]:
    deed = known.deed
    told: dict[str, Any] = {"name": deed.name, "purpose": deed.purpose, "source": deed.source}
    told |= {"outcome": "failed", "reason": known.failed} if known.failed else {"outcome": "worked"}
    told |= {"sessions": list(known.sessions), "written_by": deed.written_by}
    if known.elder is not None:
        told["derived_from"] = known.elder
    told |= {"rehearsal": deed.evidence, "called": known.called, "acted": known.acted}
    if known.touched.trials:
        told |= {"touched": _tally(known.touched), "others": _tally(known.others), "effect": rounded(known.effect)}
    return told


def _tally(tally: Tally) -> dict[str, Any]:
    return {"trials": tally.trials, "kept": tally.kept, "improvement": rounded(tally.improvement)}
