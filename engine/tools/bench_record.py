"""A record of a long session that never ran, for measurements: written fast, through the real schema and hash chain.

What is in it looks like a search over the published task: every trial with its proposals, calls of the model, progress
twice a second and a loss curve; a decision of Level 1.5 every five trials, a research and a mechanism every ten. The
numbers come from a generator with a fixed seed, so a session of a given size is the same everywhere but for its hashes.
"""

import contextlib
import hashlib
import math
import random
import sqlite3
from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from engine.record import events as ev
from engine.record.creation import prepare
from engine.record.schema import GENESIS, chain_hash
from engine.search.parameters import Config, Parameter, Space, space_to_json

SESSION = "20261121-0310-large-otter"
BEGAN = 1_795_000_000.0
"""Unix time of the first event."""
PROGRESS_SECONDS = 0.5
_BATCH = 20_000
_CURVE = [(round(point / 63, 4), 0.0) for point in range(64)]
_RATES = {"EMBEDDING_LR": 0.6, "MATRIX_LR": 0.04, "SCALAR_LR": 0.5, "WEIGHT_DECAY": 0.2}
_SPACE = Space(
    {
        "TOTAL_BATCH_SIZE": Parameter("TOTAL_BATCH_SIZE", "int", 524288, low=4096, high=2**21, log=True),
        **{
            name: Parameter(name, "float", value, low=value / 100, high=value * 10, log=True)
            for name, value in _RATES.items()
        },
        "DEPTH": Parameter("DEPTH", "int", 8, low=1, high=24, locked=True),
    }
)
_MODULE = '''\
"""Keeps the search from what it tried before."""

from collections import deque


class Mechanism:
    name = "tabu_search"
    purpose = "avoid repeats"
    source = "Glover 1986"

    def __init__(self):
        self.tried = deque(maxlen=LONGEST)

    def observe(self, view, trial):
        self.tried.append(dict(trial.config))

    def review(self, view, proposal):
        changed = {**view.trials[-1].config, **proposal["changes"]}
        for config in self.tried:
            if all(abs(config[name] - value) <= 0.01 * abs(value) for name, value in changed.items()):
                return {"block": "it was tried before"}
        return None
'''
_Timed = tuple[float, ev.Event]


def write_session(db: Path, events: int = 1_000_000, trials: int = 1_600) -> int:
    """Write the session into a new record at `db`; how many events it has: about `events`, at least 20 a trial.

    Takes about 10 s a million. Nothing is synced: a record for a measurement need not outlast a power failure.
    """
    hold, _ = prepare(db)
    hold.close()
    steps = max(1, round((events - 15 * trials) / (trials + 3)))
    with contextlib.closing(sqlite3.connect(db, isolation_level=None)) as connection:
        for setting in ("synchronous = OFF", "journal_mode = WAL"):
            connection.execute(f"PRAGMA {setting}").fetchall()
        return _write(connection, session_events(trials, steps))


def _write(connection: sqlite3.Connection, told: Iterator[_Timed]) -> int:
    seq, digest = 0, GENESIS
    while batch := list(islice(told, _BATCH)):
        rows = []
        for time, event in batch:
            seq += 1
            kind, body = ev.kind_of(event), ev.encode(event).decode()
            digest = chain_hash(digest, SESSION, seq, time, kind, ev.SCHEMA, body)
            rows.append((SESSION, seq, time, kind, body, ev.SCHEMA, digest))
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
        connection.execute("COMMIT")
    return seq


class _Teller:
    """The events of the session and the clock that they are told by."""

    def __init__(self, trials: int, steps: int) -> None:
        self.random = random.Random(0)
        self.time, self.trials, self.steps = BEGAN, trials, steps
        self.config: Config = _SPACE.initial
        self.best, self.incumbent = 1.0, 0
        self.active: str | None = None

    def at(self, seconds: float, event: ev.Event) -> _Timed:
        self.time += seconds
        return self.time, event


