"""A session with something in every pane: a log, a research of four rounds, a guard and its revision that acted."""

import json

import told_sessions as told
from test_app_mechanisms import GUARD, OTHER, REVISED, activated, written

from engine.record import events as ev
from engine.record.schema import blob_hash

LOG = "\n".join(
    [
        *(f"step {step:05d} ({8 * step}.0%) | loss: {5.1 - step / 10:.6f} | tok/sec: 1,690,000" for step in range(12)),
        "---",
        "val_bpb:          2.900000",
        "training_seconds: 8.0",
        "num_steps:        12",
    ]
)
QUESTION = json.dumps(
    [
        {"role": "system", "content": "You research how a search searches."},
        {"role": "user", "content": "Round 1 of 4: name candidates from other fields."},
    ]
)
ANSWERS = {
    "explore": "Candidates: tabu search from operations research, bandits from statistics, orthogonal designs.",
    "critique": "The search repeats what failed. A guard that blocks repeats is the smallest change that can act.",
    "specify": "review(view, proposal): block a configuration that was tried within the last five trials.",
    "generate": f"```python\n{GUARD}```",
}
BLOBS = [text.encode() for text in (told.SOURCE, GUARD, REVISED, OTHER, LOG, QUESTION, *ANSWERS.values())]


def research(number: int, trial: int) -> list[ev.Event]:
    """Four rounds that ended with a proposal, each with what was asked."""
    events: list[ev.Event] = [ev.ResearchStarted(research=number, trial=trial)]
    for round, answer in ANSWERS.items():
        digest = blob_hash(answer.encode())
        events += [
            ev.ModelCalled(
                level="2",
                purpose=round,
                model="offline",
                prompt_blob=blob_hash(QUESTION.encode()),
                answer_blob=digest,
                tokens_in=900,
                tokens_out=120,
                seconds=1.5,
            ),
            ev.ResearchRound(research=number, round=round, answer_blob=digest, summary=answer[:60]),  # type: ignore[arg-type]
        ]
    ended = ev.ResearchFinished(research=number, outcome="proposed", reason="guard passed its tests at the first try")
    return [*events, ended]


def edited(digest: str, trial: int, before: int, after: int) -> ev.Event:
    """The guard replaced the batch of a proposal."""
    was, became = ({"base": 3, "changes": {"BATCH": batch}, "replicate": None} for batch in (before, after))
    why = "it was tried four trials ago"
    return ev.MechanismActed(hash=digest, name="guard", trial=trial, hook="review", why=why, before=was, after=became)


def night() -> list[ev.Event]:
    """The session up to a trial that has just ended, nothing waiting."""
    guard, revised = (blob_hash(source.encode()) for source in (GUARD, REVISED))
    on = {"base": 3, "incumbent": 3, "proposed_by": "model"}
    last = told.run(
        "trial-7",
        7,
        2.9,
        changes={"BATCH": 8},
        edited_by=["guard"],
        hypothesis="a smaller batch takes more steps in the same time",
        log_blob=blob_hash(LOG.encode()),
        **on,
    )
    return [
        *told.beginning(trials=12),
        *told.trials()[:11],
        *research(1, 5),
        *written(GUARD, "guard", research=1),
        *activated(GUARD, "guard", 5),
        *written(OTHER, "other"),
        *activated(OTHER, "other", 5),
        edited(guard, 6, 16, 24),
        *told.run("trial-6", 6, 2.65, changes={"BATCH": 24}, edited_by=["guard"], verdict="tie", **on),
        ev.MechanismCalls(trial=6, calls={guard: {"review": 2, "advise": 1}}),
        *written(REVISED, "guard", replaces=guard, derived_from=guard),
        *activated(REVISED, "guard", 6, guard),
        ev.MechanismDeactivated(
            hash=blob_hash(OTHER.encode()), name="other", trial=6, status="reverted", by="person", reason="too slow"
        ),
        edited(revised, 7, 4, 8),
        ev.MechanismCalls(trial=7, calls={revised: {"review": 1}}),
        ev.GuidanceGiven(text="stay below 64 tokens a step", by="person"),
        ev.ParameterFrozen(name="RATE", by="person"),
        *last,
    ]
