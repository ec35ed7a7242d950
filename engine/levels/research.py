"""Level 2: read the inner loop and the trace, research in four rounds, write a mechanism, let it in.

    explore   what holds the search back, candidates from other fields
    critique  decide: a new mechanism, a revision of an active one, or retiring one
    specify   name, purpose, hooks, behaviour
    generate  the module, validated and rehearsed; a failure goes back for repair, at most three times

The search goes on meanwhile; what is written takes effect at a boundary between trials, after the approval that the
session asks for. The four rounds are one conversation. The workshop (validation, files, approval) is handed in.
"""

import json
import re
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, Protocol

from engine.levels.briefing import STRATEGIES, Messages, messages, parameter_lines, rounded, state_block, trial_lines
from engine.levels.course import Course, come_to
from engine.levels.earlier import Earlier, earlier_mechanisms, earlier_section
from engine.levels.protocols import Journal, Model
from engine.model.answers import (
    AnswerError,
    CritiqueAnswer,
    ExploreAnswer,
    SpecifyAnswer,
    parse_critique,
    parse_explore,
    parse_module,
    parse_specify,
)
from engine.model.blocks import fenced
from engine.model.prompts import render
from engine.record.credit import Group, credit
from engine.record.events import (
    LevelActivity,
    MechanismWritten,
    ResearchRound,
)
from engine.record.schema import blob_hash
from engine.record.view import Mechanism, View
from engine.search.trials import PROPOSERS

REPAIRS = 3


class Workshop(Protocol):
    """Where a module is put to the test and let in."""

    interface: str
    packages: str
    examples: dict[str, str]

    def save(self, name: str, source: str) -> str:
        """Write the module's file where a person can read it; its path."""

    async def test(self, written: MechanismWritten, source: str) -> list[str]:
        """Validate and rehearse, saying so; record the evidence; the problems, none when it is fit."""

    async def let_in(self, written: MechanismWritten, source: str) -> str:
        """Wait for the approval that the session asks for: "approved", "vetoed" or "refused"."""

    async def source_of(self, mechanism: Mechanism) -> str:
        """The source that runs, whatever its file holds by now."""

    async def retire(self, mechanism: Mechanism, reason: str) -> None:
        """Take an active mechanism out."""


@dataclass(frozen=True)
class Written:
    """The model's plan for a module: what it decided, and what it specified."""

    critique: CritiqueAnswer
    specified: SpecifyAnswer
    replaces: Mechanism | None
    derived_from: str | None
    """The hash of what it builds on: the active mechanism that it revises, or one of an earlier session."""


class Researcher:
    """Level 2. `research` is called once after every second cycle."""

    def __init__(self, journal: Journal, model: Model, workshop: Workshop) -> None:
        self.journal = journal
        self.model = model
        self.workshop = workshop
        self.course = Course(journal, self._rounds)

    async def research(self) -> str:
        """One research from diagnosis to decision; its outcome. Raises what the model raises, after recording it."""
        return await self.course.run()

    async def _rounds(self, number: int) -> tuple[str, str]:
        view = self.journal.view
        sources = {digest: await self.workshop.source_of(view.mechanisms[digest]) for digest in view.active}
        earlier = await earlier_mechanisms(self.journal)
        talk = messages(explore_prompt(view, self.workshop, sources, earlier))
        explored: ExploreAnswer = await self._ask(number, "explore", talk, parse_explore, "diagnosing the search")
        talk.append({"role": "user", "content": render("critique")})
        critique: CritiqueAnswer = await self._ask(number, "critique", talk, self._checked, "judging candidates")
        target = _active(self.journal.view, critique.target)
        if critique.decision == "retire" and target is not None:
            self.course.commit()
            await self.workshop.retire(target, critique.reason)
            return "retired", f"{target.name}: {critique.reason}"
        talk.append({"role": "user", "content": render("specify")})
        elder = target if critique.decision == "revise" else None

        def specification(text: str) -> SpecifyAnswer:
            answer = parse_specify(text)
            earlier.check(answer)
            return self._named(answer, elder)

        specified: SpecifyAnswer = await self._ask(number, "specify", talk, specification, "specifying a mechanism")
        plan = Written(critique, specified, elder, elder.hash if elder else earlier.hash_of(specified))
        generate = render("generate", module=specified.name, packages=self.workshop.packages)
        talk.append({"role": "user", "content": generate})
        picked = critique.pick or explored.candidates[0].name
        return await self._write(number, plan, talk, picked)

    async def _write(self, number: int, plan: Written, talk: Messages, picked: str) -> tuple[str, str]:
        """Generate, test, repair; then ask for admission."""
        source: str = await self._ask(number, "generate", talk, parse_module, f"writing {plan.specified.name}")
        problems: list[str] = []
        for repair in range(REPAIRS + 1):
            written = self._written(number, plan, source)
            await self.journal.record(written, blobs=[source.encode()])
            problems = await self.workshop.test(written, source)
            if not problems:
                await self._say(f"asking for {written.name} to be let in")
                await self.workshop.let_in(written, source)
                decided = self.journal.view.mechanisms[written.hash].decision
                assert decided is not None, "what is asked for is decided by somebody"
                outcome, told = come_to(decided)
                return outcome, f"{_picked(written.name, picked)}: {told}"
            if repair == REPAIRS:
                break
            again = render("repair", problems="\n".join(f"- {p}" for p in problems), packages=self.workshop.packages)
            talk.append({"role": "user", "content": again})
            source = await self._ask(number, "repair", talk, parse_module, f"repairing {written.name}")
        return "refused", f"given up after {REPAIRS} repairs: {problems[0]}"

    def _written(self, number: int, plan: Written, source: str) -> MechanismWritten:
        name = plan.specified.name
        elder = plan.replaces
        return MechanismWritten(
            hash=blob_hash(source.encode()),
            name=name,
            purpose=plan.specified.purpose,
            source=plan.specified.source,
            written_by="stand-in" if self.journal.view.stand_in else "model",
            path=self.workshop.save(name, source),
            research=number,
            replaces=elder.hash if elder else None,
            derived_from=plan.derived_from,
        )

    def _checked(self, text: str) -> CritiqueAnswer:
        answer = parse_critique(text)
        if answer.decision in ("revise", "retire") and _active(self.journal.view, answer.target) is None:
            names = ", ".join(self.journal.view.mechanisms[digest].name for digest in self.journal.view.active)
            raise AnswerError(
                f"target is the name of an active mechanism to {answer.decision}; active: {names or 'none'}"
            )
        return answer

    def _named(self, answer: SpecifyAnswer, elder: Mechanism | None) -> SpecifyAnswer:
        """The specification, if its name is nobody else's: trials and refusals are told apart by it."""
        other = _active(self.journal.view, answer.name)
        if answer.name in PROPOSERS or (other is not None and (elder is None or other.hash != elder.hash)):
            raise AnswerError(f"name: {answer.name} is taken: choose another")
        return answer

    async def _ask(self, number: int, name: Any, talk: Messages, parse: Any, activity: str) -> Any:
        """Ask the next round, keep its answer in the conversation and in the record."""
        await self._say(activity)
        said: list[str] = []

        def keep(text: str) -> Any:
            answer = parse(text)
            said.append(text)
            return answer

        answer = await self.model.ask("2", name, talk, keep)
        talk.append({"role": "assistant", "content": said[-1]})
        body = said[-1].encode(errors="backslashreplace")
        await self.journal.record(
            ResearchRound(research=number, round=name, answer_blob=blob_hash(body), summary=_summary(answer)),
            blobs=[body],
        )
        return answer

    async def _say(self, activity: str) -> None:
        await self.journal.record(LevelActivity(level="2", activity=activity))


