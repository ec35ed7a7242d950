"""The engine's half of a run: following it, stopping it, and taking it up again after whatever died."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import training_runs
from training_runs import LEAVE_WORKERS, PROCESSES, alive, noted, run, run_spec, save, spawned_of, state, until

from engine.errors import InputError
from engine.training import processes
from engine.training.environment import trainer_environment
from engine.training.outcome import outcome_of
from engine.training.output import Progress
from engine.training.trainer import RunSpec, Trainer

ENGINE = [sys.executable, training_runs.__file__]
ROOT = Path(__file__).parent.parent
SLEEP = "while True: time.sleep(60)\n"


def start_engine(spec: RunSpec, folder: Path) -> subprocess.Popen[bytes]:
    """An engine in a process of its own, which starts that run."""
    save(spec, folder)
    return subprocess.Popen([*ENGINE, str(folder)], env={**os.environ, "PYTHONPATH": str(ROOT)})


async def test_progress_comes_thinned_with_offsets_into_the_log(tmp_path: Path) -> None:
    body = """
for n in range(1000):
    sys.stdout.write(f"\\rstep {n:05d} ({n / 10:.1f}%) | loss: {9 - n / 200:.6f} | tok/sec: 1,690,000 | epoch: 1   ")
    time.sleep(0.001)
