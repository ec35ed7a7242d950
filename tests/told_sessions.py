"""A session told by hand, for tests of what reads the record: seven trials, all three levels, an end."""

import asyncio
import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path

from engine.record import events as ev
from engine.record.store import Store
from engine.record.view import View, fold
from engine.search.parameters import Config, Parameter, Space, space_to_json

NAME = "20261121-0310-quiet-otter"
SOURCE = "class Mechanism: ...\n"
HASH = hashlib.sha256(SOURCE.encode()).hexdigest()
SPACE = Space(
    {
        "BATCH": Parameter("BATCH", "int", 64, low=1, high=1024, log=True, meaning="tokens a step"),
        "RATE": Parameter("RATE", "float", 0.1, low=0.001, high=1.0, log=True),
        "DEPTH": Parameter("DEPTH", "int", 2, low=1, high=8, locked=True),
    }
)
INITIAL: Config = {"BATCH": 64, "RATE": 0.1, "DEPTH": 2}


def created(name: str = NAME, **settings: object) -> ev.SessionCreated:
    """The first event. Settings that are not given are the defaults, with seven trials."""
    return ev.SessionCreated(
        session=name,
        version="1",
        settings={"target": "/t", "profile": "cpu", "trials": 7, **settings},
        target={
            "name": "toy",
            "searched": "train.py",
            "metric": {"name": "val_bpb", "direction": "minimize"},
            "budget": {"kind": "seconds", "value": 8.0},
        },
        space=space_to_json(SPACE),
        model=str(settings.get("model", "offline")),
        stand_in="model" not in settings,
    )


def run(
    name: str,
    number: int,
    metric: float | None,
    *,
    role: ev.Role = "search",
    status: ev.TrialStatus = "discard",
    incumbent: int = 0,
    commit: str = "",
    config: Config = INITIAL,
    changes: Config | None = None,
    replicate: int | None = None,
    **told: object,
) -> list[ev.Event]:
    """The start and the end of one run; what is in `told` goes where it belongs."""
    starts = {key: told.pop(key) for key in ("base", "hypothesis", "proposed_by", "edited_by") if key in told}
    started = ev.TrialStarted(
        run=name,
        role=role,
        number=number,
        attempt=1,
        token="t",
        commit=commit,
        config={**config, **(changes or {})},
        seed=number,
        changes=changes or {},
        replicate=replicate,
        **starts,  # type: ignore[arg-type]
    )
    finished = ev.TrialFinished(
        run=name,
        role=role,
        number=number,
        attempt=1,
        status=status,
        incumbent=incumbent,
        seconds=10.4,
        metric=metric,
        steps=12,
        peak_memory_mb=512.0,
        **told,  # type: ignore[arg-type]
    )
    return [started, finished]


def beginning(**settings: object) -> list[ev.Event]:
    """Created, and the baseline run three times: 3.98, 4.01, 4.00."""
    events: list[ev.Event] = [created(**settings), ev.EngineStarted(pid=1, boot_id="b", sandbox="C")]
    events.append(ev.PhaseStarted(phase="baseline"))
    for index, metric in enumerate((3.98, 4.01, 4.0), 1):
        events += run(f"baseline-{index}", 0, metric, role="baseline", status="keep")
    return [*events, ev.PhaseStarted(phase="search")]


def trials() -> list[ev.Event]:
    """Seven trials; the third is the best, the fourth crashes, a mechanism steps in at the sixth."""
    better: Config = {"BATCH": 32}
    events = run("trial-1", 1, 4.2, changes={"BATCH": 128}, base=0, hypothesis="larger is better", proposed_by="model")
    events += run("trial-2", 2, 4.1, changes={"RATE": 0.2}, base=0, proposed_by="model", verdict="worse")
    events += run(
        "trial-3", 3, 2.61, status="keep", incumbent=3, changes=better, base=0, proposed_by="model", beyond_noise=True
    )
    base = {**INITIAL, **better}
    events += run(
        "trial-4",
        4,
        None,
        status="crash",
        incumbent=3,
        config=base,
        changes={"RATE": 1.0},
        base=3,
        reason="exit code 1",
    )
    events += run("trial-5", 5, 2.7, incumbent=3, config=base, replicate=3, base=3, proposed_by="tabu_search")
    strategy = ev.StrategyDecided(
        trial=5, strategy="explore", frozen=["RATE"], guidance="look at\x1b[2J batches", acted=True
    )
    events.append(strategy)
    events += mechanism()
    events += run(
        "trial-6",
        6,
        2.65,
        incumbent=3,
        config=base,
        changes={"BATCH": 16},
        base=3,
        proposed_by="model",
        edited_by=["tabu_search"],
    )
    events += run("trial-7", 7, 2.9, incumbent=3, config=base, changes={"BATCH": 8}, base=3, proposed_by="model")
    return events


