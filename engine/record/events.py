"""Every event that a session records, typed in this one place.

An event is appended and never changed; its `kind` is the class's name in snake case. Large texts (sources, prompts,
answers, logs) are blobs: the event carries the SHA-256 in hex under a name that ends in `_blob`. Times in events are
seconds; wall-clock times are Unix seconds. Metrics are in the target's unit (bits per byte for val_bpb).
"""

import re
from typing import Any, Literal

import msgspec

from engine.errors import BilevelError
from engine.search.parameters import Config, Value

SCHEMA = 1
Role = Literal["baseline", "search", "confirm_baseline", "confirm_best"]
TrialStatus = Literal["keep", "discard", "crash", "invalid", "stopped"]
Verdict = Literal["better", "tie", "worse"]
Level = Literal["1", "1.5", "2"]
Calls = dict[str, dict[str, int]]


def _kind(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag=_kind, omit_defaults=True):
    """What happened. Subclasses are the kinds; `encode` and `decode` are their form in the database."""


# --- the session and its engine -------------------------------------------------------------------------------------
class SessionCreated(Event, frozen=True):
    """A session begins. `settings` and `target` are as the engine resolved them; nothing in them is secret."""

    session: str
    version: str
    settings: dict[str, Any]
    target: dict[str, Any]
    space: dict[str, Any]
    model: str
    stand_in: bool


class EngineStarted(Event, frozen=True):
    """An engine process took the session up; `resumed` says that an earlier one had it."""

    pid: int
    boot_id: str
    sandbox: str
    resumed: bool = False


class StateChanged(Event, frozen=True):
    """The session is now in this state, by whose decision, and why."""

    status: Literal["running", "paused", "finished", "failed"]
    reason: str = ""
    by: str = "engine"


class PhaseStarted(Event, frozen=True):
    """The part of a session that begins."""

    phase: Literal["baseline", "search", "confirmation"]


class LevelActivity(Event, frozen=True):
    """What a level is doing now, for a person who watches; an empty text means nothing."""

    level: Level
    activity: str = ""


class BudgetExtended(Event, frozen=True):
    """A person gave a finished session more: the new totals, None where a limit stays as it was."""

    trials: int | None = None
    hours: float | None = None
    max_cost: float | None = None


class Noted(Event, frozen=True):
    """Something a person should know that changes no state: a full disk, a budget that nears its end, a sweep."""

    severity: Literal["info", "warning", "error"]
    text: str


# --- trials -----------------------------------------------------------------------------------------------------------
class TrialStarted(Event, frozen=True):
    """A training run is about to be spawned. `run` is its unique name; `number` its trial (0: the baseline's config).

    `attempt` counts from 1; a lost attempt is followed by another with the same content. `token` marks the processes.
    """

    run: str
    role: Role
    number: int
    attempt: int
    token: str
    commit: str
    config: Config
    seed: int
    base: int | None = None
    replicate: int | None = None
    changes: Config = {}
    hypothesis: str = ""
    proposed_by: str = "engine"
    edited_by: list[str] = []
    prediction: dict[str, float] | None = None
    overridden: bool = False


class TrainerSpawned(Event, frozen=True):
    """The supervisor of an attempt runs: its process, by pid, start time in clock ticks since boot, and boot."""

    run: str
    attempt: int
    pid: int
    start_time: int
    boot_id: str


class TrialProgress(Event, frozen=True):
    """At most two a second: where the training is, and how far the log had grown (bytes)."""

    run: str
    attempt: int
    step: int
    offset: int
    fraction: float | None = None
    loss: float | None = None
    tokens_per_second: float | None = None
    remaining: float | None = None


class TrialLost(Event, frozen=True):
    """An attempt left no result (machine or supervisor died); it is run again."""

    run: str
    attempt: int
    reason: str


