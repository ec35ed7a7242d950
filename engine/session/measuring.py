"""Runs that are no trials of the search: the baseline's, which measure the noise, and those that confirm the result.

A run that has its result already is not made again, so that a resumed session goes on where it was.
"""

from statistics import fmean

from engine.errors import BilevelError
from engine.record.events import Confirmed, PhaseStarted, Role, TrialFinished
from engine.record.journal import Journal
from engine.search.noise import difference
from engine.search.parameters import Config
from engine.session.boundary import SessionBoundary
from engine.training.runs import Runs


class SessionFailed(BilevelError):
    """The session cannot go on; the text says why."""


class Measuring:
    """Baseline and confirmation of one session."""

    def __init__(self, journal: Journal, runs: Runs, boundary: SessionBoundary) -> None:
        self.journal = journal
        self.runs = runs
        self.boundary = boundary

    async def baseline(self) -> None:
        """The baseline's runs with different seeds: what is to be beaten, and the noise.

        Raises SessionFailed once it is clear that there is nothing to beat.
        """
        view = self.journal.view
        names = [f"baseline-{index}" for index in range(1, view.settings.baseline_runs + 1)]
        missing = [name for name in names if name not in view.finished_runs]
        if missing:
            await self.phase("baseline")
        for name in missing:
            if not await self._goes_on():
                break
            await self._run(name, "baseline", 0, view.space.initial)
            stopped = view.finished_runs[name].status == "stopped"  # by a person, or a limit: another may do better
            if not view.baseline_runs and self.boundary.ending is None and not stopped:
                raise SessionFailed(_no_metric(view.finished_runs[name]))
        if not view.baseline_runs:
            ran = [view.finished_runs[name] for name in names if name in view.finished_runs]
            if self.boundary.ending is None and ran:
                raise SessionFailed(_no_metric(ran[-1]))
            self.boundary.end("it was stopped before the baseline had run")

    async def confirmation(self) -> None:
        """Fresh runs of baseline and best, by turns, and their difference with its interval."""
        view = self.journal.view
        best = view.history.best
        if best is None or best.number == 0 or view.confirmed is not None:
            return  # nothing to confirm, or this best was confirmed already
        self.boundary.ending = None
        await self.phase("confirmation")
        name = f"confirm-{len(view.confirmations) + 1}"
        roles: list[tuple[str, Role, int]] = [
            ("baseline", "confirm_baseline", 0),
            ("best", "confirm_best", best.number),
        ]
        for index in range(1, view.settings.confirm_runs + 1):
            for word, role, number in roles:
                if not await self._goes_on():
                    return
                await self._run(f"{name}-{word}-{number}-{index}", role, number, view.history.trials[number].config)
        await self.journal.record(self._confirmed(name, best.number))

    def _confirmed(self, name: str, trial: int) -> Confirmed:
        finished = self.journal.view.finished_runs
        baseline = [run for key, run in finished.items() if key.startswith(f"{name}-baseline-")]
        best = [run for key, run in finished.items() if key.startswith(f"{name}-best-{trial}-")]
        metrics = [[run.metric for run in runs if run.metric is not None] for runs in (baseline, best)]
        gap = difference(*metrics)
        return Confirmed(
            baseline=metrics[0],
            best=metrics[1],
            trial=trial,
            difference=gap[0] if gap else None,
            interval=gap[1:] if gap else None,
            held_out_baseline=_held_out(baseline),
            held_out_best=_held_out(best),
        )

    async def phase(self, phase: str) -> None:
        """Record that a part of the session begins, once."""
        if self.journal.view.phase != phase or phase == "baseline":
            await self.journal.record(PhaseStarted(phase=phase))  # type: ignore[arg-type]

    async def _goes_on(self) -> bool:
        """Wait while paused; False when the session is to end. Limits on trials do not count here."""
        while self.boundary.ending is None and self.journal.view.status == "paused":
            await self.journal.changed()
        return self.boundary.ending is None

    async def _run(self, run: str, role: Role, number: int, config: Config) -> None:
        """One run, from its start or from where an earlier engine left it."""
        view = self.journal.view
        if run in view.finished_runs:
            return
        running = view.running.started if view.running and view.running.started.run == run else None
        started = running or await self.runs.unrecorded(run, number, config)
        started = started or await self.runs.prepare_fixed(run, role, number, config)
        async with self.boundary.machine:
            result = await self.runs.execute(started)
        status = "keep" if result.metric is not None else result.status
        finished = result.finished(started, status=status, incumbent=view.history.incumbent)
        await self.journal.record(finished, blobs=[result.log])
        await self.runs.settle(started, finished)


def _no_metric(run: TrialFinished) -> str:
    last = f" Its last line: {run.log_tail[-1]}." if run.log_tail else ""
    return (
        f"the baseline gave no metric: {run.reason}.{last} A session keeps its own copy of the script: "
        "repair yours and start a new one with `bilevel run`"
    )


def _held_out(runs: list[TrialFinished]) -> float | None:
    values = [run.held_out for run in runs if run.held_out is not None]
    return fmean(values) if values else None
