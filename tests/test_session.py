"""Whole sessions with the offline stand-in: what they record, and what holds whatever happens."""

import asyncio
from pathlib import Path

import pytest
from fast_sessions import events, left_behind, opened, plan, read_view, run_session, until, write_target

from engine.control import Command
from engine.errors import InputError
from engine.record.events import MechanismActed, TrialStarted
from engine.record.reader import Reader


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write_target(tmp_path / "target")


async def test_a_session_runs_to_a_confirmed_result(db: Path, target: Path) -> None:
    view = await run_session(db, plan(target, trials=22))
    assert (view.status, view.status_reason) == ("finished", "all 22 trials are done")
    assert [trial.number for trial in view.history] == list(range(23))
    assert len(view.baseline_runs) == 3
    assert len({run.log_blob for run in view.finished_runs.values()}) > 1
    assert view.baseline is not None and view.history.best is not None and view.confirmed is not None
    assert view.history.best.metric < view.baseline.metric
    assert view.confirmed.interval[0] <= view.confirmed.difference <= view.confirmed.interval[1] < 0
    assert view.confirmed.held_out_best == pytest.approx(view.confirmed.best[0] + 0.1, abs=1e-5)


async def test_the_outer_levels_act_and_an_injected_mechanism_changes_decisions(db: Path, target: Path) -> None:
    view = await run_session(db, plan(target, trials=22))
    assert sum(decided.acted for decided in view.strategies) >= 2
    injected = [known for known in view.mechanisms.values() if known.activated is not None]
    assert injected and all(known.activated >= 10 for known in injected)
    assert sum(known.acted for known in injected) >= 1
    assert all(sum(known.called.values()) >= known.acted for known in injected)
    act = events(db, "s1", "mechanism_acted")[0]
    assert isinstance(act, MechanismActed) and act.before != act.after
    assert Path(injected[0].path).parent == db.parent / "mechanisms" / "s1"
    assert injected[0].path in [str(path) for path in (db.parent / "mechanisms" / "s1").glob("*.py")]


async def test_history_and_incumbent_survive_an_injection(db: Path, target: Path) -> None:
    await run_session(db, plan(target, trials=14))
    activated = next(row for row in _rows(db) if row.kind == "mechanism_activated")
    before = _view_at(db, activated.seq - 1)
    after = _view_at(db, activated.seq)
    assert after.history.incumbent == before.history.incumbent
    assert list(after.history) == list(before.history)


async def test_a_viewer_folds_the_same_view_as_the_engine_had(db: Path, target: Path) -> None:
    live = await run_session(db, plan(target, trials=12))
    read = read_view(db)
    assert {name: str(value) for name, value in vars(live).items() if name != "history"} == {
        name: str(value) for name, value in vars(read).items() if name != "history"
    }
    assert list(live.history) == list(read.history) and live.history.incumbent == read.history.incumbent


@pytest.mark.parametrize("levels", [["1"], ["1", "1.5"], ["1", "2"]])
async def test_any_subset_of_the_levels_runs(db: Path, target: Path, levels: list[str]) -> None:
    view = await run_session(db, plan(target, trials=12, levels=levels, confirm=False))
    assert view.completed == 12
    assert bool(view.strategies) == ("1.5" in levels)
    assert bool(view.researches) == ("2" in levels)


async def test_in_lockstep_the_search_waits_for_the_outer_levels(db: Path, target: Path) -> None:
    await run_session(db, plan(target, trials=11, lockstep=True, confirm=False))
    started: dict[int, int] = {}
    decided: dict[int, int] = {}
    for row in _rows(db):
        if isinstance(row.event, TrialStarted) and row.event.role == "search":
            started[row.event.number] = row.seq
        if row.kind in ("strategy_decided", "research_finished"):
            decided[row.seq] = row.seq
    assert all(not started[6] < seq < started[6] for seq in decided)
    strategy, *later = sorted(decided)
    assert strategy < started[6]
    assert max(later) < started[11]


async def test_every_run_has_a_seed_of_its_own_and_the_same_session_draws_the_same(
    tmp_path: Path, target: Path
) -> None:
    seeds = []
    for name in ("a", "b"):
        await run_session(tmp_path / name / "sessions.db", plan(target, trials=3))
        seeds.append([event.seed for event in events(tmp_path / name / "sessions.db", "s1", "trial_started")])
    assert seeds[0] == seeds[1] and len(set(seeds[0])) == len(seeds[0])