def mechanism() -> list[ev.Event]:
    """One that was written, tested, let in by the clock, and acted once in nine calls."""
    written = ev.MechanismWritten(
        hash=HASH, name="tabu_search", purpose="avoid repeats", source="own", written_by="model", path="/m/tabu.py"
    )
    evidence = {"blocked": 6, "replaced": 1, "kept_blocked": 0, "sandbox": "B"}
    return [
        written,
        ev.MechanismValidated(hash=HASH, name="tabu_search", evidence=evidence),
        ev.InjectionWaiting(hash=HASH, name="tabu_search", approval="grace", trusted=True, deadline=1795000000.0),
        ev.InjectionDecided(hash=HASH, name="tabu_search", decision="approved", by="clock"),
        ev.MechanismActivated(hash=HASH, name="tabu_search", trial=5),
        ev.MechanismActed(hash=HASH, name="tabu_search", trial=6, hook="review", why="it was tried"),
        ev.MechanismCalls(trial=6, calls={HASH: {"review": 6, "advise": 3}}),
    ]


def ending() -> list[ev.Event]:
    """Confirmed, and finished."""
    confirmed = ev.Confirmed(
        baseline=[4.0, 4.02],
        best=[2.6, 2.66],
        trial=3,
        difference=-1.38,
        interval=(-1.42, -1.34),
        held_out_baseline=4.1,
        held_out_best=2.8,
    )
    return [confirmed, ev.StateChanged(status="finished", reason="all 7 trials are done")]


def whole() -> list[ev.Event]:
    """The session from its first event to its last."""
    return [*beginning(), *trials(), *ending()]


def view_of(events: Sequence[ev.Event]) -> View:
    """What the events fold into, one second apart."""
    return fold((number, 1000.0 + number, event) for number, event in enumerate(events, 1))


def write(db: Path, events: Sequence[ev.Event], name: str = NAME) -> Path:
    """Append the events to the record as a session; the database's path."""

    async def append() -> None:
        store = await Store.open(db)
        try:
            await store.append(name, events)
        finally:
            await store.close()

    asyncio.run(append())
    return db


def with_workspace(db: Path, events: Sequence[ev.Event], name: str = NAME) -> list[ev.Event]:
    """A workspace beside the database in which each trial is a commit; the events, naming these."""
    folder = db.parent / ".bilevel" / name / "workspace"
    folder.mkdir(parents=True)

    def git(*args: str) -> str:
        identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
        found = subprocess.run(["git", *identity, *args], cwd=folder, check=True, capture_output=True, text=True)
        return found.stdout.strip()

    git("init", "-q")
    told: list[ev.Event] = []
    for event in events:
        if isinstance(event, ev.TrialStarted):
            text = "".join(f"{key} = {value}\n" for key, value in event.config.items())
            (folder / "train.py").write_text(text)
            git("add", ".")
            git("commit", "-q", "--allow-empty", "-m", event.run)
            event = _with_commit(event, git("rev-parse", "HEAD"))
        told.append(event)
    (folder / ".git").rename(folder.with_name("workspace.git"))
    return told


def _with_commit(started: ev.TrialStarted, commit: str) -> ev.TrialStarted:
    fields = {name: getattr(started, name) for name in started.__struct_fields__}
    return ev.TrialStarted(**{**fields, "commit": commit})
