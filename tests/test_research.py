"""Level 2: four rounds, decisions held against what is active, repairs, files, elders; and what the model is shown."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from searches import Search, mechanism, proposing, search

from engine.levels.research import REPAIRS, Researcher
from engine.model.client import ModelUnavailable
from engine.record import events as ev
from engine.record.reader import Reader

BLOCKS = "def review(self, view, proposal):\n    return {'block': 'no'} if 'BATCH' in proposal.changes else None"
SAID = {"purpose": "It tests.", "source": "own", "hooks": ["review"], "behaviour": "It blocks the batch."}
EXPLORED = json.dumps(
    {"diagnosis": "It repeats.", "candidates": [{"name": "tabu", "field": "optimisation", "idea": "forbid"}]}
)


def fenced(source: str) -> str:
    return f"```python\n{source}\n```"


def critique(decision: str = "new", **told: Any) -> str:
    return json.dumps({"decision": decision, "reason": "so", **told})


async def research(
    s: Search, *sources: str, decided: tuple[str, ...] = (critique(pick="tabu"),), names: tuple[str, ...] = ("probe",)
) -> str:
    """One research in which the model answers so; the outcome."""
    s.model.by_purpose["explore"] = [EXPLORED]
    s.model.by_purpose["critique"] = list(decided)
    s.model.by_purpose["specify"] = [json.dumps({"name": name, **SAID}) for name in names]
    s.model.by_purpose["generate"] = [fenced(sources[0])] if sources else []
    s.model.by_purpose["repair"] = [fenced(source) for source in sources[1:]]
    return await Researcher(s.journal, s.asker, s.workshop).research()


async def trained(s: Search) -> None:
    """A few trials that a rehearsal can go through."""
    s.model.by_purpose["propose"] = [proposing({"changes": {"BATCH": 2048 * n}}) for n in (1, 2, 3)]
    await s.go(3)


def written(s: Search) -> list[ev.MechanismWritten]:
    with Reader(s.journal.store.path) as reader:
        return [row.event for row in reader.events("s1", kinds=["mechanism_written"])]  # type: ignore[misc]


async def test_four_rounds_are_recorded_and_the_module_waits_for_the_boundary(tmp_path: Path) -> None:
    async with search(tmp_path, approval="auto", unsafe=True) as s:
        await trained(s)
        assert await research(s, mechanism("probe", BLOCKS)) == "proposed"
        told = s.view.researches[1]
        assert [done.round for done in told.rounds] == ["explore", "critique", "specify", "generate"]
        assert [done.summary for done in told.rounds][:2] == ["It repeats.", "new tabu: so"]
        assert (await s.journal.blob(told.rounds[0].answer_blob)).decode() == EXPLORED
        assert told.finished is not None and told.finished.reason == "probe from tabu: let in"
        [known] = s.view.mechanisms.values()
        assert (known.status, known.written_by, s.view.active) == ("approved", "model", [])
        assert s.view.research_due_after == 3 and s.view.activity["2"] == ""
        # The four rounds are one conversation.
        assert [message["role"] for message in s.model.prompts[-1].messages[1:]] == ["user", "assistant"] * 3 + ["user"]
        await s.go(1)
        assert s.view.active == [known.hash]


async def test_the_module_is_a_file_that_a_person_can_read(tmp_path: Path) -> None:
    async with search(tmp_path, approval="auto", unsafe=True) as s:
        await trained(s)
        source = mechanism("probe", BLOCKS)
        await research(s, source)
        path = tmp_path / "mechanisms" / "s1" / "probe.py"
        [event] = written(s)
        assert event.path == str(path) and path.read_text().strip() == source.strip()
        assert (await s.journal.blob(event.hash)).decode() == path.read_text()
        other = s.workshop.save("probe", "another = 1\n")
        assert other == str(path.with_name("probe_2.py")) and s.workshop.save("probe", "another = 1\n") == other


async def test_what_lies_in_the_way_of_a_module_is_neither_opened_nor_followed(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        folder = s.workshop.folder
        folder.mkdir(parents=True)
        os.mkfifo(folder / "probe.py")  # to open it would wait for ever
        (folder / "probe_2.py").symlink_to(tmp_path / "elsewhere")
        (folder / "probe_3.py").mkdir()
        assert s.workshop.save("probe", "x = 1\n") == str(folder / "probe_4.py")
        assert not (tmp_path / "elsewhere").exists()


async def test_the_prompt_shows_the_loop_the_interface_the_trials_and_what_became_of_mechanisms(tmp_path: Path) -> None:
    async with search(tmp_path, approval="auto", unsafe=True) as s:
        digest = await s.inject("guard", BLOCKS)
        await trained(s)
        # There is no such file: what is shown is the source that runs, not what its file holds by now.
        assert s.view.mechanisms[digest].path == "/m/guard.py"
        await research(s, mechanism("probe", BLOCKS))
        prompt = s.model.asked(-4)
        assert "class InnerLoop:" in prompt and "class Mechanism:      # exactly one" in prompt
        assert '{"trial": 3, "base": 0' in prompt and "```python example tabu_search" in prompt
        assert f"```python active guard\n{mechanism('guard', BLOCKS).rstrip()}\n```" in prompt
        fared = prompt.split("```jsonl mechanisms\n")[1].split("\n```")[0]
        told = json.loads(fared)
        assert (told["name"], told["status"], told["acted"] > 0, told["called"] > 0) == ("guard", "active", True, True)
        assert told["touched"]["trials"] + told["others"]["trials"] == 3
        assert told["touched"]["improvement"] + told["others"]["improvement"] >= 0.0


@pytest.mark.parametrize("decision", ["revise", "retire"])
async def test_a_decision_about_what_is_not_active_is_asked_again(tmp_path: Path, decision: str) -> None:
    async with search(tmp_path, approval="auto", unsafe=True) as s:
        await trained(s)
        decided = (critique(decision, target="ghost"), critique(pick="tabu"))
        assert await research(s, mechanism("probe", BLOCKS), decided=decided) == "proposed"
        again = next(prompt for prompt in s.model.prompts if "active: none" in prompt.messages[-1]["content"])
        assert f"target is the name of an active mechanism to {decision}" in again.messages[-1]["content"]


@pytest.mark.parametrize("name", ["guard", "model", "person", "engine"])
async def test_a_name_that_is_somebody_elses_is_asked_again(tmp_path: Path, name: str) -> None:
    async with search(tmp_path, approval="auto", unsafe=True) as s:
        await s.inject("guard", BLOCKS)
        await trained(s)
        assert await research(s, mechanism("probe", BLOCKS), names=(name, "probe")) == "proposed"
        assert any(f"name: {name} is taken" in prompt.messages[-1]["content"] for prompt in s.model.prompts)


async def test_an_active_mechanism_can_be_retired(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        digest = await s.inject("guard", BLOCKS)
        await trained(s)
        assert await research(s, decided=(critique("retire", target="guard"),)) == "retired"
        assert (s.view.active, s.view.mechanisms[digest].status) == ([], "retired")
        acts = s.acts("guard")
        s.model.by_purpose["propose"] = [proposing({"changes": {"BATCH": 16384}})]
        await s.go(1)
        assert s.last.changes == {"BATCH": 16384} and s.acts("guard") == acts


async def test_a_revision_replaces_its_elder_at_the_boundary_and_revert_brings_it_back(tmp_path: Path) -> None:
    from engine.control import Command
    from engine.session.commands import Commands
    from engine.session.editing import Editing

    async with search(tmp_path, approval="auto", unsafe=True) as s:
        elder = await s.inject("guard", BLOCKS)
        await trained(s)
        better = mechanism("guard", BLOCKS.replace("'no'", "'never'"))
        decided = (critique("revise", target="guard"),)
        assert await research(s, better, decided=decided, names=("guard",)) == "proposed"
        assert s.view.active == [elder]  # nothing changes before the boundary
        await s.go(1)
        heir = s.view.active[0]
        known = s.view.mechanisms[heir]
        assert (heir != elder, known.replaces, known.derived_from) == (True, elder, elder)
        assert s.view.mechanisms[elder].status == "replaced"
        course = Researcher(s.journal, s.asker, s.workshop).course
        editing = Editing(s.journal, s.workshop, course)
        commands = Commands(s.journal, s.boundary, s.runs, s.workshop, course, editing)  # type: ignore[arg-type]
        answer = await commands.handle(Command("revert", {"name": "guard"}, "person"))
        assert answer.applied and "its elder guard is back" in answer.detail
        await s.go(1)
        assert s.view.active == [elder] and s.view.mechanisms[heir].status == "reverted"


async def test_a_module_that_imports_what_is_not_there_is_refused_by_name_and_repaired(tmp_path: Path) -> None:
    async with search(tmp_path, approval="auto", unsafe=True) as s:
        await trained(s)
        good = mechanism("probe", BLOCKS)
        assert await research(s, "from sklearn.gaussian_process import X\n" + good, good) == "proposed"
        refused, mended = s.view.mechanisms.values()
        assert refused.status == "refused" and "imports sklearn (line 1)" in refused.reason
        assert mended.status == "approved"
        asked = s.model.prompts[-1].messages[-1]["content"]
        assert "it imports sklearn" in asked and "Not there: scikit-learn" in asked
        assert [done.round for done in s.view.researches[1].rounds][-1] == "repair"


async def test_after_three_repairs_it_is_given_up(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await trained(s)
        bad = [mechanism("probe", f"def review(self, view, proposal):\n    return {n}") for n in range(REPAIRS + 1)]
        assert await research(s, *bad) == "refused"
        assert len(written(s)) == REPAIRS + 1 == 4
        finished = s.view.researches[1].finished
        assert finished is not None and finished.reason.startswith("given up after 3 repairs: answer: review returned")
        assert all(known.status == "refused" for known in s.view.mechanisms.values())
        await s.go(1)
        assert s.last.proposed_by == "model"


async def test_a_model_that_gives_no_usable_answer_ends_this_research_alone(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await trained(s)
        assert await research(s, decided=("no", "no", "no")) == "failed"
        finished = s.view.researches[1].finished
        assert finished is not None and "no usable answer in 3 asks" in finished.reason
        assert s.view.research_due_after == 3


async def test_a_model_that_fails_is_recorded_and_raised(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await trained(s)
        s.model.by_purpose["explore"] = [ModelUnavailable("nobody there")]
        with pytest.raises(ModelUnavailable):
            await Researcher(s.journal, s.asker, s.workshop).research()
        finished = s.view.researches[1].finished
        assert finished is not None and (finished.outcome, finished.reason) == ("failed", "nobody there")


async def test_a_module_that_suggests_from_a_trial_that_is_not_there_is_inert_and_ends_nothing(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await trained(s)
        body = "def suggest(self, view):\n    return [{'changes': {'LR': 0.5}, 'base': 10**9, 'why': 'so'}]"
        bad = [mechanism("probe", body) + f"\nN = {n}\n" for n in range(REPAIRS + 1)]
        assert await research(s, *bad) == "refused"