await_file("finish")
"""
    spec = run_spec(tmp_path, body)
    trainer = Trainer()
    seen: list[tuple[Progress, int]] = []

    async def note(progress: Progress, offset: int) -> None:
        seen.append((progress, offset))
        if progress.step >= 998:  # the last line has no end
            (tmp_path / "finish").touch()

    await trainer.start(spec)
    outcome = await asyncio.wait_for(trainer.wait(note), 40)
    assert outcome.status == "ended"
    assert 1 <= len(seen) < 50
    last, offset = seen[-1]
    assert (last.step, last.fraction, last.tokens_per_second) == (998, 0.998, 1_690_000)
    assert offset == spec.log.stat().st_size
    assert [at for _, at in seen] == sorted({at for _, at in seen})


async def test_a_callback_stops_the_run_with_its_reason(tmp_path: Path) -> None:
    trainer = Trainer()

    async def stop(progress: Progress, offset: int) -> None:
        await trainer.stop("loss is\nrising")
        await trainer.stop("loss is rising")  # twice is once

    await trainer.start(run_spec(tmp_path, "print('step 1 | loss: 2.5')\n" + SLEEP))
    outcome = await asyncio.wait_for(trainer.wait(stop), 40)
    assert (outcome.why, outcome.reason, outcome.status) == ("stopped", "loss is rising", "stopped")


async def test_a_cancelled_wait_leaves_the_run_alone(tmp_path: Path) -> None:
    trainer = Trainer()
    await trainer.start(run_spec(tmp_path, "await_file('finish')\n"))
    waiting = asyncio.create_task(trainer.wait())
    await until(lambda: noted(tmp_path))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(RuntimeError, match="still running"):
        await trainer.start(run_spec(tmp_path, ""))
    (tmp_path / "finish").touch()
    assert (await asyncio.wait_for(trainer.wait(), 40)).status == "ended"
    with pytest.raises(RuntimeError, match="no attempt"):
        await trainer.wait()


async def test_an_engine_may_leave_a_run_to_the_next(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, "await_file('finish')\n")
    first, second = Trainer(), Trainer()
    spawned = await first.start(spec)
    await until(lambda: noted(tmp_path))
    first.leave()
    assert await second.adopt(spec, spawned) == "running"
    (tmp_path / "finish").touch()
    assert (await asyncio.wait_for(second.wait(), 40)).status == "ended"


async def test_an_attempt_is_not_run_over_its_result(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, "")
    await run(spec)
    with pytest.raises(FileExistsError, match="earlier attempt"):
        await Trainer().start(spec)


async def test_when_the_supervisor_is_killed_everything_of_it_goes(tmp_path: Path) -> None:
    trainer = Trainer()
    # Without the worker that hides its environment: nobody but the supervisor finds that one.
    workers = LEAVE_WORKERS.replace(", deaf, elsewhere", ", deaf").replace("< 7", "< 6")
    spawned = await trainer.start(run_spec(tmp_path, workers + SLEEP))
    await until(lambda: len(noted(tmp_path)) == PROCESSES - 1)
    os.kill(spawned.pid, signal.SIGKILL)
    outcome = await asyncio.wait_for(trainer.wait(), 40)
    assert outcome.status == "lost" and "SIGKILL" in outcome.reason
    await until(lambda: not any(alive(pid) for pid in noted(tmp_path)), seconds=5)


@pytest.mark.parametrize("recorded", [True, False])
async def test_a_run_outlives_its_engine_and_is_adopted(tmp_path: Path, recorded: bool) -> None:
    spec = run_spec(tmp_path, "await_file('finish')\nprint('step 2 | loss: 1.5')\n")
    engine = start_engine(spec, tmp_path)
    await until(lambda: (tmp_path / "spawned.json").exists() and noted(tmp_path))
    engine.kill()
    engine.wait()
    trainer = Trainer()
    assert await trainer.adopt(spec, spawned_of(tmp_path) if recorded else None) == "running"
    (tmp_path / "finish").touch()
    outcome = await asyncio.wait_for(trainer.wait(), 40)
    assert (outcome.why, outcome.exit_code) == ("exit", 0)


async def test_a_result_waits_for_the_next_engine(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, "await_file('finish')\n")
    engine = start_engine(spec, tmp_path)
    await until(lambda: (tmp_path / "spawned.json").exists() and noted(tmp_path))
    engine.kill()
    engine.wait()
    (tmp_path / "finish").touch()
    spawned = spawned_of(tmp_path)
    await until(lambda: not alive(spawned.pid))
    trainer = Trainer()
    assert await trainer.adopt(spec, spawned) == "finished"
    assert (await trainer.wait()).status == "ended"


async def test_an_adopted_run_can_be_stopped(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, LEAVE_WORKERS + SLEEP)
    engine = start_engine(spec, tmp_path)
    await until(lambda: (tmp_path / "spawned.json").exists() and len(noted(tmp_path)) == PROCESSES)
    engine.kill()
    engine.wait()
    trainer = Trainer()
    assert await trainer.adopt(spec, spawned_of(tmp_path)) == "running"
    await trainer.stop("asked for by a person")
    outcome = await asyncio.wait_for(trainer.wait(), 40)
    assert (outcome.why, outcome.reason) == ("stopped", "asked for by a person")
    assert not any(alive(pid) for pid in noted(tmp_path))


async def test_when_engine_and_supervisor_are_killed_the_next_engine_sweeps(tmp_path: Path) -> None:
    workers = LEAVE_WORKERS.replace(", deaf, elsewhere", ", deaf").replace("< 7", "< 6")
    spec = run_spec(tmp_path, workers + SLEEP)
    engine = start_engine(spec, tmp_path)
    await until(lambda: (tmp_path / "spawned.json").exists() and len(noted(tmp_path)) == PROCESSES - 1)
    engine.kill()
    engine.wait()
    os.kill(spawned_of(tmp_path).pid, signal.SIGKILL)
    await until(lambda: not alive(spawned_of(tmp_path).pid))
    assert await Trainer().adopt(spec, spawned_of(tmp_path)) == "lost"
    await until(lambda: not any(alive(pid) for pid in noted(tmp_path)), seconds=5)


def start_innocent() -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", "-c", "import time; time.sleep(600)"])


async def test_a_process_that_only_has_the_number_is_left_alone(tmp_path: Path) -> None:
    innocent = start_innocent()
    try:
        real = processes.describe(innocent.pid)
        spec = run_spec(tmp_path, "")
        for start, boot in ((real.start_time + 1, real.boot_id), (real.start_time, "0" * 36)):
            other = processes.Spawned(innocent.pid, start, boot)
            assert await Trainer().adopt(spec, other) == "lost"
            assert processes.open_spawned(other) is None
        assert innocent.poll() is None
        descriptor = processes.open_spawned(real)
        assert descriptor is not None
        os.close(descriptor)
    finally:
        innocent.kill()
        innocent.wait()
    assert processes.open_spawned(real) is None


def test_a_short_token_names_no_attempt() -> None:
    with pytest.raises(ValueError, match="does not name one attempt"):
        processes.sweep("")


async def test_a_paused_engine_slows_no_trainer(tmp_path: Path) -> None:
    body = """