class TrialFinished(Event, frozen=True):
    """The outcome of a run and what was decided on it; exactly one for each run.

    `incumbent` is the trial whose configuration the next proposal changes, after this decision. `decided_by` is
    "rule" or the mechanism whose `accept` reversed the rule. `curve` holds (fraction of the budget, training loss).
    """

    run: str
    role: Role
    number: int
    attempt: int
    status: TrialStatus
    incumbent: int
    seconds: float
    metric: float | None = None
    held_out: float | None = None
    reason: str = ""
    verdict: Verdict | None = None
    difference: float | None = None
    beyond_noise: bool = False
    decided_by: str = "rule"
    steps: int | None = None
    tokens_per_second: float | None = None
    peak_memory_mb: float | None = None
    curve: list[tuple[float, float]] = []
    values: dict[str, float] = {}
    log_blob: str | None = None
    log_tail: list[str] = []


class Confirmed(Event, frozen=True):
    """The end of a session: fresh runs of baseline and best, and their difference with its 95 % interval."""

    baseline: list[float]
    best: list[float]
    trial: int
    difference: float | None = None
    interval: tuple[float, float] | None = None
    held_out_baseline: float | None = None
    held_out_best: float | None = None


# --- level 1: proposals -----------------------------------------------------------------------------------------------
class ProposalsMade(Event, frozen=True):
    """The model's ranked proposals for a trial and which of them was taken (an index)."""

    trial: int
    proposals: list[dict[str, Any]]
    taken: int = 0


class ProposalRefused(Event, frozen=True):
    """A proposal that may not run: by whom it was made, and why it was refused."""

    trial: int
    by: str
    proposal: dict[str, Any]
    reason: str


# --- level 1.5: freezes, strategy, guidance ---------------------------------------------------------------------------
class StrategyDecided(Event, frozen=True):
    """Level 1.5 decided after a cycle. `refused` says which freezes the rules did not allow, and why."""

    trial: int
    strategy: Literal["explore", "exploit", "focused"]
    frozen: list[str] = []
    unfrozen: list[str] = []
    guidance: str = ""
    reason: str = ""
    refused: list[str] = []
    acted: bool = False


class ParameterFrozen(Event, frozen=True):
    """A person froze a parameter; it binds everybody."""

    name: str
    by: str = "person"


class ParameterUnfrozen(Event, frozen=True):
    """A person released a parameter, from their own freeze and from Level 1.5's."""

    name: str
    by: str = "person"


class GuidanceGiven(Event, frozen=True):
    """A person's words for the next proposals, until they give others (an empty text takes them back)."""

    text: str
    by: str = "person"


# --- level 2: research and mechanisms ---------------------------------------------------------------------------------
class ResearchStarted(Event, frozen=True):
    """Level 2 begins its rounds; `research` counts from 1 in a session."""

    research: int
    trial: int


class ResearchRound(Event, frozen=True):
    """One round's answer."""

    research: int
    round: Literal["explore", "critique", "specify", "generate", "repair"]
    answer_blob: str
    summary: str = ""


class ResearchFinished(Event, frozen=True):
    """How a research ended: what came of it, in a word and a sentence."""

    research: int
    outcome: Literal["proposed", "retired", "refused", "failed", "vetoed"]
    reason: str = ""


class MechanismWritten(Event, frozen=True):
    """A module's source is on disk at `path` and in the blob with the same hash."""

    hash: str
    name: str
    purpose: str
    source: str
    written_by: str
    path: str
    research: int = 0
    replaces: str | None = None
    derived_from: str | None = None


class ArchiveRead(Event, frozen=True):
    """What earlier sessions of the same kind of target left to this one, as it was when this one began.

    The blob holds it as JSON (engine/record/archive.py); `mechanisms` counts those that came to something, `findings`
    are its advice on parameters, a sentence each, `sessions` are those that both come from. `sources` names the blobs
    of the best mechanisms, which stay while this event does.
    """

    archive_blob: str
    mechanisms: int
    findings: list[str] = []
    sessions: list[str] = []
    sources: list[str] = []


class MechanismValidated(Event, frozen=True):
    """The evidence before: problems found (none: valid) and what a rehearsal over the recorded trials gave."""

    hash: str
    name: str
    problems: list[str] = []
    evidence: dict[str, Any] = {}


class InjectionWaiting(Event, frozen=True):
    """A valid module waits to be activated. `deadline` is when the clock decides, None when only a person can."""

    hash: str
    name: str
    approval: Literal["auto", "grace", "ask"]
    trusted: bool
    reason: str = ""
    deadline: float | None = None


