"""What is known of a mechanism, in lines that a person can judge by in ten seconds.

Before it is active: what it is for, what it would have done to the recorded trials, what effect a simulation expects.
After: what it was called and acted, and what the trials that it touched came to. Everything from the view alone.
"""

from collections.abc import Mapping
from textwrap import wrap
from typing import Any

from engine.errors import InputError
from engine.record.credit import Group, credit
from engine.record.events import MechanismActed
from engine.record.tables import table
from engine.record.view import Mechanism, View
from engine.record.wording import (
    WIDTH,
    because,
    changes_from,
    clean,
    counted,
    labelled,
    metric_name,
    number,
    shown,
    signed,
)

LAST_ACTS = 5
_TIMES, _GROUPS = (52, 7, 7), (29, 9, 7, 14, 21)
"""How wide the columns of the tables are where there is room."""
ROWS = (
    ("blocked a proposal", "blocked", "review"),
    ("  of these one that was kept", "kept_blocked", "review"),
    ("replaced a proposal", "replaced", "review"),
    ("suggested a trial", "suggested", "suggest"),
    ("steered the model", "steered", "steer"),
    ("chosen otherwise", "chosen", "choose"),
    ("accepted otherwise", "accepted_otherwise", "accept"),
    ("stopped a trial", "stopped", "watch"),
)
"""What a rehearsal over the recorded trials counts: the words, the count's name, the hook that it comes from."""
WRITERS = {"model": "the model", "stand-in": "the stand-in", "person": "a person"}
DECIDERS = {"person": "by a person", "clock": "by the clock", "auto": "unasked", "engine": "by the engine"}


def named(view: View, asked: str) -> Mechanism:
    """The mechanism of this name, or whose hash begins so; of several of one name the active one, else the newest.

    Raises InputError where there is none.
    """
    known = list(view.mechanisms.values())
    found = [each for each in known if each.name == asked] or [
        each for each in known if len(asked) >= 4 and each.hash.startswith(asked)
    ]
    if not found:
        names = ", ".join(dict.fromkeys(each.name for each in known)) or "none"
        raise InputError(f"session {view.session} has no mechanism {clean(asked, 60)}; it has {clean(names, 300)}")
    return next((each for each in found if each.hash in view.active), found[-1])


def edit_of(view: View, digest: str) -> Mechanism | None:
    """The change to this module's file that a person made last; None where there was none."""
    edits = [each for each in view.mechanisms.values() if each.derived_from == digest and each.written_by == "person"]
    tested = [each for each in edits if each.status == "written"]  # at most one, and written again perhaps
    found = tested or edits
    return found[-1] if found else None


def evidence_lines(view: View, mechanism: Mechanism, width: int = WIDTH) -> list[str]:
    """All that is known of it: the verdict first, then what it is, would do, and did. Tables and acts fit the width;
    facts are wrapped for 80 columns.
    """
    lines = [
        *labelled("verdict", verdict(mechanism)),
        *(labelled("expected", expected(mechanism)) if mechanism.evidence else []),
        *_what_it_is(view, mechanism),
        *_would_have(mechanism, width),
    ]
    return lines + (["", *_since(view, mechanism, width)] if mechanism.periods else [])


def verdict(mechanism: Mechanism) -> str:
    """What the rehearsal over the recorded trials says of it, in one sentence of plain words."""
    if mechanism.problems:
        return f"it failed its tests: {mechanism.problems[0].splitlines()[0]}"
    told = mechanism.evidence
    if not told:
        return "it has not been tested yet"
    if "touched" not in told:  # a record from before these were counted
        times = sum(int(told.get(key, 0)) for _, key, _ in ROWS if key != "kept_blocked")
        return f"would have acted {counted(times, 'time')} over {counted(_count(told, 'trials'), 'trial')}"
    would = f"would have acted in {told['touched']} of {counted(_count(told, 'trials'), 'trial')}"
    kept, lost = _count(told, "kept"), _count(told, "kept_blocked")
    if "review" not in told.get("hooks", ()):
        return f"{would}; it blocks nothing"
    if kept == 1:
        return f"{would}, {'blocked' if lost else 'did not block'} the one that was kept"
    return f"{would}, blocked {lost or 'none'} of the {kept} kept" if kept else f"{would}; none of them was kept"


