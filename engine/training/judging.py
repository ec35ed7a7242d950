"""Judging a run that ended: which status it has, and the one metric that can be trusted, if there is one.

The exit code and the final block decide, never what stands on stderr. Whether a result is kept is decided by the
levels.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from engine.record.events import TrialFinished, TrialStarted
from engine.record.schema import blob_hash
from engine.training.outcome import Outcome
from engine.training.output import FinalBlock, failure_reason, last_lines, loss_curve, parse_final, split_lines
from engine.training.target import Target

LEAST_TRAINED = 0.5
"""A run that trained for less than this part of its budget in seconds gives no metric."""
Status = Literal["ended", "crash", "invalid", "stopped"]


@dataclass(frozen=True)
class RunResult:
    """What came of a run. `metric` is None unless it can be trusted; then `status` and `reason` say why.

    `seconds` is wall-clock time, `peak_memory_mb` the trainer's own figure or, on a CPU, its largest resident memory.
    """

    status: Status
    reason: str = ""
    metric: float | None = None
    held_out: float | None = None
    seconds: float = 0.0
    steps: int | None = None
    tokens_per_second: float | None = None
    peak_memory_mb: float | None = None
    curve: list[tuple[float, float]] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)
    log: bytes = b""
    log_tail: list[str] = field(default_factory=list)
    attempt: int = 1

    def finished(self, started: TrialStarted, *, status: Any, incumbent: int, **decision: Any) -> TrialFinished:
        """The event that records this result with what was decided on it."""
        return TrialFinished(
            run=started.run,
            role=started.role,
            number=started.number,
            attempt=self.attempt,
            status=status,
            incumbent=incumbent,
            seconds=self.seconds,
            metric=self.metric,
            held_out=self.held_out,
            reason=self.reason,
            steps=self.steps,
            tokens_per_second=self.tokens_per_second,
            peak_memory_mb=self.peak_memory_mb,
            curve=self.curve,
            values=self.values,
            log_blob=blob_hash(self.log),
            log_tail=self.log_tail,
            **decision,
        )


def judge(target: Target, started: TrialStarted, outcome: Outcome, text: str, tampered: str | None) -> RunResult:
    """The result of a run. `text` is all that it printed; `tampered` names the fixed files that it changed, if any."""
    block = _final(target, text, outcome)
    status, reason = _status(outcome, text, tampered, block)
    values = block.values if status in ("ended", "invalid") else {}
    vram = values.get("peak_vram_mb") or None
    return RunResult(
        status=status,
        reason=reason,
        metric=block.metric if status == "ended" else None,
        held_out=values.get(target.metric.held_out or "") if status == "ended" else None,
        seconds=round(outcome.seconds, 3),
        steps=int(values["num_steps"]) if "num_steps" in values else None,
        tokens_per_second=_speed(values),
        peak_memory_mb=vram or round(outcome.max_rss_mb, 1) or None,
        curve=loss_curve(split_lines(text)),
        values=values,
        log=text.encode(),
        log_tail=last_lines(text) if status != "ended" else [],
        attempt=started.attempt,
    )


def _status(outcome: Outcome, text: str, tampered: str | None, block: FinalBlock) -> tuple[Status, str]:
    """The status of a run, and the reason where it is not "ended"."""
    if outcome.status == "stopped":
        return "stopped", outcome.reason
    if outcome.status != "ended":
        failed = outcome.why == "exit" and (outcome.exit_code or 0) > 0
        return "crash", failure_reason(outcome.exit_code, last_lines(text)) if failed else outcome.reason
    reason = tampered or block.problem
    return ("invalid", reason) if reason else ("ended", "")


def _final(target: Target, text: str, outcome: Outcome) -> FinalBlock:
    least = LEAST_TRAINED * target.budget.value if target.budget.kind == "seconds" else None
    metric = target.metric
    return parse_final(text, metric.name, metric.pattern, min_training_seconds=least, seconds=outcome.seconds)


def _speed(values: dict[str, float]) -> float | None:
    tokens, seconds = values.get("total_tokens_M"), values.get("training_seconds")
    return round(tokens * 1e6 / seconds) if tokens and seconds else None
