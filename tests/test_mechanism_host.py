"""A mechanism in its host process: what it is told, what it may answer, and every way in which it can misbehave."""

import asyncio
import os
from pathlib import Path

import numpy as np
import pytest
from mechanism_hosts import (
    HostMaker,
    asking,
    doing,
    host_of,
    kill,
    killed_at_frames,
    module,
    proposal,
    state,
    trial,
    until,
)

from engine.mechanism import process
from engine.mechanism.cage import level_of
from engine.mechanism.failures import HookFailed, HostDied, LoadFailed, WrongAnswer
from engine.mechanism.process import COMMAND
from engine.mechanism.view import plain
from engine.search.parameters import config_key

__all__ = ["host_of"]


def entries(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_host_says_hello_with_the_level_reached_and_what_it_holds(host_of: HostMaker) -> None:
    hello = await host_of(module("def review(self, view, proposal):\n    return None")).start()
    assert (hello.name, hello.purpose, hello.source) == ("probe", "It tests.", "own")
    assert hello.hooks == ("suggest", "review")
    assert hello.level == level_of(hello.findings)
    assert {"dies with the engine", "no new privileges", "1024 MB of memory"} <= set(hello.layers)
    assert len(hello.layers) + len(hello.missing) == len(hello.findings)


async def test_every_hook_is_called_with_its_arguments_and_its_answer_comes_back(host_of: HostMaker) -> None:
    source = module("""
def __init__(self): self.seen = []
def observe(self, view, trial): self.seen.append(trial.number)
def advise(self, view): return f"seen {self.seen}"
def steer(self, view): return {"base": 1, "freeze": ["MATRIX_LR"], "why": "w"}
def suggest(self, view): return ({"changes": {"ADAM_BETAS": (0.9, 0.95)}, "why": "w"},)
def choose(self, view, proposals): return len(proposals) - 1
def review(self, view, proposal): return {"block": f"{proposal.changes['MATRIX_LR']} {proposal['base']}"}
def accept(self, view, trial): return trial.metric < view.best.metric
def watch(self, view, progress): return f"loss {progress.loss}"
""")
    host = host_of(source)
    await host.start()
    await host.observe(trial(0), 0)
    await host.observe(trial(1, {"MATRIX_LR": 0.1}, 4.2), 0)
    offers = [proposal({"MATRIX_LR": 0.05}), proposal({"MATRIX_LR": 0.02})]
    asked = {
        "advise": ({}, "seen [0, 1]"),
        "steer": ({}, {"base": 1, "freeze": ["MATRIX_LR"], "why": "w"}),
        "suggest": ({}, [{"changes": {"ADAM_BETAS": [0.9, 0.95]}, "why": "w"}]),
        "choose": ({"proposals": offers}, 1),
        "review": ({"proposal": offers[0]}, {"block": "0.05 0"}),
        "accept": ({"trial": trial(2, {"MATRIX_LR": 0.05}, 3.9)}, True),
        "watch": ({"progress": {"fraction": 0.5, "step": 3, "loss": 7.5}}, "loss 7.5"),
    }
    for hook, (args, expected) in asked.items():
        assert await host.call(hook, state(), args, trial=2) == expected


async def test_a_hook_that_is_not_there_has_no_opinion(host_of: HostMaker) -> None:
    host = host_of(module(""))
    await host.start()
    assert await host.call("accept", state(incumbent=None), {"trial": trial(1)}, trial=1) is None


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ("[t.number for t in view.trials]", "[0, 1, 2]"),
        ("view.trials[1].curve", "((0.1, 5.0), (0.9, 4.1))"),
        ("(view.incumbent.number, view.best.number, view.direction)", "(1, 2, 'minimize')"),
        ("view.parameters['MATRIX_LR'].value", "0.1"),
        ("view.parameters['DEPTH']['locked']", "True"),
        ("view.parameters['TOTAL_BATCH_SIZE'].meaning", "'tokens a step'"),
        (
            "[(n, p.frozen) for n, p in view.parameters.items() if p.frozen]",
            "[('WEIGHT_DECAY', 'person'), ('HEAD_DIM', 'level 1.5')]",
        ),
        ("view.standing(view.incumbent.config)", "(3.9, 2)"),
        ("view.standing({})", "(None, 0)"),
        ("view.check({'TOTAL_BATCH_SIZE': 1024})", "None"),
        ("view.check({'TOTAL_BATCH_SIZE': 1000})", "whole device batches"),
        ("view.check({'DEPTH': 3})", "locked"),
        ("view.check({'WEIGHT_DECAY': 0.1})", "frozen"),
        ("view.check({'HEAD_DIM': 64})", "None"),
        ("view.check({'MATRIX_LR': 0.1})", "changes nothing"),
        ("view.check({'MATRIX_LR': 0.1}, base=0)", "None"),
        ("view.check({'MATRIX_LR': 0.1}, 77)", "no completed trial 77"),
        ("view.check([1])", "not a list"),
        ("view.constraints", "MAX_SEQ_LEN"),
        ("(view.noise, view.trials_left, view.strategy, view.guidance)", "(0.02, 10, 'explore', 'go')"),
        ("(view.refused[0].reason, view.others[0].name)", "('frozen', 'tabu')"),
    ],
)
async def test_what_the_view_tells(host_of: HostMaker, expression: str, told: str) -> None:
    host = host_of(asking(expression))
    await host.start()
    await host.observe(trial(0), 0)
    await host.observe(trial(1, {"MATRIX_LR": 0.1}, 3.8, status="keep", runs=[3.8]), 1)
    await host.observe(
        trial(2, {}, 3.7, base=1, config=trial(1, {"MATRIX_LR": 0.1})["config"], replicate=1, runs=[4.0]), 1
    )
    now = state(
        incumbent=1,
        frozen={"WEIGHT_DECAY": "person", "HEAD_DIM": "level 1.5"},
        guidance="go",
        refused=[{"what": "x", "reason": "frozen"}],
        others=[{"name": "tabu", "purpose": "p", "called": 1, "acted": 0}],
    )
    assert told in await host.call("advise", now, {}, trial=3)