async def test_a_crashing_configuration_is_a_crash_and_the_search_goes_on(db: Path, tmp_path: Path) -> None:
    view = await run_session(db, plan(write_target(tmp_path / "t", crashes=1500), trials=4, confirm=False))
    crashed = [trial for trial in view.history if trial.status == "crash"]
    assert crashed and "MemoryError" in crashed[0].reason and crashed[0].metric is None
    assert view.completed == 4 and view.history.incumbent != crashed[0].number


async def test_a_baseline_without_a_metric_fails_the_session_with_its_last_line(db: Path, tmp_path: Path) -> None:
    target = write_target(
        tmp_path / "t", script="BATCH = 1024\nLR = 0.1\nWD = 0.2\nMODE = 'a'\nDEPTH = 4\nraise OSError('no data')"
    )
    view = await run_session(db, plan(target))
    assert view.status == "failed"
    assert "the baseline gave no metric" in view.status_reason and "OSError: no data" in view.status_reason


async def test_a_trial_that_changes_a_fixed_file_is_invalid_and_the_file_is_restored(db: Path, tmp_path: Path) -> None:
    script = (
        "import os\nBATCH = 1024\nLR = 0.1\nWD = 0.2\nMODE = 'a'\nDEPTH = 4\n"
        "if BATCH > 1024: open('fixed.py', 'w').write('EVALUATION = 0')\nprint('---\\nval_bpb: 1.5')\n"
    )
    view = await run_session(db, plan(write_target(tmp_path / "t", script=script), trials=3, confirm=False))
    cheated = [trial for trial in view.history if trial.config["BATCH"] > 1024]
    assert cheated and all(trial.status == "invalid" and "fixed.py" in trial.reason for trial in cheated)
    assert (db.parent / ".bilevel/s1/workspace/fixed.py").read_text() == "EVALUATION = 'fixed'\n"


async def test_a_session_without_a_baseline_never_searches_however_often_it_is_resumed(
    db: Path, tmp_path: Path
) -> None:
    script = "BATCH = 1024\nLR = 0.1\nWD = 0.2\nMODE = 'a'\nDEPTH = 4\nraise OSError('no data')"
    target = write_target(tmp_path / "t", script=script)
    await run_session(db, plan(target, baseline_runs=2))
    for _ in range(3):
        view = await run_session(db, {"resume": "s1"})
        assert view.status == "failed" and "start a new one" in view.status_reason
    assert view.completed == 0 and set(view.finished_runs) == {"baseline-1", "baseline-2"}


async def test_a_run_that_removes_its_folder_is_invalid_and_the_next_has_its_files(db: Path, tmp_path: Path) -> None:
    script = (
        "import os, shutil\nBATCH = 1024\nLR = 0.1\nWD = 0.2\nMODE = 'a'\nDEPTH = 4\n"
        "if BATCH > 1024: shutil.rmtree(os.getcwd())\nprint('---\\nval_bpb: 1.5')\n"
    )
    view = await run_session(db, plan(write_target(tmp_path / "t", script=script), trials=3, confirm=False))
    assert view.status == "finished" and view.history.trials[1].status == "invalid"
    assert any(trial.status in ("keep", "discard") for trial in view.history if trial.number > 1)


async def test_a_session_that_lost_its_folder_is_resumed_from_the_commits(db: Path, target: Path) -> None:
    import shutil

    await run_session(db, plan(target, trials=3))
    shutil.rmtree(db.parent / ".bilevel/s1/workspace")
    view = await run_session(db, {"resume": "s1", "extend": {"trials": 5}})
    assert (view.status, view.completed) == ("finished", 5)


