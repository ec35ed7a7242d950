"""What is known of one trial, in a few lines: what it changed and why, what it came to, who had a hand in it."""

from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from engine.record.events import TrialStarted
from engine.record.view import View
from engine.record.wording import clean, counted, number, signed
from engine.search.trials import Trial
from tui.panes.glyphs import STATUS
from tui.plain import changes
from tui.widgets.spark import resampled, spark

_LABEL = 12
_LONGEST = 2000
_CURVE_WIDTH = 32
_VERDICTS = {"better": "better than it beyond the noise", "tie": "within the noise", "worse": "worse beyond the noise"}


def details(view: View, number: int | None, console: Console, width: int, height: int, rest: str = "") -> list[Text]:
    """At most `height` lines of a trial, the one that runs included; none for a number that there is not.

    `rest`: what is said behind the mark of what is cut, on where to find it.
    """
    running = view.running.started if view.running and view.running.started.role == "search" else None
    known = view.history.trials.get(-1 if number is None else number)
    if known is not None:
        facts = _completed(view, known)
    elif running is not None and running.number == number:
        facts = _begun(view, running)
    else:
        return []
    lines = [line for label, text in facts for line in _wrapped(label, text, console, width)]
    if len(lines) > height:
        lines = [*lines[: height - 1], Text(f"…{rest}", "dim")]
    return lines


def _wrapped(label: str, text: Text, console: Console, width: int) -> Iterator[Text]:
    for index, part in enumerate(text.wrap(console, max(10, width - _LABEL), tab_size=1)):
        yield Text.assemble((f"{label if not index else '':<{_LABEL}}", "dim"), part)


def _completed(view: View, trial: Trial) -> Iterator[tuple[str, Text]]:
    yield f"trial {trial.number}", _outcome(trial)
    if trial.reason:
        yield "reason", Text(clean(trial.reason, _LONGEST), "" if trial.metric is not None else "bad")
    yield from _proposal(view, trial)
    if trial.decided_by != "rule":
        yield "decided", Text(f"by {clean(trial.decided_by, 60)}, against the rule")
    if trial.curve:
        losses = [loss for _, loss in trial.curve]
        shown = resampled(losses, _CURVE_WIDTH)
        yield "loss", Text(f"{spark(shown, min(losses), max(losses))}  {number(losses[0])} to {number(losses[-1])}")
    yield from _acts(view, trial.number)


def _begun(view: View, started: TrialStarted) -> Iterator[tuple[str, Text]]:
    sign, style = STATUS["running"]
    progress = view.running.progress if view.running else None
    loss = f", loss {number(progress.loss)}" if progress and progress.loss is not None else ""
    yield f"trial {started.number}", Text.assemble((f"{sign} running", style), loss)
    yield from _proposal(view, started)
    yield from _acts(view, started.number)


def _outcome(trial: Trial) -> Text:
    sign, style = STATUS.get(trial.status, ("?", "warn"))
    text = Text.assemble((f"{sign} {trial.status}", style), f"  {number(trial.metric)}")
    if trial.difference is not None:
        against = f", {_VERDICTS[trial.verdict]}" if trial.verdict in _VERDICTS else ""
        text.append(f"  {signed(trial.difference)} to its base{against}")
    told = [f"{trial.seconds:.1f} s"]
    told += [counted(trial.steps, "step")] if trial.steps is not None else []
    told += [f"{trial.tokens_per_second:,.0f} tokens/s"] if trial.tokens_per_second is not None else []
    told += [f"{trial.peak_memory_mb:,.0f} MB"] if trial.peak_memory_mb is not None else []
    return text.append("  " + ", ".join(told), "dim")


def _proposal(view: View, trial: Trial | TrialStarted) -> Iterator[tuple[str, Text]]:
    change = changes(view, trial)
    if change:
        base = f"  (on trial {trial.base})" if trial.base is not None else ""
        yield "changes", Text.assemble(change, (base, "dim"))
    by = f"by {clean(trial.proposed_by, 60)}"
    by += f", edited by {clean(', '.join(trial.edited_by), 120)}" if trial.edited_by else ""
    by += ", run although mechanisms blocked it three times" if trial.overridden else ""
    yield "proposed", Text(by)
    if trial.hypothesis:
        yield "because", Text(clean(trial.hypothesis, _LONGEST))
    if trial.prediction:
        told = ", ".join(f"{clean(name, 20)} {number(value)}" for name, value in trial.prediction.items())
        yield "predicted", Text(told)


def _acts(view: View, trial: int) -> Iterator[tuple[str, Text]]:
    for mechanism in view.mechanisms.values():
        for act in mechanism.acts:
            if act.trial == trial:
                why = f": {clean(act.why, 400)}" if act.why else ""
                yield "acted", Text.assemble((clean(mechanism.name, 60), "accent"), f" in {clean(act.hook, 20)}{why}")
