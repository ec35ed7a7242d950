"""Evidence before a mechanism is active: what is refused and why, and what a rehearsal counts."""

from pathlib import Path
from typing import Any

import pytest
from searches import Search, mechanism, proposing, search

import engine.mechanism.validation as validation
from engine.mechanism.client import MechanismHost
from engine.mechanism.source_check import OF_USE, PACKAGES, check_source
from engine.mechanism.trust import shipped_sources
from engine.mechanism.validation import Evidence, validate
from engine.search.parameters import space_to_json


async def recorded(s: Search) -> None:
    """Five trials: two larger batches that lose, one smaller that is kept, a crash, a tie."""
    for change, metric in (
        ({"BATCH": 2048}, 4.5),
        ({"BATCH": 4096}, 4.9),
        ({"BATCH": 512}, 3.0),
        ({"LR": 0.9}, None),
        ({"WD": 0.3}, 3.01),
    ):
        s.model.by_purpose["propose"].append(proposing({"changes": change}, {"changes": {"MODE": "b"}}))
        s.runs.metrics.append(metric)
    await s.go(5)


async def validated(s: Search, body: str, name: str = "probe") -> tuple[list[str], Evidence]:
    return await validate(name, mechanism("probe", body), s.view, s.workshop.host_of)


BLOCKS = "def review(self, view, proposal):\n    return {'block': 'no'} if 'BATCH' in proposal.changes else None"


async def test_a_valid_module_comes_with_what_it_would_have_done(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await recorded(s)
        problems, evidence = await validated(s, BLOCKS)
        assert problems == []
        assert (evidence.trials, evidence.called) == (5, 10)  # review, and suggest, of each trial
        assert (evidence.blocked, evidence.kept_blocked, evidence.acts) == (3, 1, 3)
        assert 0 < evidence.milliseconds < 2500 and evidence.sandbox in ("A+", "A", "B", "C")
        assert "answers" not in evidence.told()


@pytest.mark.parametrize(
    ("body", "counted"),
    [
        ("def review(self, view, proposal):\n    return {'changes': {'WD': 0.5}, 'why': 'so'}", {"replaced": 5}),
        ("def suggest(self, view):\n    return [{'changes': {'WD': 0.5}, 'why': 'so'}]", {"suggested": 5}),
        ("def suggest(self, view):\n    return [{'replicate': 0, 'why': 'so'}]", {"suggested": 5}),
        ("def steer(self, view):\n    return {'freeze': ['LR'], 'why': 'so'}", {"steered": 5}),
        ("def choose(self, view, proposals):\n    return 'MODE' in proposals[1].changes", {}),
        ("def choose(self, view, proposals):\n    return int('MODE' in proposals[1].changes)", {"chosen": 5}),
        ("def accept(self, view, trial):\n    return False", {"accepted_otherwise": 1}),
        ("def accept(self, view, trial):\n    return True", {"accepted_otherwise": 3}),
        ("def watch(self, view, progress):\n    return 'no' if 'LR' not in progress.changes else None", {"stopped": 4}),
    ],
)
async def test_what_a_rehearsal_counts(tmp_path: Path, body: str, counted: dict[str, int]) -> None:
    async with search(tmp_path) as s:
        await recorded(s)
        problems, evidence = await validated(s, body)
        if not counted:
            assert problems[0].startswith("answer: choose returned")
            return
        assert problems == [] and {name: getattr(evidence, name) for name in counted} == counted
        assert evidence.acts == sum(counted.values())


@pytest.mark.parametrize(
    "body",
    [
        "def review(self, view, proposal):\n    return None",
        "def review(self, view, proposal):\n    return {'changes': dict(proposal.changes), 'why': 'the same'}",
        "def review(self, view, proposal):\n    return {'changes': {'DEPTH': 2}, 'why': 'it is locked'}",
        "def suggest(self, view):\n    return [{'changes': {'LR': 99.0}, 'why': 'beyond its range'}]",
        "def suggest(self, view):\n    return [{'changes': {'LR': 0.5}, 'base': 999, 'why': 'no such trial'}]",
        "def suggest(self, view):\n    return [{'replicate': 5, 'why': 'it has not run yet'}]",
        "def steer(self, view):\n    return {'freeze': ['NOPE'], 'why': 'no such parameter'}",
        "def steer(self, view):\n    return {'ranges': {'LR': [0.0, 2.0]}, 'why': 'as it is'}",
        "def accept(self, view, trial):\n    return trial.status == 'keep'",
    ],
)
async def test_what_would_have_changed_no_decision_is_inert(tmp_path: Path, body: str) -> None:
    async with search(tmp_path) as s:
        await recorded(s)
        problems, evidence = await validated(s, body)
        assert evidence.acts == 0 and len(problems) == 1
        assert problems[0].startswith("inert: over the 5 recorded trials it was called ")


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (
            "def choose(self, view, proposals):\n    return 1",
            "choose is asked when the model gives several proposals, and it gave one at a time",
        ),
        (
            "def watch(self, view, progress):\n    return 'no'",
            "watch is asked while a trial tells of its progress, and none did",
        ),
        (
            "def accept(self, view, trial):\n    return True",
            "accept is asked when a trial gives a metric, and none did",
        ),
    ],
)
async def test_what_no_trial_would_have_asked_is_said_to_be_never_called(tmp_path: Path, body: str, why: str) -> None:
    source = mechanism("probe", body).split("\n    def suggest")[0] + "\n"
    async with search(tmp_path) as s:
        for change in (0.3, 0.4):
            s.model.by_purpose["propose"].append(proposing({"changes": {"WD": change}}))
        s.runs.metrics = [None, None]
        s.runs.curve = []
        await s.go(2)
        problems, evidence = await validate("probe", source, s.view, s.workshop.host_of)
        assert problems == [
            f"never called: over the 2 recorded trials none of its deciding hooks was asked ({why})",
        ]
        assert evidence.called == evidence.acts == 0


