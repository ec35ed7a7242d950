"""What the prompts carry: the parameters, the trials, where the search stands, as data blocks of one JSON object a
line.

The model and the offline stand-in read the same blocks. Whatever a trainer or an earlier answer said stands inside
them, quoted as JSON, so that it can neither end its block nor pass for an instruction.
"""

import json
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from engine.model.prompts import render
from engine.record.view import View
from engine.search.parameters import Config
from engine.search.proposals import Steering
from engine.search.trials import Trial

HYPOTHESES = 10
"""The last so many trials carry their hypothesis."""
STRATEGIES = {
    "explore": "explore: try parameters and directions that have had few trials.",
    "exploit": "exploit: refine around the incumbent in small steps.",
    "focused": "focused: work on the few parameters that brought the gains.",
}
Messages = list[dict[str, str]]


def messages(prompt: str) -> Messages:
    """A conversation that begins with this prompt."""
    return [{"role": "system", "content": render("system")}, {"role": "user", "content": prompt}]


def proposal_messages(view: View, steering: Steering, advice: Sequence[tuple[str, str]], script: str) -> Messages:
    """The prompt for the next trial."""
    base = view.history.incumbent if steering.base is None else steering.base
    frozen = steering.frozen(view.frozen_by_person, view.frozen_by_level)
    held = {name: list(pair) for name, pair in steering.ranges.items()}
    prompt = render(
        "propose",
        script=script.rstrip(),
        parameters=parameter_lines(view, view.history.trials[base].config, frozen, held),
        constraints="; ".join(constraint.expr for constraint in view.space.constraints) or "none",
        lower_is_better=lower_is_better(view),
        trials=trial_lines(view),
        state=state_block(view, base),
        strategy=STRATEGIES[view.strategy],
        guidance=_section("Guidance", [view.guidance] if view.guidance else []),
        earlier=earlier_findings(view),
        advice=_section("Advice of the active mechanisms", [f"{name}: {text}" for name, text in advice]),
        steering=_section("Asked of this proposal by mechanisms", steering.reasons),
        refused=_section("Refused for this trial, do not repeat", _refusals(view)),
    )
    return messages(prompt)


def parameter_lines(
    view: View,
    config: Config,
    frozen: Collection[str],
    ranges: dict[str, list[float]] | None = None,
    more: Callable[[str], dict[str, object]] = lambda name: {},
) -> str:
    """A line for each parameter: its value in `config`, whether it may be changed, and `more` of it."""
    lines = []
    for name, parameter in view.space.parameters.items():
        line: dict[str, Any] = {"name": name, "value": config[name], "kind": parameter.kind}
        if parameter.kind == "choice":
            line["choices"] = list(parameter.choices)
        else:
            low, high = (ranges or {}).get(name, [parameter.low, parameter.high])
            line.update(low=low, high=high, log=parameter.log)
        if parameter.locked:
            line["locked"] = True
        elif name in frozen:
            line["frozen"] = True
        line.update(more(name))
        line["meaning"] = parameter.meaning
        lines.append(line)
    return _lines(lines)


def trial_lines(view: View) -> str:
    """A line for each trial, the baseline first."""
    told = max(view.history.trials, default=0) - HYPOTHESES
    return _lines([_trial(view, trial, hypothesis=trial.number > told) for trial in view.history])


def state_block(view: View, base: int | None = None) -> str:
    """Where the search stands: incumbent and its standing, best, noise, trials left."""
    history = view.history
    mean, runs = history.standing(history.incumbent_config())
    noise, best = history.noise, history.best
    return json.dumps(
        {
            "metric": view.target["metric"]["name"],
            "direction": history.direction,
            "incumbent": {"trial": history.incumbent, "mean": rounded(mean), "runs": runs},
            "start_from": history.incumbent if base is None else base,
            "best": None if best is None else {"trial": best.number, "value": rounded(best.metric)},
            "noise": None if noise is None else rounded(noise.deviation),
            "strategy": view.strategy,
            "trials_left": view.trials_left(),
        },
        ensure_ascii=False,
    )


def earlier_findings(view: View) -> str:
    """What earlier sessions found out about the parameters, as a section of its own; empty where there is nothing."""
    return _section(
        "From earlier sessions: advice, not evidence of this one", view.archive.findings if view.archive else []
    )


def rounded(value: float | None) -> float | None:
    """A metric as prompts show it: seven significant digits."""
    return None if value is None else float(f"{value:.7g}")


def lower_is_better(view: View) -> str:
    """The direction in words."""
    return "negative is better" if view.history.direction == "minimize" else "positive is better"


def _trial(view: View, trial: Trial, hypothesis: bool) -> dict[str, Any]:
    line: dict[str, Any] = {"trial": trial.number, "base": trial.base, "changes": trial.changes}
    if trial.replicate is not None:
        line["replicate_of"] = trial.replicate
    line["metric"] = rounded(trial.metric)
    if trial.difference is not None:
        noise = view.history.noise
        line["difference"] = rounded(trial.difference)
        if noise and noise.deviation:
            line["in_noise"] = round(trial.difference / noise.deviation, 1)
    line.update(verdict=trial.verdict, status=trial.status, by=trial.proposed_by)
    if trial.edited_by:
        line["edited_by"] = list(trial.edited_by)
    line.update(steps=trial.steps, tokens_per_second=trial.tokens_per_second, peak_memory_mb=trial.peak_memory_mb)
    if trial.status in ("crash", "invalid", "stopped"):
        line["reason"] = trial.reason[:300]
    if hypothesis and trial.hypothesis:
        line["hypothesis"] = trial.hypothesis
    return line


def _refusals(view: View) -> list[str]:
    number = view.completed + 1
    return [
        f"{json.dumps(refused.proposal.get('changes') or refused.proposal, ensure_ascii=False)}: {refused.reason}"
        for refused in view.refused_proposals
        if refused.trial == number and refused.by == "model"
    ]


def _section(title: str, items: Iterable[str]) -> str:
    # Later lines are indented, so that no item can begin a block, a heading or another item.
    lines = [f"- {item}".replace("\n", "\n  ") for item in dict.fromkeys(items)]
    return f"\n# {title}\n" + "\n".join(lines) + "\n" if lines else ""


def _lines(objects: Iterable[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(line, ensure_ascii=False) for line in objects)
