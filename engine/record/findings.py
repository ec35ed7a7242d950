"""What earlier sessions found out about parameters, as sentences: advice that says where it comes from.

A sentence stands for the sessions that were run under the same conditions. It counts what was beyond the noise alone,
or gave no metric at all; nothing is said of a step on which fewer than two thirds of these trials agree. What was found
under the conditions of the session that asks comes first, then what is least like the fall of a coin (the sign test).
"""

import json
import math
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from engine.record.legacy import Legacy, Steps, added

MOST = 8
"""Sentences at most."""
AGREEING = 2 / 3
"""Least part of the trials beyond the noise that agree on a step."""
_NAMED = 3
"""Sessions that a sentence names, the newest ones."""


class _Finding(NamedTuple):
    elsewhere: bool
    weight: float
    sentence: str


def findings(legacies: Sequence[Legacy], conditions: str, names: Collection[str], direction: str) -> list[str]:
    """At most eight sentences, the most reliable first. `legacies`: the oldest session first."""
    found = []
    for shared in dict.fromkeys(legacy.conditions for legacy in legacies):
        group = [legacy for legacy in legacies if legacy.conditions == shared]
        for name in names:
            telling = _once([legacy for legacy in group if name in legacy.steps], name)
            finding = _finding(name, telling, shared != conditions, direction) if telling else None
            if finding is not None:
                found.append(finding)
    found.sort(key=lambda finding: (finding.elsewhere, -finding.weight))
    return [finding.sentence for finding in found[:MOST]]


def _once(telling: Sequence[Legacy], name: str) -> list[Legacy]:
    """Without sessions that repeat an earlier one to the last digit, as the same seed may: they are no new evidence."""
    found: list[Legacy] = []
    for legacy in telling:
        if all(legacy.steps[name] != known.steps[name] for known in found):
            found.append(legacy)
    return found


def _finding(name: str, telling: Sequence[Legacy], elsewhere: bool, direction: str) -> _Finding | None:
    ways = dict.fromkeys(way for legacy in telling for way in legacy.steps[name])
    weight, parts = 0.0, []
    for way in sorted(ways):
        steps = added((legacy.steps[name][way] for legacy in telling if way in legacy.steps[name]), direction)
        against = steps.worse + steps.failed
        clear = steps.better + against
        if clear and max(steps.better, against) >= AGREEING * clear:
            weight = max(weight, abs(steps.better - against) / math.sqrt(clear))
            parts.append(f"{way}: {_told(steps)}")
    where = f", {telling[-1].setting}" if elsewhere else ""
    sentence = f"{name} {'; '.join(parts)} [{_sessions(telling)}{where}]"
    return _Finding(elsewhere, weight, sentence) if parts else None


def _told(steps: Steps) -> str:
    counts = [("better", steps.better), ("worse", steps.worse), ("no metric", steps.failed)]
    said = [f"{word} in {count} of {steps.tried}" for word, count in sorted(counts, key=lambda c: -c[1]) if count]
    if steps.together:
        said.append(f"{steps.together} of them with other changes")
    best = f" (best {json.dumps(steps.best, ensure_ascii=False)})" if steps.better else ""
    return ", ".join(said) + best


def _sessions(telling: Iterable[Legacy]) -> str:
    names = [legacy.session for legacy in telling][::-1]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{'session' if len(names) == 1 else 'sessions'} {', '.join(names[:_NAMED])}{more}"
