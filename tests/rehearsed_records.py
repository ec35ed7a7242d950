"""Records of searches on a known function, for tests of what a rehearsal finds in them.

The metric is lowest at BATCH = 64, RATE = 0.01, DECAY = 0.1; SPARE and MODE decide nothing. The baseline starts far
above that, and the recorded model proposes only ever more: never fewer tokens, never a lower rate. What else is known
of the target comes from runs spread over the upper part of the space, which a person asked for.
"""

import asyncio
import hashlib
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from engine.record import events as ev
from engine.record.settings import Settings
from engine.record.store import Store
from engine.record.view import View, fold
from engine.search.parameters import Config, Parameter, Space, space_to_json

SPACE = Space(
    {
        "BATCH": Parameter("BATCH", "int", 1024, 16, 65536, log=True, meaning="tokens a step"),
        "RATE": Parameter("RATE", "float", 0.1, 0.0001, 1.0, log=True),
        "DECAY": Parameter("DECAY", "float", 0.3, 0.0, 1.0),
        "SPARE": Parameter("SPARE", "float", 0.5, 0.0, 1.0, meaning="decides nothing"),
        "MODE": Parameter("MODE", "choice", "a", choices=("a", "b")),
        "BETAS": Parameter("BETAS", "tuple", [0.8, 0.95], [0.5, 0.8], [0.99, 0.999]),
        "DEPTH": Parameter("DEPTH", "int", 4, 1, 8, locked=True),
    }
)
NOISE = 0.01
NAMES = ("BATCH", "RATE", "DECAY", "SPARE", "MODE", "BETAS")


def truth(config: Config) -> float:
    """The loss of a configuration without noise: 1 at the best."""
    batch = (math.log2(float(config["BATCH"])) - 6) ** 2  # type: ignore[arg-type]
    rate = (math.log10(float(config["RATE"])) + 2) ** 2  # type: ignore[arg-type]
    decay = (float(config["DECAY"]) - 0.1) ** 2  # type: ignore[arg-type]
    return 1 + 0.02 * batch + 0.15 * rate + 0.5 * decay


def more(config: Config) -> float:
    """Another loss, on which more is better in BATCH, RATE and DECAY, each up to its end."""
    batch, rate = math.log2(float(config["BATCH"])), math.log10(float(config["RATE"]))  # type: ignore[arg-type]
    return 3 - 0.1 * batch - 0.3 * rate - 0.3 * float(config["DECAY"])  # type: ignore[arg-type]


def mechanism(name: str, body: str) -> str:
    """The source of a mechanism with these methods."""
    head = f'class Mechanism:\n    name = "{name}"\n    purpose = "It tests."\n    source = "own"\n\n'
    return head + "\n".join("    " + line for line in body.strip("\n").splitlines()) + "\n"


REVIEW = """
def review(self, view, proposal):
    if not proposal.changes:
        return None
    return {{"changes": {changes}, "why": "so"}}
"""
_TURNED = "{**dict(proposal.changes), 'BATCH': max(16, view.parameters['BATCH'].value // 2)}"
_FAR = "{**dict(proposal.changes), 'BATCH': 65536}"
_LEAST = "{**dict(proposal.changes), 'BATCH': 16}"
_SPARE = "{**dict(proposal.changes), 'SPARE': round(float(view.rng.random()), 4)}"
HELPS = mechanism("helps", REVIEW.format(changes=_TURNED))
"""Each of the model's proposals halves the batch as well."""
HARMS = mechanism("harms", REVIEW.format(changes=_FAR))
"""Each of the model's proposals takes the largest batch, where nothing is ever better."""
RUINS = mechanism("ruins", REVIEW.format(changes=_LEAST))
"""Each of the model's proposals takes the smallest batch: with `more` nothing can ever better the incumbent."""
IDLE = mechanism("idle", "def suggest(self, view):\n    return None")
SPARE = mechanism("spare", REVIEW.format(changes=_SPARE))
"""Acts on every proposal, and changes what decides nothing."""