def explore_prompt(view: View, workshop: Workshop, sources: dict[str, str], earlier: Earlier) -> str:
    """The prompt of round 1: the inner loop, the interface, the trace, what is active, the archive, the examples.

    `sources` holds those of the active mechanisms, by hash.
    """
    examples = "\n".join(fenced(f"python example {name}", source) for name, source in workshop.examples.items())
    return render(
        "explore",
        inner=files(__package__).joinpath("inner.py").read_text(encoding="utf-8").rstrip(),
        interface=workshop.interface.rstrip(),
        parameters=parameter_lines(view, view.history.incumbent_config(), view.frozen),
        trials=trial_lines(view),
        state=state_block(view),
        strategy=STRATEGIES[view.strategy],
        mechanisms="\n".join(json.dumps(_fared(view, known), ensure_ascii=False) for known in view.mechanisms.values()),
        called_off=_called_off(view),
        sources=_sources(view, sources),
        earlier=earlier_section(earlier),
        examples=examples,
    )


def _fared(view: View, known: Mechanism) -> dict[str, Any]:
    """A mechanism, and what the trials that it touched came to against the others for which it was active."""
    told: dict[str, Any] = {
        "name": known.name,
        "purpose": known.purpose,
        "status": known.status,
        "reason": known.reason,
        "called": sum(known.called.values()),
        "acted": known.acted,
    }
    found = credit(view, known)
    if found is not None:
        told |= {"touched": _told(found.touched), "others": _told(found.others)}
    return told


def _told(group: Group) -> dict[str, Any]:
    told = {"trials": group.trials, "kept": group.kept}
    return {**told, "improvement": rounded(group.improvement), "mean": rounded(group.mean)}


def _called_off(view: View) -> str:
    """The researches that a person ended before a module was written; one that was is among the mechanisms."""
    wrote = {known.research for known in view.mechanisms.values()}
    lines = []
    for research in view.researches.values():
        ended = research.finished
        if ended is not None and ended.outcome == "vetoed" and research.number not in wrote:
            rounds = {done.round: done.summary for done in research.rounds}
            told = {"after_trial": research.trial, "reason": ended.reason, "rounds": rounds}
            lines.append(json.dumps(told, ensure_ascii=False))
    return "\nA person called researches off:\n" + fenced("jsonl called_off", "\n".join(lines)) + "\n" if lines else ""


def _sources(view: View, sources: dict[str, str]) -> str:
    parts = [fenced(f"python active {view.mechanisms[digest].name}", source) for digest, source in sources.items()]
    return "\n".join(parts) + "\n" if parts else ""


def _active(view: View, name: str | None) -> Mechanism | None:
    found = (view.mechanisms[digest] for digest in view.active)
    return next((known for known in found if known.name == name), None)


def _picked(name: str, candidate: str) -> str:
    """The module's name, and the candidate that it was made from, where that is called otherwise."""
    same = re.sub(r"\W+", "_", candidate).strip("_").lower() == name
    return name if same else f"{name} from {candidate}"


def _summary(answer: Any) -> str:
    match answer:
        case ExploreAnswer(diagnosis=diagnosis):
            return diagnosis[:300]
        case CritiqueAnswer(decision=decision, reason=reason, pick=pick, target=target):
            return f"{decision} {target if decision != 'new' else pick}: {reason}"[:300]
        case SpecifyAnswer(name=name, purpose=purpose):
            return f"{name}: {purpose}"[:300]
        case str():
            return f"{answer.count(chr(10)) + 1} lines of Python"
    return ""