def expected(mechanism: Mechanism) -> str:
    """The effect that the simulation expects, in one sentence with its interval."""
    told = mechanism.evidence.get("expected")
    if not told:
        return "no simulation was run"
    text = f"{told.get('says')}: {told.get('reason')}"
    effect, interval = told.get("effect"), told.get("interval")
    if effect is None:
        return text
    held = f", 95 % interval {signed(interval[0])} to {signed(interval[1])}" if interval else ""
    pairs = f" ({counted(_count(told, 'replications'), 'pair')} of searches on a surrogate)"
    return f"{text}; {signed(effect)}{held}{pairs}"


def acts_lines(view: View, mechanism: Mechanism) -> list[str]:
    """What it did, one line an act: "trial 14 review: BATCH 65536 → 16384 (why)"."""
    return [clean(f"trial {act.trial} {act.hook}: {_act(view, act)}{_because(act.why)}", 300) for act in mechanism.acts]


def standing(mechanism: Mechanism) -> str:
    """Its state, since when, and who decided."""
    if mechanism.state == "interrupted":
        return f"interrupted {how_far(mechanism)}"
    text = mechanism.status if mechanism.status != "active" else f"active since trial {mechanism.activated}"
    decided = mechanism.decision
    by = DECIDERS.get(decided.by, decided.by) if decided is not None else ""
    if by and mechanism.status in ("active", "approved"):
        return f"{text}, let in {by}"
    if mechanism.status == "replaced":  # what is told of it is still why it was let in
        return text
    decides = decided is not None and decided.decision == mechanism.status
    return text + because(mechanism.status, by if decides else "", mechanism.reason)


def how_far(mechanism: Mechanism) -> str:
    """How far one had come that was interrupted."""
    return "before it was let in" if mechanism.evidence else "before its tests had ended"


# --- before it is active ----------------------------------------------------------------------------------------------
def _what_it_is(view: View, mechanism: Mechanism) -> list[str]:
    written = f"by {WRITERS.get(mechanism.written_by, mechanism.written_by)}"
    if mechanism.research:
        written += f" in research {mechanism.research}"
    for relation, digest in (("replaces", mechanism.replaces), ("derived from", mechanism.derived_from)):
        if digest and not (relation == "derived from" and digest == mechanism.replaces):
            elder = view.mechanisms.get(digest)
            written += f"; {relation} {elder.name if elder else 'another'} ({digest[:12]})"
    return [
        *labelled("mechanism", f"{mechanism.name} ({mechanism.hash[:12]}), {standing(mechanism)}"),
        *labelled("purpose", mechanism.purpose),
        *labelled("literature", mechanism.source),
        *labelled("written", written),
        *(labelled("sandbox", f"level {mechanism.evidence['sandbox']}") if "sandbox" in mechanism.evidence else []),
        *labelled("file", mechanism.path),
    ]


def _would_have(mechanism: Mechanism, width: int) -> list[str]:
    told = mechanism.evidence
    if not _count(told, "trials"):
        return []
    hooks: Mapping[str, Any] | None = told.get("hooks")
    heading = f"Over the {counted(_count(told, 'trials'), 'recorded trial')} it would have"
    rows = []
    for words, key, hook in ROWS:
        if hooks is not None and hook not in hooks:
            continue
        asked = "" if hooks is None else _count(told, "blocked") if key == "kept_blocked" else hooks[hook]["called"]
        rows.append((words, str(_count(told, key)), str(asked)))
    speed = f"{told.get('milliseconds', 0):.1f} ms" if "milliseconds" in told else "an unknown time"
    lines = table((heading, "times", "of"), rows, _TIMES, width)
    return ["", *lines, *labelled("", f"a call took {speed} in the median", 2)]