def session_events(trials: int, steps: int) -> Iterator[_Timed]:
    """The session's events with their Unix times: each trial reports its progress so many times."""
    teller = _Teller(trials, steps)
    yield teller.at(0.0, _created(trials))
    yield teller.at(0.1, ev.EngineStarted(pid=1, boot_id="b", sandbox="A"))
    yield teller.at(0.0, ev.PhaseStarted(phase="baseline"))
    for index in (1, 2, 3):
        yield from _run(teller, f"baseline-{index}", 0, "baseline", {})
    yield teller.at(0.0, ev.PhaseStarted(phase="search"))
    for number in range(1, trials + 1):
        changes = yield from _proposal(teller, number)
        yield from _run(teller, f"trial-{number}", number, "search", changes)
        if number % 5 == 0:
            yield from _strategy(teller, number)
        if number % 10 == 0:
            yield from _research(teller, number)
    yield teller.at(1.0, ev.StateChanged(status="finished", reason=f"all {trials} trials are done"))


def _created(trials: int) -> ev.SessionCreated:
    return ev.SessionCreated(
        session=SESSION,
        version="1",
        settings={"target": "/t", "profile": "cuda", "trials": trials},
        target={
            "name": "baseline",
            "searched": "train.py",
            "metric": {"name": "val_bpb", "direction": "minimize"},
            "budget": {"kind": "seconds", "value": 300.0},
        },
        space=space_to_json(_SPACE),
        model="offline",
        stand_in=True,
    )


def _called(teller: _Teller, level: ev.Level, purpose: str) -> _Timed:
    blobs = {f"{name}_blob": _digest(f"{name}{teller.time}") for name in ("prompt", "answer")}
    told: dict[str, Any] = {"tokens_in": 9_000, "tokens_out": 700, "seconds": 8.0, "cost": 0.003, **blobs}
    return teller.at(8.0, ev.ModelCalled(level=level, purpose=purpose, model="m", **told))


def _proposal(teller: _Teller, number: int) -> Generator[_Timed, None, Config]:
    """The proposal of a trial; returns what it changes."""
    yield teller.at(0.1, ev.LevelActivity(level="1", activity=f"asks the model for trial {number}"))
    yield _called(teller, "1", "propose")
    name = teller.random.choice(list(_RATES))
    changes: Config = {name: _RATES[name] * math.exp(teller.random.gauss(0, 0.3))}
    proposals = [{"changes": changes, "hypothesis": _hypothesis(number, name)} for _ in range(2)]
    yield teller.at(0.0, ev.ProposalsMade(trial=number, proposals=proposals))
    yield teller.at(0.0, ev.LevelActivity(level="1"))
    if teller.active is not None:
        acted: dict[str, Any] = {"hash": teller.active, "name": "tabu_search", "trial": number}
        if number % 3 == 0:
            yield teller.at(0.0, ev.MechanismActed(hook="review", why="it was tried before", **acted))
        calls = {teller.active: {"advise": 1, "review": 2}}
        yield teller.at(0.0, ev.MechanismCalls(trial=number, calls=calls))
    return changes


def _run(teller: _Teller, run: str, number: int, role: ev.Role, changes: Config) -> Iterator[_Timed]:
    config: Config = {**teller.config, **changes}
    started = ev.TrialStarted(
        run=run,
        role=role,
        number=number,
        attempt=1,
        token="t" * 32,
        commit=_digest(run)[:40],
        config=config,
        seed=number,
        base=teller.incumbent,
        changes=changes,
        hypothesis=_hypothesis(number, "it"),
        proposed_by="model" if number else "engine",
    )
    yield teller.at(0.1, started)
    yield teller.at(0.05, ev.TrainerSpawned(run=run, attempt=1, pid=2, start_time=number, boot_id="b"))
    for step in range(teller.steps):
        fraction = step / teller.steps
        progress = ev.TrialProgress(
            run=run,
            attempt=1,
            step=step,
            offset=110 * step,
            fraction=round(fraction, 4),
            loss=round(9.0 - 6.0 * fraction, 6),
            tokens_per_second=1_690_000.0,
            remaining=round(PROGRESS_SECONDS * (teller.steps - step), 1),
        )
        yield teller.at(PROGRESS_SECONDS, progress)
    yield teller.at(0.2, _outcome(teller, run, number, role, config))


