"""The archive: what earlier sessions of the same kind of target leave to a new one.

There is no second store. When a session begins, the earlier ones of its database are folded, and what each left is
kept as one blob with the event ArchiveRead; from then on this session knows that moment alone, in a resume and in a
replay as well. A session that was pruned lives on in the archives of those that had read it.

A session that cannot be read is passed over, with a sentence that says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import msgspec

from engine.errors import BilevelError
from engine.record.events import ArchiveRead, Event, SessionCreated
from engine.record.findings import findings
from engine.record.legacy import KINDS, Deed, Legacy, Tally, comparable, conditions, kind_of_target, legacy_of, one_line
from engine.record.reader import Reader
from engine.record.schema import blob_hash
from engine.record.settings import replayed
from engine.record.view import View, fold
from engine.search.parameters import Config, space_to_json

MOST_SESSIONS = 100
"""The newest ones that are read."""
MOST_TRIALS = 1000
"""Comparable trials that an archive keeps, those of the newest sessions."""
BEST = 3
"""Mechanisms that are shown with their source."""
FAILED = 8
"""Mechanisms that are shown as failed, the newest ones."""
KEPT_SOURCES = 12
"""Mechanisms whose source outlives their session."""
ENOUGH = 3
"""Trials that a mechanism touched without an effect, after which it counts as failed."""


class Archive(msgspec.Struct, frozen=True):
    """What earlier sessions left, the oldest first; `conditions` are those of the session that took it over."""

    legacies: list[Legacy]
    conditions: str


@dataclass(frozen=True)
class Archived:
    """A mechanism, by its source, over all sessions in which it was written; `deed` is that of the newest.

    `elder` says what it was derived from, by name and first session, where the archive knows it.
    """

    deed: Deed
    sessions: tuple[str, ...]
    called: int
    acted: int
    touched: Tally
    others: Tally
    elder: str | None

    @property
    def effect(self) -> float | None:
        """The improvement a trial that it touched, less that of the others (metric's unit); None if not measured."""
        if not self.touched.trials or not self.others.trials:
            return None
        return self.touched.improvement / self.touched.trials - self.others.improvement / self.others.trials

    @property
    def failed(self) -> str:
        """Why it is not worth another try as it is, empty where it may be."""
        if self.deed.failed:
            return self.deed.failed
        idle = self.effect is not None and self.effect <= 0 and self.touched.trials >= ENOUGH
        return "the trials that it touched improved no more than the others" if idle else ""


# --- reading ----------------------------------------------------------------------------------------------------------
def take_over(db: Path, new: View) -> tuple[list[Event], list[bytes], list[str]]:
    """What a new session takes over: the event that records it (none: nothing is there), its blob, what went wrong.

    `new` is the view of the session, created and no more. One that plays a session's answers back begins with what that
    one began with.
    """
    chosen = new.settings.archive
    if chosen == "none":
        return [], [], []
    try:
        with Reader(db) as reader:
            session = replayed(new.settings.model)
            if session is not None:
                legacies, notes = _replayed(reader, session)
            else:
                legacies, notes = _gathered(reader, new)
    except (BilevelError, msgspec.DecodeError) as error:
        return [], [], [f"nothing was taken over from earlier sessions: {error}"]
    archive = _chosen(Archive(legacies, conditions(new)), chosen)
    event, blob = _recorded(archive, new)
    return ([event], [blob], notes) if event.mechanisms or event.findings or _trials(archive) else ([], [], notes)


def decode(blob: bytes) -> Archive:
    """The archive that a session took over. Raises msgspec.DecodeError."""
    return msgspec.json.decode(blob, type=Archive)


def comparable_trials(archive: Archive) -> list[tuple[Config, float]]:
    """Trials of earlier sessions whose metrics compare with this one's, the oldest first."""
    return comparable(archive.legacies, archive.conditions)


def archive_line(view: View) -> str | None:
    """A line for a person that says what was taken over; None where nothing was."""
    read = view.archive
    if read is None:
        return None
    count = f"{len(read.sessions)} earlier session{'s' if len(read.sessions) != 1 else ''}"
    return f"archive    {read.mechanisms} mechanisms and {len(read.findings)} findings of {count}"


def _gathered(reader: Reader, new: View) -> tuple[list[Legacy], list[str]]:
    """The legacies of this database, of sessions that are there and of those that live on in an archive."""
    wanted = kind_of_target(new.target, space_to_json(new.space)["parameters"])
    found: dict[tuple[str, float], Legacy] = {}
    inherited: dict[tuple[str, float], Legacy] = {}
    notes: list[str] = []
    rows = reader.sessions()
    there = {row.id for row in rows}
    for row in rows:  # the newest first
        if len(found) == MOST_SESSIONS:
            break
        try:
            if row.id == new.session or _kind(reader, row.id) != wanted:
                continue
            view = fold((each.seq, each.time, each.event) for each in reader.events(row.id, kinds=KINDS))
            found[row.id, view.created] = legacy_of(view)
            if view.archive is None or there.issuperset(view.archive.sessions):
                continue  # each of them is read itself
            for legacy in _inherited(reader, view):
                known = inherited.setdefault((legacy.session, legacy.created), legacy)
                if legacy.fullness > known.fullness:
                    inherited[legacy.session, legacy.created] = legacy
        except Exception as error:  # whatever its record holds, it is no ground for a new session to fail
            kind = "" if isinstance(error, BilevelError) else f"{type(error).__name__}: "
            notes.append(one_line(f"session {row.id} was not read whole, as an earlier one: {kind}{error}"))
    everything = sorted({**inherited, **found}.values(), key=lambda legacy: (legacy.created, legacy.session))
    return everything[-MOST_SESSIONS:], notes


def _kind(reader: Reader, session: str) -> str | None:
    row = next(reader.events(session, kinds=["session_created"], limit=1), None)
    event = row.event if row is not None else None
    return kind_of_target(event.target, event.space["parameters"]) if isinstance(event, SessionCreated) else None


def _inherited(reader: Reader, view: View) -> list[Legacy]:
    return decode(reader.blob(view.archive.archive_blob)).legacies if view.archive is not None else []


def _replayed(reader: Reader, session: str) -> tuple[list[Legacy], list[str]]:
    rows = reader.events(reader.resolve(session), kinds=["archive_read"])
    return _inherited(reader, fold((row.seq, row.time, row.event) for row in rows)), []


def _chosen(archive: Archive, chosen: str) -> Archive:
    """What the settings want of it. Trials are kept where they compare alone, those of the newest sessions."""
    left, legacies = MOST_TRIALS, []
    for legacy in reversed(archive.legacies):
        wanted = chosen != "mechanisms" and legacy.conditions == archive.conditions
        trials = legacy.trials[:left] if wanted else []
        left -= len(trials)
        deeds = [] if chosen == "findings" else legacy.deeds
        steps = {} if chosen == "mechanisms" else legacy.steps
        legacies.append(msgspec.structs.replace(legacy, deeds=deeds, steps=steps, trials=trials))
    return Archive(legacies[::-1], archive.conditions)


def _trials(archive: Archive) -> bool:
    return any(legacy.trials for legacy in archive.legacies)


def _recorded(archive: Archive, new: View) -> tuple[ArchiveRead, bytes]:
    blob = msgspec.json.encode(archive)
    advice = findings(archive.legacies, archive.conditions, list(new.space.parameters), new.history.direction)
    event = ArchiveRead(
        archive_blob=blob_hash(blob),
        mechanisms=sum(bool(known.acted or known.failed) for known in mechanisms(archive)),
        findings=advice,
        sessions=[legacy.session for legacy in archive.legacies],
        sources=[known.deed.hash for known in best_mechanisms(archive, KEPT_SOURCES)],
    )
    return event, blob


# --- mechanisms over sessions -----------------------------------------------------------------------------------------
def mechanisms(archive: Archive) -> list[Archived]:
    """Every mechanism once, by its source; those of the newest sessions come last."""
    deeds: dict[str, list[tuple[str, Deed]]] = {}
    for legacy in archive.legacies:
        for deed in legacy.deeds:
            deeds.setdefault(deed.hash, []).append((legacy.session, deed))
            deeds[deed.hash] = deeds.pop(deed.hash)
    names = {digest: f"{told[-1][1].name} of session {told[0][0]}" for digest, told in deeds.items()}
    return [_archived(told, names) for told in deeds.values()]


def _archived(told: Sequence[tuple[str, Deed]], names: dict[str, str]) -> Archived:
    newest = told[-1][1]
    elders = [deed.derived_from for _, deed in told if deed.derived_from is not None]
    return Archived(
        deed=newest,
        sessions=tuple(session for session, _ in told),
        called=sum(deed.called for _, deed in told),
        acted=sum(deed.acted for _, deed in told),
        touched=reduce(Tally.__add__, (deed.touched for _, deed in told)),
        others=reduce(Tally.__add__, (deed.others for _, deed in told)),
        elder=names.get(elders[-1]) if elders else None,
    )


def best_mechanisms(archive: Archive, most: int = BEST) -> list[Archived]:
    """Those that acted to the good, one of each name, by measured effect; those not measured come last."""
    able = [known for known in mechanisms(archive) if known.acted and not known.failed]
    worth = [known for known in able if known.effect is None or known.effect > 0]
    worth.sort(key=lambda known: (known.effect is None, -(known.effect or 0.0)))
    by_name: dict[str, Archived] = {}
    for known in worth:
        by_name.setdefault(known.deed.name, known)
    return list(by_name.values())[:most]


def failed_mechanisms(archive: Archive, most: int = FAILED) -> list[Archived]:
    """Those that came to nothing, the newest first."""
    return [known for known in mechanisms(archive)[::-1] if known.failed][:most]