# --- since it is active -----------------------------------------------------------------------------------------------
def _since(view: View, mechanism: Mechanism, width: int) -> list[str]:
    # Acts are told at once, calls with their trial's end.
    hooks = [(hook, str(acted), str(max(called, acted))) for hook, (called, acted) in mechanism.by_hook.items()]
    lines = table((_periods(mechanism), "acted", "called"), hooks, _TIMES, width)
    found = credit(view, mechanism)
    if found is not None:
        heading = ("The trials meanwhile", "trials", "kept", "improvement", f"mean {clean(metric_name(view), 14)}")
        groups = [_group("those that it touched", found.touched), _group("the others", found.others)]
        lines += ["", *table(heading, groups, _GROUPS, width)]
    failures = mechanism.failures
    if failures:
        last = failures[-1]
        told = f"{len(failures)}, the last at trial {last.trial} in {last.hook}: {last.error}"
        lines += ["", *labelled("failures", clean(told, 300))]
    acts = acts_lines(view, mechanism)[-LAST_ACTS:]
    told_acts = [part for act in acts for part in wrap(act, width, initial_indent="  ", subsequent_indent="    ")]
    return lines + (["", "The last acts", *told_acts] if acts else [])


def _group(label: str, group: Group) -> tuple[str, ...]:
    improvement = signed(group.improvement) if group.kept else "-"
    return label, str(group.trials), str(group.kept), improvement, number(group.mean)


def _periods(mechanism: Mechanism) -> str:
    """When it was active: "Since trial 10", or the trials of each period."""
    told = [
        f"since trial {after}" if until is None else f"in trials {after + 1} to {until}"
        for after, until in mechanism.periods
        if until is None or until > after
    ]
    text = ", ".join(told) or f"at trial {mechanism.activated} only"
    return text[:1].upper() + text[1:]


def _act(view: View, act: MechanismActed) -> str:
    """One decision: what it was and what it became."""
    match act.hook, act.before, act.after:
        case "review", {"changes": _}, {"changes": _}:
            return changes_from(_config(view, act.after), _config(view, act.before))
        case "review", {"changes": _}, _:
            return f"blocked {_proposed(view, act.before)}"
        case "suggest", _, {"changes": _}:
            return f"suggested {_proposed(view, act.after)}"
        case "steer", _, dict():
            return _steered(act.before if isinstance(act.before, dict) else {}, act.after)
        case "choose", int(), int():
            return f"proposal {act.after + 1} in place of proposal {act.before + 1}"
        case "accept", bool(), bool():
            return "kept against the rule" if act.after else "not kept, against the rule"
        case "watch", _, _:
            return "stopped it"
    return "acted"


def _proposed(view: View, told: Mapping[str, Any]) -> str:
    base = view.history.trials.get(told.get("base", 0))
    text = changes_from(_config(view, told), base.config if base else {})
    again = told.get("replicate")
    return text if again is None else f"{text} (trial {again} again)" if text else f"trial {again} again"


def _config(view: View, told: Mapping[str, Any]) -> dict[str, Any]:
    base = view.history.trials.get(told.get("base", 0))
    return {**(base.config if base else {}), **told["changes"]}


def _steered(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """What the model is asked with, beyond what it was asked with before."""
    parts = []
    if after.get("base") != before.get("base"):
        parts.append(f"from trial {after.get('base')}")
    for key, verb in (("freeze", "without"), ("unfreeze", "free again")):
        names = [name for name in after.get(key, ()) if name not in before.get(key, ())]
        parts += [f"{verb} {', '.join(names)}"] if names else []
    for name, pair in after.get("ranges", {}).items():
        if before.get("ranges", {}).get(name) != pair:
            parts.append(f"{name} from {shown(pair[0])} to {shown(pair[1])}")
    return "the model asked " + ("; ".join(parts) or "otherwise")


def _because(why: str) -> str:
    return f" ({why})" if why else ""


def _count(told: Mapping[str, Any], key: str) -> int:
    return int(told.get(key) or 0)