def recorded(
    count: int = 200,
    seed: int = 0,
    *,
    direction: str = "minimize",
    crashes_above: int = 0,
    settings: dict[str, Any] | None = None,
    function: Callable[[Config], float] = truth,
    spread: float = 0.5,
    ways: Sequence[int] = (1,),
    sources: Sequence[str] = (),
) -> list[ev.Event]:
    """The events of a session with so many trials, the first `spread` of them a person's, over the space.

    `ways`: the model's numbers go up (1), down (-1) or both. Above the batch `crashes_above` (0: none) a run fails.
    `sources` are written, and nothing is decided on them.
    """
    rng = np.random.default_rng(seed)
    sign = 1 if direction == "minimize" else -1
    target = {"name": "toy", "searched": "train.py", "metric": {"name": "loss", "direction": direction}}
    chosen = msgspec.to_builtins(Settings(target="/t", profile="cpu", **{"trials": count + 15, **(settings or {})}))
    space = space_to_json(SPACE)
    events: list[ev.Event] = [
        ev.SessionCreated(
            session="s1", version="1", settings=chosen, target=target, space=space, model="m", stand_in=False
        ),
        ev.PhaseStarted(phase="baseline"),
    ]
    best = incumbent = 0
    configs = {0: SPACE.initial}
    values: dict[int, float] = {}

    def run(name: str, number: int, role: ev.Role, base: int | None, changes: Config, by: str) -> None:
        nonlocal best, incumbent
        config = {**configs[0 if base is None else base], **changes}
        configs[number] = config
        failed = bool(crashes_above) and int(config["BATCH"]) > crashes_above  # type: ignore[arg-type]
        loss = math.inf if failed else function(config) + NOISE * float(rng.standard_normal())
        kept = number == 0 or loss < values[incumbent]
        values.setdefault(number, loss)
        incumbent = number if kept else incumbent
        events.append(
            ev.TrialStarted(
                run=name,
                role=role,
                number=number,
                attempt=1,
                token="t",
                commit="c",
                config=config,
                seed=number,
                base=base,
                changes=changes,
                proposed_by=by,
            )
        )
        events.append(
            ev.TrialFinished(
                run=name,
                role=role,
                number=number,
                attempt=1,
                status="crash" if failed else "keep" if kept else "discard",
                incumbent=incumbent,
                seconds=1.0,
                metric=None if failed else sign * loss,
            )
        )

    for index in range(3):
        run(f"baseline-{index + 1}", 0, "baseline", None, {}, "engine")
    events.append(ev.PhaseStarted(phase="search"))
    for number in range(1, count + 1):
        if number <= spread * count:
            run(f"trial-{number}", number, "search", 0, anywhere(rng), "person")
        else:
            run(f"trial-{number}", number, "search", incumbent, steps(configs[incumbent], rng, ways), "model")
    for source in sources:
        events.append(written(source))
    return events


def anywhere(rng: np.random.Generator) -> Config:
    """A configuration of the upper part of the space, where nothing beats the baseline by much."""
    return {
        "BATCH": int(2 ** rng.uniform(8, 16)),
        "RATE": float(f"{10 ** rng.uniform(-1.6, 0):.4g}"),
        "DECAY": float(f"{rng.uniform(0.1, 1):.4g}"),
        "SPARE": float(f"{rng.uniform(0, 1):.4g}"),
        "MODE": str(rng.choice(["a", "b"])),
        "BETAS": [float(f"{rng.uniform(0.5, 0.99):.4g}"), float(f"{rng.uniform(0.8, 0.999):.4g}")],
    }


def measured_before(seed: int, function: Callable[[Config], float], count: int = 100) -> list[tuple[Config, float]]:
    """Runs of earlier sessions, over the space with all batches: what decides is known, and the incumbent not moved."""
    rng = np.random.default_rng([seed, 1])
    configs = [{**SPACE.initial, **anywhere(rng), "BATCH": int(2 ** rng.uniform(4, 16))} for _ in range(count)]
    return [(config, function(config) + NOISE * float(rng.standard_normal())) for config in configs]


def steps(config: Config, rng: np.random.Generator, ways: Sequence[int]) -> Config:
    """One or two parameters of a configuration changed, numbers in one of the `ways`."""
    changes: Config = {}
    for name in map(str, rng.choice(NAMES, size=int(rng.integers(1, 3)), replace=False)):
        sign = int(rng.choice(ways))
        value: Any = config[name]
        match name:
            case "BATCH":
                changes[name] = max(16, min(65536, round(value * float(rng.choice([2, 4])) ** sign)))
            case "RATE":
                changes[name] = max(0.0001, min(1.0, float(f"{value * rng.uniform(1.2, 2.5) ** sign:.4g}")))
            case "MODE":
                changes[name] = "b" if value == "a" else "a"
            case "BETAS":
                changes[name] = [max(0.5, min(0.99, float(f"{value[0] + 0.03 * sign:.4g}"))), value[1]]
            case _:
                changes[name] = max(0.0, min(1.0, float(f"{value + sign * rng.uniform(0.02, 0.2):.4g}")))
    return changes


def written(source: str) -> ev.MechanismWritten:
    """The event that a source was written."""
    name = source.split('name = "')[1].split('"')[0]
    digest = hashlib.sha256(source.encode()).hexdigest()
    told = {"purpose": "It tests.", "source": "own", "written_by": "model", "path": f"/m/{name}.py", "research": 1}
    return ev.MechanismWritten(hash=digest, name=name, **told)  # type: ignore[arg-type]


def view_of(events: Sequence[ev.Event]) -> View:
    """What the events fold into, one second apart."""
    return fold((number, 1000.0 + number, event) for number, event in enumerate(events, 1))


def write(db: Path, events: Sequence[ev.Event], *sources: str) -> Path:
    """The events as a record at `db`, with the sources as its blobs."""

    async def append() -> None:
        store = await Store.open(db)
        try:
            await store.append("s1", events, [source.encode() for source in sources])
        finally:
            await store.close()

    asyncio.run(append())
    return db
