"""The offline stand-in: it knows its prompt and nothing else, has a model's bias, and its answers pass the parsers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from searches import SPACE, Answers, Search, search, started

from engine.levels.research import Researcher
from engine.levels.strategy import Strategist
from engine.mechanism.trust import equals_shipped
from engine.model.answers import parse_proposals
from engine.model.asking import Asker, Budget
from engine.model.client import Prompt
from engine.model.offline import OfflineModel
from engine.record.events import ParameterFrozen, TrialFinished
from engine.search.parameters import Parameter, Space
from engine.search.proposals import Proposal


class Overheard(Answers):
    """The stand-in, and the prompts that it was given."""

    stand_in = True

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.offline = OfflineModel(seed)

    async def complete(self, prompt: Prompt, retried: Any) -> Any:
        self.prompts.append(prompt)
        return await self.offline.complete(prompt, retried)


def stood_in(s: Search, seed: int = 0) -> Overheard:
    """Let the stand-in answer in this search."""
    s.model = Overheard(seed)
    s.asker = Asker(s.model, lambda event, blobs: s.journal.record(event, blobs=blobs), Budget(None, None), 0.0, 0.0)
    s.inner.model = s.asker
    return s.model


async def test_its_first_idea_is_the_larger_batch_and_it_comes_back_to_what_failed(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        stood_in(s)
        await s.go(9)
        first = s.view.history.trials[1]
        assert first.changes == {"BATCH": 2048} and "larger is usually better" in first.hypothesis
        batches = [trial.number for trial in s.view.history if trial.changes.get("BATCH", 0) > 1024]
        assert len(batches) >= 3 and {1, 5, 9} <= set(batches)
        assert all(trial.proposed_by == "model" and trial.prediction for trial in s.view.history if trial.number)


async def test_after_a_kept_step_it_goes_on_the_same_way(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        stood_in(s)
        s.runs.metrics = [3.0]
        await s.go(2)
        assert s.last.changes == {"BATCH": 4096} and "was kept, so a further one up" in s.last.hypothesis


async def test_the_same_prompt_gets_the_same_answer_and_nothing_else_counts(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        heard = stood_in(s)
        await s.go(6)
        for prompt in heard.prompts:
            fresh = OfflineModel(0)
            assert fresh.answer(prompt) == heard.offline.answer(prompt)
        # What the search is given are the words of that answer: a model that saw the prompt alone made it.
        proposed = parse_proposals(OfflineModel(0).answer(heard.prompts[-1]))
        assert s.last.hypothesis in [one.hypothesis for one in proposed]


async def test_its_idea_for_a_trial_differs_once_one_was_refused(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        heard = stood_in(s)
        await s.inject(
            "guard",
            "def review(self, view, proposal):\n    return {'block': 'no'} if 'BATCH' in proposal.changes else None",
        )
        await s.go(1)
        assert "BATCH" not in s.last.changes and not s.last.overridden
        assert len(heard.prompts) == 2 and s.refusals("model") == ["guard: no"]


OTHER = Space(
    {
        "OPTIMISER": Parameter("OPTIMISER", "choice", "sgd", choices=("sgd", "adam")),
        "FLAG": Parameter("FLAG", "choice", False, choices=(False, True)),
        "LAYERS": Parameter("LAYERS", "tuple", [4, 8], [1, 1], [16, 16]),
        "MOMENTA": Parameter("MOMENTA", "tuple", [0.9, 0.99], 0.0, 1.0),  # type: ignore[arg-type]
        "COUNT": Parameter("COUNT", "int", 3, 1, 4),
    }
)


async def test_it_works_on_names_and_kinds_that_it_does_not_know(tmp_path: Path) -> None:
    async with search(tmp_path, OTHER) as s:
        stood_in(s)
        begun = started(0, Proposal(0, OTHER.initial, {}, "", "engine"), "baseline-1", "baseline")
        told: dict[str, Any] = {"role": "baseline", "number": 0, "attempt": 1, "status": "keep", "incumbent": 0}
        await s.journal.record(begun, TrialFinished(run="baseline-1", metric=4.0, seconds=1.0, **told))
        await s.go(12)
        tried = {name for trial in s.view.history for name in trial.changes}
        assert tried == set(OTHER.parameters) and s.view.completed == 12
        layers = [trial.changes["LAYERS"] for trial in s.view.history if "LAYERS" in trial.changes]
        assert all(isinstance(size, int) for value in layers for size in value)  # type: ignore[union-attr]
        assert s.refusals("model") == []


async def test_where_everything_is_frozen_it_repeats_the_incumbent(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        stood_in(s)
        await s.journal.record(*(ParameterFrozen(name=name) for name in SPACE.parameters))
        await s.go(1)
        assert (s.last.replicate, s.last.hypothesis) == (0, "Nothing is left to try.")


async def test_it_takes_all_three_levels_through_their_forms(tmp_path: Path) -> None:
    async with search(tmp_path, approval="auto") as s:
        stood_in(s)
        s.runs.metrics = [None, None, None, 3.9]
        await s.go(10)
        decided = await Strategist(s.journal, s.asker).decide()
        assert decided.reason and decided.guidance.startswith("0 of the last 5 trials were kept")
        assert await Researcher(s.journal, s.asker, s.workshop).research() == "proposed"
        [known] = s.view.mechanisms.values()
        source = (await s.journal.blob(known.hash)).decode()
        assert equals_shipped(source, s.workshop.examples) == known.name
        assert known.decision is not None and known.decision.by == "auto"
        await s.go(9)
        assert s.view.active == [known.hash] and known.acted >= 1


@pytest.mark.parametrize("seed", [0, 1, 2])
async def test_a_seed_gives_one_search(tmp_path: Path, seed: int) -> None:
    async def changes(folder: Path) -> list[Any]:
        await asyncio.to_thread(folder.mkdir)
        async with search(folder) as s:
            stood_in(s, seed)
            await s.go(8)
            return [trial.changes for trial in s.view.history]

    assert await changes(tmp_path / "a") == await changes(tmp_path / "b")