class InjectionDecided(Event, frozen=True):
    """Who let a waiting module in or turned it away: a person, the clock, the setting `auto`, or the engine."""

    hash: str
    name: str
    decision: Literal["approved", "vetoed", "refused"]
    by: Literal["person", "clock", "auto", "engine"]
    reason: str = ""


class MechanismActivated(Event, frozen=True):
    """From the trial after `trial` on, this module takes part; what it replaces goes."""

    hash: str
    name: str
    trial: int
    replaces: str | None = None


class MechanismDeactivated(Event, frozen=True):
    """A module is out of the chain; `restored` is the elder that came back in its place."""

    hash: str
    name: str
    trial: int
    status: Literal["retired", "reverted"]
    by: str
    reason: str = ""
    restored: str | None = None


class MechanismActed(Event, frozen=True):
    """A decision came out differently because of this module: which hook, what it was, what it became."""

    hash: str
    name: str
    trial: int
    hook: str
    why: str = ""
    before: Any = None
    after: Any = None


class MechanismCalls(Event, frozen=True):
    """How often each active module's hooks were called for one trial, by hash and hook."""

    trial: int
    calls: Calls


class MechanismFailed(Event, frozen=True):
    """A hook raised, died, overran its deadline or broke the contract; `consecutive` failures so far."""

    hash: str
    name: str
    trial: int
    hook: str
    error: str
    consecutive: int


# --- the model --------------------------------------------------------------------------------------------------------
class ModelCalled(Event, frozen=True):
    """One answered call, with prompt and answer kept as sent. `cost` is null where the price is unknown."""

    level: Level
    purpose: str
    model: str
    prompt_blob: str
    answer_blob: str
    tokens_in: int
    tokens_out: int
    seconds: float
    cost: float | None = None


class ModelRetried(Event, frozen=True):
    """A call failed and is tried again after `wait` seconds."""

    level: Level
    purpose: str
    error: str
    attempt: int
    wait: float


class AnswerRefused(Event, frozen=True):
    """An answer did not fit its schema; the model is asked again with the error, at most three times."""

    level: Level
    purpose: str
    error: str
    attempt: int


class LevelSkipped(Event, frozen=True):
    """A level gave up its turn after `trial`; the session goes on without it."""

    level: Level
    trial: int
    reason: str


class LevelBackedOff(Event, frozen=True):
    """Level 1 has no proposal to run and tries again in `wait` seconds."""

    level: Level
    wait: float
    reason: str


# --- control ----------------------------------------------------------------------------------------------------------
class CommandApplied(Event, frozen=True):
    """A person's command took effect, or will at the next boundary, as `detail` says."""

    command: str
    args: dict[str, Value | None] = {}
    by: str = "person"
    detail: str = ""


class CommandRefused(Event, frozen=True):
    """A person's command had nothing to act on, or may not; `detail` says why."""

    command: str
    args: dict[str, Value | None] = {}
    by: str = "person"
    detail: str = ""


KINDS: dict[str, type[Event]] = {_kind(cls.__name__): cls for cls in Event.__subclasses__()}
_encoder = msgspec.json.Encoder()
_decoders: dict[str, msgspec.json.Decoder[Any]] = {kind: msgspec.json.Decoder(cls) for kind, cls in KINDS.items()}


class UnknownEvent(BilevelError):
    """A record holds an event that this version does not know: a newer version wrote it, or the record is broken."""


def kind_of(event: Event) -> str:
    """The event's kind, as the database's column and the body's `kind` field hold it."""
    return _kind(type(event).__name__)


def encode(event: Event) -> bytes:
    """The event's JSON body, with its `kind`: what is stored and hashed. The order of names is kept."""
    return _encoder.encode(event)


def decode(kind: str, body: bytes | str) -> Event:
    """The event that `encode` wrote. Raises UnknownEvent for a kind or a body that this version cannot read."""
    decoder = _decoders.get(kind)
    if decoder is None:
        raise UnknownEvent(
            f"the record holds an event '{kind}' that this version of bilevel does not know: update bilevel"
        )
    try:
        event: Event = decoder.decode(body)
    except msgspec.DecodeError as error:
        raise UnknownEvent(f"the record holds an event '{kind}' that cannot be read: {error}") from None
    return event