@pytest.mark.parametrize(
    "attempt",
    [
        "view.strategy = 'mine'",
        "view.trials[0].metric = 0.0",
        "view.trials.append(1)",
        "view.trials[0].config['DEPTH'] = 9",
        "view.trials[0].config.update(DEPTH=9)",
        "view.parameters.clear()",
        "view.parameters['DEPTH'].locked = False",
        "del view.parameters['DEPTH']",
        "view.trials[0].nothing",
    ],
)
async def test_the_view_is_read_only_and_says_so(host_of: HostMaker, attempt: str) -> None:
    host = host_of(doing(attempt))
    await host.start()
    await host.observe(trial(0), 0)
    with pytest.raises(HookFailed, match=r"TypeError|AttributeError") as caught:
        await host.call("advise", state(), {}, trial=1)
    assert caught.value.detail == f"line 7, in advise: {attempt}"


async def test_the_same_moment_draws_the_same_numbers_and_another_moment_others(host_of: HostMaker) -> None:
    source = asking("float(view.rng.random()), float(view.rng.random())")
    first, second, elsewhere = host_of(source), host_of(source), host_of(source, session="s2")
    for host in (first, second, elsewhere):
        await host.start()
        await host.observe(trial(0), 0)
    drawn = [
        await host.call("advise", state(), {}, trial=number, attempt=attempt)
        for host, number, attempt in ((first, 1, 0), (second, 1, 0), (elsewhere, 1, 0), (first, 2, 0), (first, 1, 1))
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) == 4


async def test_only_observe_changes_a_mechanism(host_of: HostMaker) -> None:
    source = module("""
def __init__(self): self.count = 0
def observe(self, view, trial): self.count += 1
def advise(self, view):
    self.count += 100
    return str(self.count)
""")
    host = host_of(source)
    await host.start()
    await host.observe(trial(0), 0)
    assert [await host.call("advise", state(), {}, trial=1) for _ in range(2)] == ["101", "101"]


