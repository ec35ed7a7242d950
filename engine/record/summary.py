"""What a session came to, as one JSON object for scripts. Computed from the view alone."""

import statistics
from dataclasses import asdict
from typing import Any

from engine.record.credit import credit
from engine.record.settings import replayed
from engine.record.view import Mechanism, View
from engine.search.trials import Trial

_TAKEN_PART = ("active", "retired", "reverted", "vetoed", "refused")
_SHOWN_AS = {"replaced": "retired"}
"""States of a mechanism that the object has no word for: a replaced one is out, an abandoned one never came in."""


def show_json(view: View) -> dict[str, Any]:
    """The session as JSON-pure values: what `bilevel show --json` prints."""
    best = view.history.best
    return {
        "session": view.session,
        "status": view.status,
        "target": view.target.get("name", ""),
        "profile": view.settings.profile,
        "model": {"name": view.model, "stand_in": view.stand_in},
        "levels": list(view.settings.levels),
        "sandbox": sandbox_level(view),
        "baseline": _baseline(view),
        "best": None if best is None else {"trial": best.number, "metric": best.metric},
        "confirmed": confirmed(view),
        "trials": [_trial(trial) for trial in view.history if trial.number > 0],
        "strategy": [
            {
                "trial": decided.trial,
                "frozen": decided.frozen,
                "unfrozen": decided.unfrozen,
                "strategy": decided.strategy,
                "guidance": decided.guidance,
                "acted": decided.acted,
            }
            for decided in view.strategies
        ],
        "injections": [injection(view, mechanism) for mechanism in injections(view)],
        "tokens": {"in": view.tokens_in, "out": view.tokens_out},
        "cost": cost(view),
    }


def injections(view: View) -> list[Mechanism]:
    """The modules that came up for admission, in the order in which they were written."""
    found = list(view.mechanisms.values())
    return [
        known for known in found if known.status in _TAKEN_PART or known.status in ("waiting", "approved", "replaced")
    ]


def sandbox_level(view: View) -> str | None:
    """The level that the mechanisms' hosts reached: the newest module's, else what the engine began with."""
    for mechanism in reversed(view.mechanisms.values()):
        if "sandbox" in mechanism.evidence:
            return str(mechanism.evidence["sandbox"])
    return view.engine.sandbox if view.engine else None


def unpaid(view: View) -> str:
    """Why nothing is paid for answers: who gave them; empty where something is."""
    if view.stand_in:
        return "stand-in"
    return "" if replayed(view.settings.model) is None else "recorded answers"


def cost(view: View) -> float | None:
    """Money spent; None where a price is unknown, and where nothing is paid."""
    priced = view.settings.price_in is not None and view.settings.price_out is not None
    if unpaid(view) or view.cost is None or not (priced or view.calls):
        return None
    return round(view.cost, 6)


def _baseline(view: View) -> dict[str, Any] | None:
    runs = view.baseline_runs
    if not runs:
        return None
    deviation = statistics.stdev(runs) if len(runs) > 1 else None
    return {"metric": statistics.fmean(runs), "runs": runs, "noise": deviation}


def confirmed(view: View) -> dict[str, Any] | None:
    """The difference that was confirmed, and its interval; None where there is none."""
    found = view.confirmed
    if found is None or found.difference is None:
        return None
    return {"difference": found.difference, "interval": list(found.interval) if found.interval else None}


def _trial(trial: Trial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "status": trial.status,
        "metric": trial.metric,
        "changes": trial.changes,
        "hypothesis": trial.hypothesis,
        "proposed_by": trial.proposed_by,
        "seconds": trial.seconds,
        "steps": trial.steps,
        "beyond_noise": trial.beyond_noise,
    }


def injection(view: View, mechanism: Mechanism) -> dict[str, Any]:
    """All that the record has of a mechanism: what it is, the evidence before, and what came of it since."""
    evidence = {key: int(mechanism.evidence.get(key, 0)) for key in ("blocked", "replaced", "kept_blocked")}
    found, decided = credit(view, mechanism), mechanism.decision
    return {
        "name": mechanism.name,
        "hash": mechanism.hash,
        "written_by": mechanism.written_by,
        "status": _SHOWN_AS.get(mechanism.status, mechanism.status),
        "trial": mechanism.activated,
        "called": sum(mechanism.called.values()),
        "acted": mechanism.acted,
        "evidence": {**evidence, **mechanism.evidence},
        "purpose": mechanism.purpose,
        "source": mechanism.source,
        "path": mechanism.path,
        "research": mechanism.research,
        "replaces": mechanism.replaces,
        "derived_from": mechanism.derived_from,
        "reason": mechanism.reason,
        "problems": mechanism.problems,
        "decision": None
        if decided is None
        else {"decision": decided.decision, "by": decided.by, "reason": decided.reason},
        "periods": [{"after": after, "until": until} for after, until in mechanism.periods],
        "hooks": {hook: {"called": called, "acted": acted} for hook, (called, acted) in mechanism.by_hook.items()},
        "acts": [
            {"trial": act.trial, "hook": act.hook, "before": act.before, "after": act.after, "why": act.why}
            for act in mechanism.acts
        ],
        "failures": [
            {"trial": failed.trial, "hook": failed.hook, "error": failed.error} for failed in mechanism.failures
        ],
        "credit": None if found is None else asdict(found),
    }
