"""The forms of the model's answers, and the parser that reads them out of hostile text.

Promises: what comes out has the declared types and bounds, printable text, finite numbers, and nothing of what the
form does not name; what does not fit raises AnswerError with one sentence that says where (`proposals[1].changes`)
and what was expected, written for the model that is to mend it. Nothing is cut or guessed.

Does not: know the parameters of a target (the space checks names and values), compile a module's source, evaluate
anything.
"""

import keyword
import re
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeVar, cast, get_args

import msgspec
from msgspec import Meta

from engine.model.extraction import AnswerError, check_text, fenced_blocks, json_object, shown
from engine.search.parameters import Config

LARGEST_SOURCE = 64 * 1024
"""Bytes of a module's source."""

Name = Annotated[str, Meta(min_length=1, max_length=100)]
Line = Annotated[str, Meta(min_length=1, max_length=1000)]
Prose = Annotated[str, Meta(min_length=1, max_length=4000)]
Names = Annotated[list[Name], Meta(max_length=100)]
TrialNumber = Annotated[int, Meta(ge=0, le=10**9)]
Strategy = Literal["explore", "exploit", "focused"]
Decision = Literal["new", "revise", "retire"]
Hook = Literal["advise", "steer", "suggest", "choose", "review", "accept", "watch", "observe"]
_WORDS = {"strategy": get_args(Strategy), "decision": get_args(Decision), "hooks": get_args(Hook)}
ACTING_HOOKS = frozenset(_WORDS["hooks"]) - {"advise", "observe"}
Form = TypeVar("Form", bound=msgspec.Struct)

__all__ = [
    "AnswerError",
    "CritiqueAnswer",
    "ExploreAnswer",
    "ExploreCandidate",
    "ProposedChange",
    "SpecifyAnswer",
    "StrategyAnswer",
    "parse_critique",
    "parse_explore",
    "parse_module",
    "parse_proposals",
    "parse_specify",
    "parse_strategy",
]


@dataclass(frozen=True)
class ProposedChange:
    """One proposal: 1 to 3 `changes` of named parameters, or the number of a trial to `replicate`; the other is None.

    The values are JSON-pure and otherwise unchecked. `base` is the trial whose configuration is changed, None for the
    incumbent. `prediction` holds "gain" (positive is better) and "sd", in the metric's unit.
    """

    hypothesis: str
    changes: Config | None = None
    replicate: int | None = None
    base: int | None = None
    prediction: dict[str, float] | None = None

    def told(self) -> dict[str, Any]:
        """What a record is told of it."""
        return asdict(self)


class StrategyAnswer(msgspec.Struct, frozen=True):
    """What Level 1.5 proposes; the engine's rules decide which freezes hold."""

    strategy: Strategy
    reason: Prose
    freeze: Names = []
    unfreeze: Names = []
    guidance: Annotated[str, Meta(max_length=2000)] = ""


class ExploreCandidate(msgspec.Struct, frozen=True):
    """An idea for a mechanism, and the field that it comes from."""

    name: Name
    field: Annotated[str, Meta(min_length=1, max_length=200)]
    idea: Prose


class ExploreAnswer(msgspec.Struct, frozen=True):
    """What holds the search back, and 1 to 6 candidates against it."""

    diagnosis: Prose
    candidates: Annotated[list[ExploreCandidate], Meta(min_length=1, max_length=6)]


class CritiqueAnswer(msgspec.Struct, frozen=True):
    """A new mechanism from the candidate `pick`, a revision of the active `target`, or its retirement."""

    decision: Decision
    reason: Prose
    pick: Annotated[str, Meta(max_length=100)] | None = None
    target: Annotated[str, Meta(max_length=100)] | None = None


class SpecifyAnswer(msgspec.Struct, frozen=True):
    """What the module is to be: its name (snake case), purpose and source in a line each, hooks, behaviour in prose.

    `builds_on` names the mechanism of an earlier session that it starts from.
    """

    name: Annotated[str, Meta(min_length=1, max_length=40)]
    purpose: Annotated[str, Meta(min_length=1, max_length=300)]
    source: Annotated[str, Meta(min_length=1, max_length=300)]
    hooks: Annotated[list[Hook], Meta(min_length=1, max_length=8)]
    behaviour: Annotated[str, Meta(min_length=1, max_length=8000)]
    builds_on: Name | None = None


class _Prediction(msgspec.Struct, frozen=True):
    gain: float
    sd: Annotated[float, Meta(gt=0)]


class _Proposal(msgspec.Struct, frozen=True):
    hypothesis: Line
    changes: Annotated[dict[Name, Any], Meta(max_length=3)] | None = None
    replicate: TrialNumber | None = None
    base: TrialNumber | None = None
    prediction: _Prediction | None = None


class _Proposals(msgspec.Struct, frozen=True):
    proposals: Annotated[list[_Proposal], Meta(min_length=1, max_length=3)]


def parse_proposals(text: str) -> list[ProposedChange]:
    """The 1 to 3 ranked proposals of an answer. Raises AnswerError."""
    proposals = _read(text, _Proposals).proposals
    return [_proposed(f"proposals[{index}]", proposal) for index, proposal in enumerate(proposals)]