async def test_a_module_that_came_to_no_rehearsal_says_nothing_of_the_sandbox(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.go(1)
        problems, evidence = await validated(s, "def review(self, view, proposal):\n    raise ValueError('no')")
        assert problems and "sandbox" not in evidence.told()
        _, evidence = await validated(s, BLOCKS)
        assert evidence.told()["sandbox"] in ("A+", "A", "B", "C")


async def test_advice_makes_no_call_of_a_deciding_hook(tmp_path: Path) -> None:
    body = "def advise(self, view):\n    return 'smaller'\n\ndef choose(self, view, proposals):\n    return 1"
    source = mechanism("probe", body).split("\n    def suggest")[0] + "\n"
    async with search(tmp_path) as s:
        await s.go(2)  # one proposal at a time
        problems, evidence = await validate("probe", source, s.view, s.workshop.host_of)
        assert problems[0].startswith("never called: over the 2 recorded trials")
        assert evidence.told()["hooks"] == {
            "advise": {"called": 2, "acted": 0},
            "choose": {"called": 0, "acted": 0},
        }


@pytest.mark.parametrize(
    ("blocks", "said"),
    [
        ("True", "blocks everything: over the 10 recorded trials it would have blocked all 10 proposals that it "),
        (
            "len(view.trials) > 1",
            "blocks everything: over the 10 recorded trials it would have blocked 9 of 10 proposa",
        ),
        ("len(view.trials) > 2", None),
    ],
)
async def test_what_would_have_blocked_nearly_every_proposal_is_refused(
    tmp_path: Path, blocks: str, said: str | None
) -> None:
    async with search(tmp_path) as s:
        s.runs.metrics = [4.5] * 8 + [3.0, 2.9]
        await s.go(10)
        body = f"def review(self, view, proposal):\n    return {{'block': 'no'}} if {blocks} else None"
        problems, evidence = await validated(s, body)
        assert evidence.kept_blocked == 2
        if said is None:
            assert problems == [] and evidence.blocked == 8
        else:
            assert problems[0].startswith(said) and problems[0].endswith("that it reviewed, 2 of them kept ones")


async def test_a_few_proposals_do_not_tell_that_it_blocks_everything(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await s.go(4)
        problems, evidence = await validated(s, "def review(self, view, proposal):\n    return {'block': 'no'}")
        assert (problems, evidence.blocked) == ([], 4)


@pytest.mark.parametrize(
    ("stops", "problems"),
    [
        ("True", ["stops everything: over the 6 recorded trials it would have let none of the 6 that it watched end"]),
        ("len(view.trials) > 1", []),
    ],
)
async def test_what_would_have_stopped_every_trial_is_refused(tmp_path: Path, stops: str, problems: list[str]) -> None:
    async with search(tmp_path) as s:
        await s.go(6)
        found, evidence = await validated(s, f"def watch(self, view, progress):\n    return 'no' if {stops} else None")
        assert found == problems and evidence.stopped == (6 if problems else 5)


@pytest.mark.parametrize(
    ("accepts", "problems"),
    [
        ("False", ["keeps nothing: over the 6 recorded trials it would have kept no trial, and 5 were kept"]),
        ("trial.number == 6", []),
        ("False if trial.number > 1 else None", []),
    ],
)
async def test_what_would_have_kept_no_trial_is_refused(tmp_path: Path, accepts: str, problems: list[str]) -> None:
    async with search(tmp_path) as s:
        s.runs.metrics = [3.9, 3.8, 3.7, 3.6, 3.5, 4.5]
        await s.go(6)
        found, _ = await validated(s, f"def accept(self, view, trial):\n    return {accepts}")
        assert found == problems


async def test_the_evidence_tells_each_hook_apart_and_in_how_many_trials_it_would_have_acted(tmp_path: Path) -> None:
    body = BLOCKS + "\n\ndef accept(self, view, trial):\n    return True"
    async with search(tmp_path) as s:
        await recorded(s)
        problems, evidence = await validated(s, body)
        told = evidence.told()
        assert problems == [] and told["hooks"] == {
            "suggest": {"called": 5, "acted": 0},
            "review": {"called": 5, "acted": 3},
            "accept": {"called": 4, "acted": 3},
        }
        assert (told["trials"], told["kept"], told["touched"], told["called"]) == (5, 1, 4, 14)


async def test_everything_that_the_model_is_told_it_can_import_loads_in_the_cage(tmp_path: Path) -> None:
    imports = f"import numpy, {OF_USE}\n\n\n"
    async with search(tmp_path) as s:
        source = imports + mechanism("probe", BLOCKS)
        assert check_source(source) == []
        host = s.workshop.host_of(source)
        try:
            assert (await host.start()).name == "probe"
        finally:
            await host.close()
        assert s.workshop.packages == PACKAGES and "numpy" in PACKAGES and OF_USE in PACKAGES


async def test_each_moment_is_rehearsed_with_the_history_before_it(tmp_path: Path) -> None:
    body = """
        def suggest(self, view):
            seen = sorted(trial.number for trial in view.trials)
            return [{"changes": {"WD": 0.9}, "why": f"{seen} {view.incumbent.number} {view.trials_left}"}]
    """
    async with search(tmp_path) as s:
        await recorded(s)
        _, evidence = await validated(s, body)
        told = [answer[0]["why"] for answer in evidence.answers]
        assert told[0] == "[0] 0 5" and told[3] == "[0, 1, 2, 3] 3 2" and told[4] == "[0, 1, 2, 3, 4] 3 1"


async def test_answers_that_differ_on_the_same_history_are_refused(tmp_path: Path) -> None:
    body = """
        def suggest(self, view):
            import time
            return [{"changes": {"WD": 0.5}, "why": str(time.time_ns())}]
    """
    async with search(tmp_path) as s:
        await recorded(s)
        problems, _ = await validated(s, body)
        assert problems == [
            "it answers differently on the same history: draw from view.rng, keep state in observe alone"
        ]


async def test_a_slow_one_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "SLOW_MILLISECONDS", 20.0)
    edits = "{'changes': {'WD': 0.5}, 'why': 'so'}"
    body = f"def review(self, view, proposal):\n    import time\n    time.sleep(0.03)\n    return {edits}"
    async with search(tmp_path) as s:
        await recorded(s)
        problems, evidence = await validated(s, body.replace("def review", BLANK + "def review"))
        assert problems == [f"a call takes {evidence.milliseconds:.0f} ms in the median: at most 20"]


BLANK = "def suggest(self, view):\n    import time\n    time.sleep(0.03)\n\n"


async def test_one_that_does_not_answer_in_time_is_refused(tmp_path: Path) -> None:
    def impatient(source: str) -> MechanismHost:
        told: dict[str, Any] = {"session": "s1", "space": space_to_json(s.view.space), "direction": "minimize"}
        return MechanismHost(source, folder=tmp_path / "hosts", time_limit=0.2, **told)

    async with search(tmp_path) as s:
        await recorded(s)
        source = mechanism("probe", "def review(self, view, proposal):\n    while True: pass")
        problems, _ = await validate("probe", source, s.view, impatient)
        assert problems == ["deadline: It did not answer review within 0.2 s."]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def review(self, view, proposal):\n    return view.nothing", "exception: review raised AttributeError"),
        ("def observe(self, view, trial):\n    trial.metric + 1\n\n" + BLOCKS, "exception: observe raised TypeError"),
        ("def review(self, view, proposal):\n    return 'no'", "answer: review returned a str"),
        ("def __init__(self):\n    1 / 0\n\n" + BLOCKS, "load: The mechanism cannot be loaded: ZeroDivisionError"),
        ("def review(self, view):\n    return None", "line 5: review is called as review(self, view, proposal)"),
        ("def review(self, view, proposal):\n    import sklearn", "it imports sklearn (line 6): only the standard"),
    ],
)
async def test_what_fails_is_refused_with_what_went_wrong(tmp_path: Path, body: str, said: str) -> None:
    async with search(tmp_path) as s:
        await recorded(s)
        problems, evidence = await validated(s, body)
        assert said in problems[0] and evidence.acts == 0


async def test_the_name_must_be_the_one_that_was_specified(tmp_path: Path) -> None:
    async with search(tmp_path) as s:
        await recorded(s)
        problems, _ = await validated(s, BLOCKS, name="other")
        assert problems == ["load: Mechanism.name is 'probe', and what was specified is 'other'."]


async def test_the_shipped_modules_on_a_recorded_history(tmp_path: Path) -> None:
    """Tabu search turns the repeated larger batch round and hinders no kept trial; none fails but by having no ground
    to act in five trials."""
    async with search(tmp_path) as s:
        await recorded(s)
        found = {}
        for name, source in shipped_sources().items():
            problems, found[name] = await validate(name, source, s.view, s.workshop.host_of)
            assert all(problem.startswith("inert: ") for problem in problems) and found[name].trials == 5
        tabu = found["tabu_search"]
        assert (tabu.blocked + tabu.replaced, tabu.kept_blocked) == (1, 0)
        assert found["orthogonal_exploration"].suggested == 5
        assert found["multi_scale_bandit"].acts >= 1