async def test_results_tsv_has_a_line_for_each_run_of_the_search(db: Path, target: Path) -> None:
    view = await run_session(db, plan(target, trials=3, confirm=False))
    lines = (db.parent / ".bilevel/s1/results.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert len(lines) == 1 + 3 + 3
    assert lines[-1].split("\t")[3] == view.history.trials[3].status


async def test_tokens_end_a_session_cleanly(db: Path, target: Path) -> None:
    view = await run_session(db, plan(target, trials=50, max_tokens=20_000, confirm=False))
    assert view.status == "finished" and "tokens" in view.status_reason
    assert 0 < view.completed < 50 and view.running is None


async def test_money_is_refused_where_the_price_is_unknown(db: Path, target: Path) -> None:
    what = plan(target, model="some-model", base_url="http://127.0.0.1:9/v1", max_cost=1.0)
    with pytest.raises(InputError, match="price"):
        await run_session(db, what)
    with Reader(db) as reader:
        assert reader.sessions() == []


async def test_recorded_answers_play_back_as_the_model(db: Path, target: Path) -> None:
    first = await run_session(db, plan(target, trials=6, confirm=False))
    again = await run_session(db, plan(target, "s2", trials=6, confirm=False, model="replay:s1"))
    assert again.model == "replay:s1" and again.completed == 6 and again.stand_in
    assert [trial.changes for trial in again.history] == [trial.changes for trial in first.history]


async def test_the_session_takes_commands_and_records_who_decided(db: Path, tmp_path: Path) -> None:
    target = write_target(tmp_path / "t", seconds=0.4)
    async with opened(db, plan(target, trials=30, confirm=False)) as session:
        handle = session.commands.handle
        view = session.journal.view
        task = asyncio.create_task(session.session.run())
        await until(lambda: view.completed >= 1)
        assert (await handle(Command("freeze", {"name": "BATCH"}, "person"))).applied
        assert not (await handle(Command("freeze", {"name": "DEPTH"}, "person"))).applied
        assert not (await handle(Command("freeze", {"name": "NOPE"}, "person"))).applied
        assert (await handle(Command("guide", {"text": "Lower the rate."}, "person"))).applied
        await until(lambda: session.runs.current is not None)
        another = await handle(Command("kill_trial", {"run": "trial-0"}, "person"))
        assert not another.applied and another.detail.startswith("trial-0 does not train any more")
        assert (await handle(Command("pause", {}, "person"))).applied
        await until(lambda: view.running is None and not session.session.boundary.machine.locked())
        paused_at = view.completed
        assert (await handle(Command("pause", {}, "person"))).applied
        assert not (await handle(Command("kill_trial", {}, "person"))).applied
        assert (await handle(Command("resume", {}, "person"))).applied
        await until(lambda: view.completed > paused_at + 1)
        assert (await handle(Command("stop", {"now": True}, "person"))).applied
        await task
    assert view.status == "finished" and view.status_by == "person"
    frozen_since = [trial for trial in view.history if trial.number > paused_at]
    assert frozen_since and all("BATCH" not in trial.changes for trial in frozen_since)
    assert view.person_guidance == "Lower the rate."
    assert left_behind(db.parent) == []


async def test_a_stop_is_seen_until_the_session_ends_and_not_by_the_next_engine(db: Path, tmp_path: Path) -> None:
    target = write_target(tmp_path / "t", seconds=0.5)
    async with opened(db, plan(target, trials=50, confirm=False)) as session:
        view, handle = session.journal.view, session.commands.handle
        task = asyncio.create_task(session.session.run())
        await until(lambda: view.completed >= 1 and session.runs.current is not None and view.running is not None)
        assert not view.ending
        told = await handle(Command("stop", {"now": False}, "person"))
        assert view.ending and view.running is not None and told.detail == f"it ends after {view.running.started.run}"
        for back in ("pause", "resume"):  # also what it was paused for does not take the stop back
            told = await handle(Command(back, {}, "person"))
            assert told.applied == (back == "pause")
        assert "a person has stopped the session: once it has ended, `bilevel resume s1`" in told.detail
        await task
    assert (view.status, view.ending) == ("finished", False)
    async with opened(db, {"resume": "s1"}) as session:
        assert (session.journal.view.status, session.journal.view.ending) == ("running", False)


def _rows(db: Path) -> list:
    with Reader(db) as reader:
        return list(reader.events("s1"))


def _view_at(db: Path, seq: int):
    from engine.record.view import fold

    return fold((row.seq, row.time, row.event) for row in _rows(db) if row.seq <= seq)
