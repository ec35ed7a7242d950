"""What other sessions of a database left behind: runs that still train, or processes of theirs that are ended here."""

import os
from collections.abc import Iterator
from pathlib import Path

from engine.record.reader import Reader
from engine.record.view import RunningTrial, fold
from engine.training.processes import Spawned, open_spawned, sweep


def swept(db: Path, own: str) -> Iterator[str]:
    """End what runs of other sessions than `own` left without a supervisor; a sentence on each that left something."""
    for session, running in _unfinished(db, own):
        run, spawned = running.started.run, running.spawned
        pidfd = open_spawned(Spawned(spawned.pid, spawned.start_time, spawned.boot_id)) if spawned else None
        if pidfd is not None:
            os.close(pidfd)
            yield f"{run} of session {session} still trains beside this one, on the same machine"
        elif killed := sweep(running.started.token):
            yield f"{killed} processes that {run} of session {session} had left were ended"


def _unfinished(db: Path, own: str) -> Iterator[tuple[str, RunningTrial]]:
    """The sessions whose last run has no outcome, and that run."""
    with Reader(db) as reader:
        for session in reader.sessions():
            if session.id == own:
                continue
            kinds = ["trial_started", "trainer_spawned", "trial_finished"]
            view = fold((row.seq, row.time, row.event) for row in reader.events(session.id, kinds=kinds))
            if view.running is not None:
                yield session.id, view.running