async def test_a_host_that_was_killed_comes_back_with_the_same_state(host_of: HostMaker) -> None:
    source = module(
        """
def __init__(self): self.draws, self.names = [], set()
def observe(self, view, trial):
    self.names.update(view.parameters)
    self.draws.append((trial.number, view.rng.random(), view.incumbent.number, list(self.names)))
def advise(self, view): return str(self.draws)
"""
    )
    host = host_of(source)
    await host.start()
    for number in range(4):
        await host.observe(trial(number, {"MATRIX_LR": 0.1} if number else {}), incumbent=0)
    before, pid = await host.call("advise", state(), {}, trial=4), host.pid
    await kill(host)
    assert await host.call("advise", state(), {}, trial=4) == before
    assert host.pid != pid
    assert (host.outlived, host.last_death) == (1, "Its host died at advise: it was ended by SIGKILL.")


async def test_a_call_during_which_the_host_is_killed_is_asked_once_more_at_the_same_moment(
    host_of: HostMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_of(asking("float(view.rng.random()), len(view.trials)"))
    await host.start()
    await host.observe(trial(0), 0)
    before = await host.call("advise", state(), {}, trial=1)
    killed = killed_at_frames(monkeypatch, 0)
    assert await host.call("advise", state(), {}, trial=1) == before
    assert (len(killed), host.outlived) == (1, 1)


async def test_a_second_death_in_the_same_call_is_its_failure_and_the_next_call_is_served(
    host_of: HostMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_of(asking("len(view.trials)"))
    await host.start()
    await host.observe(trial(0), 0)
    killed = killed_at_frames(monkeypatch, 0, 3)  # the call; after set-up and loading, the trial told again
    with pytest.raises(HostDied, match="died at observe: it was ended by SIGKILL"):
        await host.call("advise", state(), {}, trial=1)
    assert await host.call("advise", state(), {}, trial=1) == "1"
    assert (len(killed), host.outlived) == (2, 0)


async def test_what_observe_raises_is_reported_though_its_host_was_killed_first(
    host_of: HostMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = host_of(doing("raise ValueError('odd')", hook="observe(self, view, trial)"))
    await host.start()
    killed = killed_at_frames(monkeypatch, 0)
    with pytest.raises(HookFailed, match="observe raised ValueError: odd"):
        await host.observe(trial(0), 0)
    assert len(killed) == 1


async def test_a_source_that_does_not_load_says_why(host_of: HostMaker) -> None:
    with pytest.raises(LoadFailed, match="imports sklearn"):
        await host_of(module("", top="import sklearn")).start()
    with pytest.raises(LoadFailed, match="ZeroDivisionError") as caught:
        await host_of(module("def __init__(self):\n    self.x = 1 / 0")).start()
    assert "line 7, in __init__: self.x = 1 / 0" in caught.value.detail


async def test_numpy_is_there_and_the_project_and_other_packages_are_not(host_of: HostMaker) -> None:
    lines = (
        "found = []",
        "for name in ('numpy', 'engine', 'textual', 'msgspec'):",
        "    try:",
        "        __import__(name)",
    )
    source = doing(*lines, "        found.append(name)", "    except ImportError:", "        pass", "return str(found)")
    host = host_of(source)
    await host.start()
    assert await host.call("advise", state(incumbent=None), {}, trial=1) == "['numpy']"


async def test_the_process_has_no_secret_and_a_folder_of_its_own(
    host_of: HostMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    host = host_of(asking("sorted(os.environ), os.getcwd()", top="import os"))
    await host.start()
    names, folder = eval(await host.call("advise", state(incumbent=None), {}, trial=1))
    assert set(names) - {"PWD"} == {"LC_ALL", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED"}
    assert Path(folder).parents[1] == tmp_path / "hosts"
    assert [path.name for path in entries(Path(folder))] == ["bait"]


async def test_the_folder_and_the_process_are_gone_after_close(host_of: HostMaker, tmp_path: Path) -> None:
    host = host_of(module(""))
    await host.start()
    pid = host.pid
    assert pid is not None
    await host.close()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert entries(tmp_path / "hosts") == []


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("{1, 2}", "it holds a set"),
        ("object()", "it holds a object"),
        ("float('nan')", "not finite"),
        ("float('inf')", "not finite"),
        ("2**70", "beyond 64 bits"),
        ("'\\ud800'", "surrogate"),
        ("'x' * 2_000_000", "are allowed"),
        ("[0] * 200_000", "more than 100,000 items"),
        ("'x' * 5000", "5,000 characters"),
        ("12", "not a int"),
    ],
)
async def test_wrong_answers_are_told_apart_and_the_host_lives_on(host_of: HostMaker, answer: str, said: str) -> None:
    host = host_of(doing(f"return {answer} if view.strategy == 'bad' else 'here'"))
    await host.start()
    before = host.pid
    with pytest.raises(WrongAnswer, match=said):
        await host.call("advise", state(incumbent=None, strategy="bad"), {}, trial=1)
    assert await host.call("advise", state(incumbent=None), {}, trial=1) == "here"
    assert host.pid == before


def test_a_choice_that_numpy_drew_is_plain_text_and_the_same_configuration() -> None:
    drawn = np.random.default_rng(0).choice(["gelu", "gelu"])
    assert isinstance(drawn, str) and type(drawn) is not str
    assert config_key(plain({"ACTIVATION": drawn})) == config_key({"ACTIVATION": "gelu"})


async def test_numbers_of_numpy_are_plain_numbers(host_of: HostMaker) -> None:
    lines = 'c = {"MATRIX_LR": np.float64(0.1), "DEVICE_BATCH_SIZE": np.int64(4), "ADAM_BETAS": np.array([0.9, 0.95])}'
    host = host_of(
        doing(lines, 'return [{"changes": c, "why": "w"}]', hook="suggest(self, view)", top="import numpy as np")
    )
    await host.start()
    (suggestion,) = await host.call("suggest", state(incumbent=None), {}, trial=1)
    assert suggestion["changes"] == {"MATRIX_LR": 0.1, "DEVICE_BATCH_SIZE": 4, "ADAM_BETAS": [0.9, 0.95]}


async def test_what_is_no_number_or_no_text_reaches_a_mechanism_as_plain_data(host_of: HostMaker) -> None:
    host = host_of(asking("view.trials[-1].curve, view.trials[-1].hypothesis"))
    await host.start()
    await host.observe(trial(0, curve=[[0.1, float("nan")], [0.2, float("inf")]], hypothesis="a\ud800ä"), 0)
    assert await host.call("advise", state(), {}, trial=1) == "(((0.1, None), (0.2, None)), 'a?ä')"


async def test_the_python_command_ignores_user_settings() -> None:
    assert {"-s", "-P", "-S"} <= set(COMMAND)
    assert set(process.ENVIRONMENT) == {"PYTHONHASHSEED", "OPENBLAS_NUM_THREADS", "LC_ALL"}


async def test_concurrent_calls_wait_for_each_other(host_of: HostMaker) -> None:
    host = host_of(asking("len(view.trials)"))
    await host.start()
    calls = (host.call("advise", state(incumbent=None), {}, trial=1) for _ in range(20))
    assert await asyncio.gather(*calls) == ["0"] * 20


async def test_a_failed_observation_is_reported_once_and_survives_a_respawn(host_of: HostMaker) -> None:
    source = module(
        """
def __init__(self): self.seen = []
def observe(self, view, trial):
    self.seen.append(trial.number)
    if trial.number == 1: raise ValueError("odd")
def advise(self, view): return str(self.seen)
"""
    )
    host = host_of(source)
    await host.start()
    await host.observe(trial(0), 0)
    with pytest.raises(HookFailed, match="observe raised ValueError: odd"):
        await host.observe(trial(1), 0)
    await host.observe(trial(2), 0)
    assert await host.call("advise", state(), {}, trial=3) == "[0, 1, 2]"
    await kill(host)
    assert await host.call("advise", state(), {}, trial=3) == "[0, 1, 2]"


async def test_a_cancelled_call_ends_the_host_so_that_its_answer_is_taken_for_no_other(host_of: HostMaker) -> None:
    source = doing("if view.strategy == 'wait':", "    time.sleep(60)", "return 'here'", top="import time")
    host = host_of(source)
    await host.start()
    waiting = asyncio.create_task(host.call("advise", state(incumbent=None, strategy="wait"), {}, trial=1))
    await until(lambda: host._process is not None and host._process.wire._waiting is not None)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await host.call("advise", state(incumbent=None), {}, trial=1) == "here"