line = "x" * 65536
while not os.path.exists(FOLDER + "/finish"):
    sys.stdout.write(line + "\\rstep 7 | loss: 1.0 | " + line + "\\r")
    time.sleep(0.005)
"""
    spec = run_spec(tmp_path, body, log_bytes=1 << 30)
    engine = start_engine(spec, tmp_path)
    await until(lambda: spec.log.exists() and spec.log.stat().st_size > 0)
    engine.send_signal(signal.SIGSTOP)
    await until(lambda: state(engine.pid) == "T")
    before = spec.log.stat().st_size
    await until(lambda: spec.log.stat().st_size > before + (4 << 20))  # many times what a pipe would hold
    (tmp_path / "finish").touch()
    await until(spec.result.exists)
    assert state(engine.pid) == "T"
    engine.send_signal(signal.SIGCONT)
    await until(lambda: engine.poll() is not None)
    outcome = json.loads((tmp_path / "outcome.json").read_text())
    assert engine.returncode == 0 and (outcome["why"], outcome["exit_code"]) == ("exit", 0)


async def test_a_trainer_gets_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "NVIDIA_API_KEY", "HF_TOKEN", "CUDA_SECRET_X", "UNKNOWN_SETTING"):
        monkeypatch.setenv(name, "for nobody")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    environment = trainer_environment({"TOKENIZERS_PARALLELISM": "false", "BILEVEL_SEED": "5"})
    spec = run_spec(tmp_path, "print(dict(os.environ))\n", environment=environment)
    await run(spec)
    printed = spec.log.read_text()
    assert "for nobody" not in printed
    for pair in ("'CUDA_VISIBLE_DEVICES': '3'", "'TOKENIZERS_PARALLELISM': 'false'", "'BILEVEL_SEED': '5'", spec.token):
        assert pair in printed
    with pytest.raises(InputError, match="WANDB_API_KEY"):
        trainer_environment({"WANDB_API_KEY": "x"})


async def test_a_result_counts_only_when_it_is_whole_and_its_own(tmp_path: Path) -> None:
    spec = run_spec(tmp_path, "")
    outcome = await run(spec)
    whole = spec.result.read_bytes()
    path = tmp_path / "copy.json"

    def read(content: bytes, *, attempt: int = 1) -> object:
        path.write_bytes(content)
        return outcome_of(path, spec.run, attempt, spec.token)

    assert read(whole) == outcome
    assert read(whole, attempt=2) is None
    assert [end for end in range(len(whole)) if read(whole[:end]) is not None] == []
    fields = json.loads(whole)
    for change in ({"why": "lost"}, {"seconds": -1}, {"seconds": "1"}, {"exit_code": 0.5}, {"token": "x"}, {"more": 1}):
        assert read(json.dumps({**fields, **change}).encode()) is None
    for text in (b"[]", b"NaN", b"\xff", b"[" * 10_000, whole.replace(b'"seconds": 0', b'"seconds": 1e999')):
        assert read(text) is None
    path.unlink()
    os.mkfifo(path)
    assert outcome_of(path, spec.run, 1, spec.token) is None
    path.unlink()
    path.symlink_to(spec.result)
    assert outcome_of(path, spec.run, 1, spec.token) is None


async def test_a_supervisor_that_somebody_stopped_still_ends_its_run(tmp_path: Path) -> None:
    trainer = Trainer()
    spec = run_spec(tmp_path, "await_file('never')", deadline=60.0, grace=1.0)
    spawned = await trainer.start(spec)
    os.kill(spawned.pid, signal.SIGSTOP)
    await trainer.stop("a person stopped it")
    outcome = await trainer.wait()
    assert (outcome.why, outcome.reason) == ("stopped", "a person stopped it")


async def test_a_stopped_supervisor_is_woken_when_its_deadline_has_passed(tmp_path: Path) -> None:
    trainer = Trainer()
    spec = run_spec(tmp_path, "await_file('never')", deadline=0.5, grace=0.2)
    spawned = await trainer.start(spec)
    os.kill(spawned.pid, signal.SIGSTOP)
    assert (await trainer.wait()).why == "deadline"
