"""Mutants of the shipped mechanisms, let loose on a search: none harms it, each ends in an event that names it.

A mutant goes the way of everything that Level 2 writes: its source is recorded, the workshop validates and rehearses it
on the history so far, `auto` lets it in where it is valid, the next boundary activates it, and the search goes on with
it. Record, hosts, sandbox, chain, Level 1 and the stand-in are real; the training runs are not.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import read_view
from mutations import Mutant, mutant
from searches import SPACE, Search, search

from engine.mechanism.process import HostProcess
from engine.mechanism.source_check import check_source
from engine.model.offline import OfflineModel
from engine.record.events import Event
from engine.record.reader import Reader

MUTANTS = range(500)
SAMPLE = range(0, 450, 15)
SOME_ENDS = {"the source", "exception", "active"}
ALL_ENDS = SOME_ENDS | {
    "load",
    "answer",
    "deadline",
    "died",
    "violation",
    "inert",
    "the rehearsal",
    "failing",
    "reverted",
}
"""How mutants end: refused for their source or for what came of a rehearsal, or let in, with what came of that."""
A_SEARCH = 10
"""Mutants that one search sees, one after the other."""
AT_ONCE = 2
"""Searches that run at a time."""
RECORDED, TRIALS = 8, 4
"""Trials before the first mutant, and with each that was let in: three failures in a row and one trial more."""
LIMIT = 1.0
"""Seconds that a call may take here; the mutants are many, and a sound call takes milliseconds."""
GROWTH = 32 * 2**20
"""Bytes by which the engine may grow over all mutants, some of which answer, print or raise many megabytes."""


@pytest.mark.parametrize(
    ("seeds", "ends"),
    [(SAMPLE, SOME_ENDS), pytest.param(MUTANTS, ALL_ENDS, marks=pytest.mark.long)],
    ids=["sample", "long"],
)
async def test_no_mutant_harms_the_search_and_each_ends_in_an_event_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seeds: Sequence[int], ends: set[str]
) -> None:
    spawned = pids_of_hosts(monkeypatch)
    room = asyncio.Semaphore(AT_ONCE)

    async def lived_through(folder: Path, some: Sequence[int]) -> Counter[str]:
        async with room:
            await asyncio.to_thread(folder.mkdir)
            return await one_search(folder, some)

    groups = [seeds[at : at + A_SEARCH] for at in range(0, len(seeds), A_SEARCH)]
    before = resident()
    async with asyncio.TaskGroup() as all_of_them:
        searches = [
            all_of_them.create_task(lived_through(tmp_path / str(index), group)) for index, group in enumerate(groups)
        ]
    assert resident() - before < GROWTH
    assert left(spawned) == []

    outcomes = sum((search.result() for search in searches), Counter())
    assert outcomes.total() == len(seeds)
    assert ends <= set(outcomes), outcomes


async def one_search(folder: Path, seeds: Sequence[int]) -> Counter[str]:
    """A search that lives through these mutants, one after the other; how they ended."""
    outcomes: Counter[str] = Counter()
    async with search(folder, approval="auto", unsafe=True) as s:
        s.asker.model = OfflineModel()
        s.workshop.time_limit = LIMIT
        draw = random.Random(seeds[0])
        s.runs.metrics = [draw.choice([4.5, 4.2, 3.9, 3.7, None]) for _ in range(1000)]
        await s.go(RECORDED)
        for seed in seeds:
            one = mutant(seed, s.view.completed)
            try:
                outcomes[await end_of(s, one)] += 1
                check_sane(s, folder)
            except BaseException as error:
                error.add_note(f"with mutant {seed}: {one.name} by {one.mutation}")
                raise
    with Reader(folder / "sessions.db") as reader:
        assert reader.verify("s1") == s.view.seq
    assert list(read_view(folder / "sessions.db").history) == list(s.view.history)
    return outcomes


async def end_of(s: Search, one: Mutant) -> str:
    """Validate a mutant, let it in and search with it; how it ended, as an event tells that names it."""
    before, completed = s.view.seq, s.view.completed
    written, source = s.written(one.name, one.source)
    await s.journal.record(written, blobs=[source.encode()])
    problems = await s.workshop.test(written, source)
    told = told_of(s, written.hash, before)
    assert [event.problems for event in told if type(event).__name__ == "MechanismValidated"] == [problems]
    if problems:
        await s.go(1)
        assert (s.view.completed, s.view.active) == (completed + 1, [])
        return "the source" if check_source(source) else kind_of_problem(problems[0])

    assert await s.workshop.let_in(written, source) == "approved"
    await s.go(TRIALS)
    assert s.view.completed == completed + TRIALS
    known = s.view.mechanisms[written.hash]
    kinds = Counter(type(event).__name__ for event in told_of(s, written.hash, before))
    assert kinds["MechanismActivated"] == 1 and kinds["MechanismCalls"] >= 1
    if known.status == "active":
        await s.workshop.retire(known, "the next one has its turn")
        await s.boundary.inject()
        return "failing" if kinds["MechanismFailed"] else "active"
    assert kinds["MechanismFailed"] == 3 and kinds["MechanismDeactivated"] == 1, kinds
    return known.status


def told_of(s: Search, digest: str, after: int) -> list[Any]:
    """The events since then that name a mechanism by its hash."""

    def names(event: Event) -> bool:
        return getattr(event, "hash", None) == digest or digest in getattr(event, "calls", {})

    with Reader(s.journal.store.path) as reader:
        return [row.event for row in reader.events("s1") if row.seq > after and names(row.event)]


def kind_of_problem(problem: str) -> str:
    """The kind of failure that a problem tells of, or what the rehearsal found."""
    kind = problem.partition(":")[0]
    failures = ("load", "exception", "answer", "deadline", "died", "violation", "sandbox", "inert")
    return kind if kind in failures else "the rehearsal"


def check_sane(s: Search, folder: Path) -> None:
    """The incumbent and every configuration are such as the space allows, and no host is left."""
    history = s.view.history
    leading = history.trials[history.incumbent]
    assert leading.metric is not None and history.best is not None
    assert history.best.metric == min(trial.metric for trial in history if trial.metric is not None)
    for trial in history:
        changes = {name: value for name, value in trial.config.items() if value != SPACE.initial[name]}
        assert not changes or SPACE.check(changes, SPACE.initial) is None, trial
    assert s.view.active == [] and s.view.waiting is None
    assert list((folder / "hosts").iterdir()) == []


def pids_of_hosts(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The process ids of all hosts that are spawned from now on; each is also its session's and its group's."""
    pids: set[int] = set()
    spawn = HostProcess.spawn

    async def noting(*args: Any) -> HostProcess:
        process = await spawn(*args)
        pids.add(process.pid)
        return process

    monkeypatch.setattr(HostProcess, "spawn", noting)
    return pids


def left(pids: set[int]) -> list[str]:
    """The processes that are one of these, were started by one, or share a group or a session with one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue  # it ended meanwhile
        parent, group, session = map(int, stat.rpartition(")")[2].split()[1:4])
        if {int(folder.name), parent, group, session} & pids:
            found.append(stat)
    return found


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