def _proposed(where: str, proposal: _Proposal) -> ProposedChange:
    _check_line(f"{where}.hypothesis", proposal.hypothesis)
    changes, replicate = proposal.changes or None, proposal.replicate
    if (changes is None) == (replicate is None):
        raise AnswerError(f"{where}: give either 1 to 3 changes or a replicate, one of the two")
    if replicate is not None and proposal.base is not None:
        raise AnswerError(f"{where}.base: a replicate repeats its trial as it was, without a base")
    for name, value in (changes or {}).items():
        _check_value(f"{where}.changes.{shown(name)}", value)
    prediction = msgspec.to_builtins(proposal.prediction)
    return ProposedChange(proposal.hypothesis, changes, replicate, proposal.base, prediction)


def parse_strategy(text: str) -> StrategyAnswer:
    """Level 1.5's answer. Raises AnswerError."""
    answer = _read(text, StrategyAnswer)
    both = sorted(set(answer.freeze) & set(answer.unfreeze))
    if both:
        raise AnswerError(f"freeze: {shown(both[0])} is in unfreeze as well")
    return answer


def parse_explore(text: str) -> ExploreAnswer:
    """The candidates of Level 2's first round, with names that differ. Raises AnswerError."""
    answer = _read(text, ExploreAnswer)
    seen: set[str] = set()
    for index, candidate in enumerate(answer.candidates):
        _check_line(f"candidates[{index}].name", candidate.name)
        _check_line(f"candidates[{index}].field", candidate.field)
        if candidate.name in seen:
            raise AnswerError(f"candidates[{index}].name: {shown(candidate.name)} is taken by an earlier candidate")
        seen.add(candidate.name)
    return answer


def parse_critique(text: str) -> CritiqueAnswer:
    """The decision of Level 2's second round; what it needs is there and no blank. Raises AnswerError."""
    answer = _read(text, CritiqueAnswer)
    needed = "pick" if answer.decision == "new" else "target"
    if not (getattr(answer, needed) or "").strip():
        what = "a candidate" if needed == "pick" else "an active mechanism"
        raise AnswerError(f"{needed}: the decision {answer.decision!r} needs the name of {what}")
    for name in ("pick", "target"):
        if getattr(answer, name):
            _check_line(name, getattr(answer, name))
    return answer


def parse_specify(text: str) -> SpecifyAnswer:
    """The interface of Level 2's third round. Raises AnswerError."""
    answer = _read(text, SpecifyAnswer)
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", answer.name) or keyword.iskeyword(answer.name):
        raise AnswerError(f"name: {shown(answer.name)} is no name in snake case, such as tabu_search")
    _check_line("purpose", answer.purpose)
    _check_line("source", answer.source)
    if len(set(answer.hooks)) < len(answer.hooks):
        raise AnswerError("hooks: each hook is named once")
    if not ACTING_HOOKS & set(answer.hooks):
        raise AnswerError(f"hooks: a mechanism has to act, so name one of {', '.join(sorted(ACTING_HOOKS))} too")
    return answer


def parse_module(text: str) -> str:
    """The source in the answer's one block fenced with ```python, at most 64 KB. Raises AnswerError."""
    blocks = [source for label, source in fenced_blocks(text) if label in ("python", "py")]
    if len(blocks) != 1:
        raise AnswerError(f"the answer holds {len(blocks)} blocks fenced with ```python, and exactly one is wanted")
    source = blocks[0]
    if not source.strip():
        raise AnswerError("the block fenced with ```python is empty")
    if len(source.encode(errors="replace")) > LARGEST_SOURCE:
        raise AnswerError(f"the module is larger than {LARGEST_SOURCE // 1024} KB: write a shorter one")
    check_text("the module", source)
    return source


def _read(text: str, form: type[Form]) -> Form:
    """The answer's JSON object as a form; keys that the form does not name are left out."""
    try:
        return msgspec.convert(json_object(text), form)
    except msgspec.ValidationError as error:
        raise AnswerError(_located(str(error))) from None


def _located(message: str) -> str:
    """msgspec's message with the path first: "Expected … - at `$.a[1]`" becomes "a[1]: expected …"."""
    what, _, path = message.partition(" - at `$")
    what = what[:1].lower() + what[1:200]
    path = path.rstrip("`").removeprefix(".")
    if what.startswith("invalid enum value"):
        what = f"expected one of {', '.join(_WORDS[path.partition('[')[0]])}"
    return f"{path}: {what}" if path else f"the answer: {what}"


def _check_line(where: str, text: str) -> None:
    if not text.strip() or "\n" in text or "\t" in text:
        raise AnswerError(f"{where}: expected one line of text that is not blank")


def _check_value(where: str, value: object) -> None:
    """A parameter's value: a scalar, or a list of 1 to 16 of them; text of at most 200 characters."""
    items = cast("list[object]", value) if isinstance(value, list) else [value]
    if not 1 <= len(items) <= 16:
        raise AnswerError(f"{where}: expected 1 to 16 elements, not {len(items)}")
    for item in items:
        if not isinstance(item, bool | int | float | str):
            raise AnswerError(f"{where}: expected a boolean, a number, a text or a list of these")
        if isinstance(item, str) and len(item) > 200:
            raise AnswerError(f"{where}: expected a text of at most 200 characters")