def _outcome(teller: _Teller, run: str, number: int, role: ev.Role, config: Config) -> ev.TrialFinished:
    crashed = number > 0 and teller.random.random() < 0.05
    metric = None if crashed else round(1.0 + teller.random.gauss(0, 0.01) - 0.1 * number / teller.trials, 6)
    kept = number > 0 and metric is not None and metric < teller.best
    if kept and metric is not None:
        teller.best, teller.incumbent, teller.config = metric, number, config
    return ev.TrialFinished(
        run=run,
        role=role,
        number=number,
        attempt=1,
        status="crash" if crashed else "keep" if kept or not number else "discard",
        incumbent=teller.incumbent,
        seconds=PROGRESS_SECONDS * teller.steps,
        metric=metric,
        reason="exit code 1: MemoryError" if crashed else "",
        steps=teller.steps,
        peak_memory_mb=40_000.0,
        curve=[(fraction, round(9.0 - 6.0 * fraction, 6)) for fraction, _ in _CURVE],
        log_blob=_digest(f"log of {run}"),
    )


def _strategy(teller: _Teller, number: int) -> Iterator[_Timed]:
    yield teller.at(0.0, ev.LevelActivity(level="1.5", activity="decides on the next cycle"))
    yield _called(teller, "1.5", "strategy")
    frozen = ["WEIGHT_DECAY"] if number % 10 else []
    unfrozen = [] if number % 10 else ["WEIGHT_DECAY"]
    decided = ev.StrategyDecided(
        trial=number,
        strategy="explore",
        frozen=frozen,
        unfrozen=unfrozen,
        guidance="larger steps on the matrices, " * 8,
        reason="three tries without gain",
        acted=True,
    )
    yield teller.at(0.0, decided)
    yield teller.at(0.0, ev.LevelActivity(level="1.5"))


def _research(teller: _Teller, number: int) -> Iterator[_Timed]:
    """A research that ends with a new mechanism in the place of the one before."""
    research = number // 10
    yield teller.at(0.0, ev.LevelActivity(level="2", activity=f"research {research}"))
    yield teller.at(0.0, ev.ResearchStarted(research=research, trial=number))
    rounds: list[Any] = ["explore", "critique", "specify", "generate"]
    for name in rounds:
        yield _called(teller, "2", name)
        answer = _digest(_answer(name, research))
        yield teller.at(0.0, ev.ResearchRound(research=research, round=name, answer_blob=answer, summary="a sentence"))
    digest = _digest(_module(research))
    module: dict[str, Any] = {"hash": digest, "name": "tabu_search"}
    written = {"purpose": "avoid repeats", "source": "Glover 1986", "written_by": "model", "path": "/m/tabu.py"}
    yield teller.at(0.0, ev.MechanismWritten(research=research, replaces=teller.active, **written, **module))
    yield teller.at(2.0, ev.MechanismValidated(evidence={"blocked": 6, "sandbox": "A"}, **module))
    yield teller.at(0.0, ev.InjectionWaiting(approval="grace", trusted=True, deadline=teller.time + 120, **module))
    yield teller.at(120.0, ev.InjectionDecided(decision="approved", by="clock", **module))
    yield teller.at(0.0, ev.ResearchFinished(research=research, outcome="proposed"))
    yield teller.at(0.0, ev.MechanismActivated(trial=number, replaces=teller.active, **module))
    yield teller.at(0.0, ev.LevelActivity(level="2"))
    teller.active = digest


def texts_of(event: ev.Event) -> list[str]:
    """The texts that an event of a research refers to; those of other events are not made up."""
    match event:
        case ev.ResearchRound():
            return [_answer(event.round, event.research)]
        case ev.MechanismWritten():
            return [_module(event.research)]
    return []


def _answer(name: str, research: int) -> str:
    return f"Research {research}, {name}: " + "the search tries what it tried before, and what it kept is near. " * 40


def _module(research: int) -> str:
    return _MODULE.replace("LONGEST", str(research))


def _hypothesis(number: int, name: str) -> str:
    return f"trial {number}: {name} sets how far a step goes, and the curve flattens early; " * 3


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
