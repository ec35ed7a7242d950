"""Whole sessions with a model behind an endpoint on loopback: they end as they should, whatever the endpoint does."""

import asyncio
import sqlite3
import subprocess
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import (
    IMPATIENT,
    SCRIPT,
    events,
    opened,
    plan,
    read_view,
    run_session,
    start_engine,
    until,
    write_target,
)
from loopback import Loopback, offline_answers, purpose_of, seeded

import engine.session.session as session_module
from engine.control import Command
from engine.model.client import OpenAIModel, canonical
from engine.record.reader import Reader

KEY = "sk-verysecret-0123456789abcdef"
ENVIRON = {"BILEVEL_API_KEY": KEY}
PRICES = {"price_in": 2.0, "price_out": 10.0}
FAULTS = ("429", "500", "slow", "length", "not_json", "no_choices", "cut", "empty")
SEED = 39
"""With it each of the faults is among the first 24 requests."""


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write_target(tmp_path / "target")


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries, and Level 1's own, take a moment instead of seconds and minutes."""
    monkeypatch.setitem(OpenAIModel.__init__.__kwdefaults__, "jitter", lambda: 0.005)
    monkeypatch.setattr(session_module, "FIRST_WAIT", 0.05)
    monkeypatch.setattr(session_module, "PATIENCE", 0.2)


def endpoint(faults: Any = (), **options: Any) -> Loopback:
    """A server that answers as the stand-in would, and fails as `faults` says."""
    return Loopback(offline_answers(0), faults, **options)


def asking(server: Loopback, target: Path, **settings: Any) -> dict[str, Any]:
    """The plan of a session whose model is that server."""
    return plan(target, model="some-model", base_url=server.base_url, **PRICES, **settings)


def of(kind: str, db: Path) -> list[Any]:
    return events(db, "s1", kind)


async def test_a_model_behind_an_endpoint_is_counted_priced_and_drives_all_levels(db: Path, target: Path) -> None:
    async with endpoint() as server:
        view = await run_session(db, asking(server, target, trials=20, confirm=False), ENVIRON)
        asked = len(server.requests)
    assert (view.status, view.completed, view.stand_in, view.model) == ("finished", 20, False, "some-model")
    calls = of("model_called", db)
    assert len(calls) == asked == view.calls
    assert (view.tokens_in, view.tokens_out) == (sum(c.tokens_in for c in calls), sum(c.tokens_out for c in calls))
    assert view.tokens_in > 1000 < view.tokens_out
    assert view.cost == pytest.approx((view.tokens_in * 2.0 + view.tokens_out * 10.0) / 1e6)
    assert {call.level for call in calls} == {"1", "1.5", "2"}
    assert any(decided.acted for decided in view.strategies)
    assert any(known.activated is not None and known.written_by == "model" for known in view.mechanisms.values())


async def test_what_was_sent_and_answered_is_kept_as_it_was(db: Path, target: Path) -> None:
    async with endpoint() as server:
        await run_session(db, asking(server, target, trials=5, confirm=False), ENVIRON)
        sent = [canonical(request["messages"]) for request in server.requests]
    with Reader(db) as reader:
        kept = [reader.blob(call.prompt_blob) for call in of("model_called", db)]
    assert sorted(kept) == sorted(sent) and len(sent) >= 5


@pytest.mark.usefixtures("short_waits")
async def test_a_session_completes_while_a_third_of_the_answers_fail(db: Path, target: Path) -> None:
    async with endpoint(seeded(0.3, SEED, FAULTS), pace=0.002) as server:
        view = await run_session(db, asking(server, target, trials=20, confirm=False), ENVIRON)
        asked, failed = len(server.requests), Counter(server.failed)
    assert (view.status, view.completed) == ("finished", 20)
    assert failed.keys() == set(FAULTS)
    unanswered = sum(failed[kind] for kind in ("429", "500", "not_json", "no_choices", "cut"))
    tries = of("model_retried", db)
    given_up = [event for event in (*of("level_skipped", db), *of("level_backed_off", db)) if "tries" in event.reason]
    assert len(tries) + len(given_up) == unanswered
    # Every answered call is charged once, also one whose answer could not be used; a failed try costs nothing.
    assert len(of("model_called", db)) == view.calls == asked - unanswered
    told = " ".join(event.error for event in tries)
    assert "429 (slow down)" in told and "500 (the server is on fire)" in told and "no chat completion" in told
    refused = [event.error for event in of("answer_refused", db)]
    assert any("cut off at the length limit" in error for error in refused)
    assert all(run.status in ("keep", "discard") for run in view.finished_runs.values())


@pytest.mark.usefixtures("short_waits")
async def test_an_outer_level_that_gets_no_usable_answer_skips_its_turn_and_says_why(db: Path, target: Path) -> None:
    answers = offline_answers(0)

    async def answer(request: dict[str, Any]) -> str:
        if purpose_of(request["messages"]) != "propose":
            return "I would rather talk about the weather."
        return await answers(request)

    async with Loopback(answer) as server:
        view = await run_session(db, asking(server, target, trials=12, confirm=False), ENVIRON)
    assert (view.status, view.completed) == ("finished", 12)
    skipped = of("level_skipped", db)
    assert skipped and {event.level for event in skipped} >= {"1.5"}
    assert all("no usable answer in 3 asks" in event.reason for event in skipped)
    assert [research.finished.outcome for research in view.researches.values()] == ["failed"]
    assert view.calls == len(of("model_called", db)) == len(server.requests)


@pytest.mark.usefixtures("short_waits")
async def test_a_refused_key_pauses_the_session_until_it_is_mended(db: Path, target: Path) -> None:
    wrong = True
    async with endpoint(lambda number: "401" if wrong else None) as server:
        what = asking(server, target, trials=3, confirm=False)
        async with opened(db, what, ENVIRON) as session:
            view = session.journal.view
            task = asyncio.create_task(session.session.run())
            await until(lambda: view.status == "paused")
            assert "the model failed for" in view.status_reason and "BILEVEL_API_KEY" in view.status_reason
            assert KEY not in view.status_reason and view.status_by == "engine"
            backed_off = of("level_backed_off", db)
            assert backed_off and all("401" in event.reason and event.level == "1" for event in backed_off)
            # Resumed with the wrong key it pauses again, and does not end.
            assert (await session.commands.handle(Command("resume", {}, "person"))).applied
            await until(lambda: len(of("level_backed_off", db)) > len(backed_off) and view.status == "paused")
            wrong = False
            assert (await session.commands.handle(Command("resume", {}, "person"))).applied
            await task
    assert (view.status, view.completed) == ("finished", 3)
    assert of("model_retried", db) == [], "a refusal is not tried again by itself"


@pytest.mark.usefixtures("short_waits")
async def test_a_new_engine_takes_the_right_key_after_a_wrong_one(db: Path, target: Path) -> None:
    wrong = True
    async with endpoint(lambda number: "401" if wrong else None) as server:
        async with opened(
            db, asking(server, target, trials=2, confirm=False), {"BILEVEL_API_KEY": "sk-a-wrong-key"}
        ) as session:
            task = asyncio.create_task(session.session.run())
            await until(lambda: session.journal.view.status == "paused")
            session.journal.closed = True
            task.cancel()
            await asyncio.wait([task])
        wrong = False
        view = await run_session(db, {"resume": "s1"}, ENVIRON)
    assert (view.status, view.completed) == ("finished", 2)
    assert server.headers[0]["authorization"].endswith("sk-a-wrong-key")
    assert server.headers[-1]["authorization"] == f"Bearer {KEY}"


# --- an outage in the middle ------------------------------------------------------------------------------------------
@pytest.mark.usefixtures("short_waits")
async def test_trials_go_on_undisturbed_while_the_outer_levels_wait_in_vain(db: Path, tmp_path: Path) -> None:
    answers = offline_answers(0)

    async def answer(request: dict[str, Any]) -> str:
        if purpose_of(request["messages"]) != "propose":
            await asyncio.Event().wait()
        return await answers(request)

    target = write_target(tmp_path / "slow", seconds=0.2)
    async with Loopback(answer) as server:
        what = asking(server, target, trials=16, confirm=False, baseline_runs=1, model_timeout=0.2)
        view = await run_session(db, what, ENVIRON)
    assert (view.status, view.completed) == ("finished", 16)
    skipped = of("level_skipped", db)
    assert {event.level for event in skipped} == {"1.5", "2"}
    assert all("gave no answer in 5 tries: no whole answer within 0.2 s" in event.reason for event in skipped)
    # Trials began and ended between the first failed try and the level's giving up.
    with Reader(db) as reader:
        kinds = [row.kind for row in reader.events("s1")]
    waiting = kinds[kinds.index("model_retried") : kinds.index("level_skipped")]
    assert waiting.count("trial_started") >= 1 and waiting.count("trial_finished") >= 1
    runs = [run for run in view.finished_runs.values() if run.role == "search"]
    assert all((run.status in ("keep", "discard"), run.steps, run.attempt) == (True, 4, 1) for run in runs)


@pytest.mark.usefixtures("short_waits")
async def test_a_trial_that_trains_when_the_model_goes_away_ends_as_ever(db: Path, tmp_path: Path) -> None:
    down = False
    target = write_target(tmp_path / "slow", seconds=0.4)
    async with (
        endpoint(lambda number: "500" if down else None) as server,
        opened(db, asking(server, target, trials=7, confirm=False, baseline_runs=1), ENVIRON) as session,
    ):
        view = session.journal.view
        task = asyncio.create_task(session.session.run())
        await until(lambda: view.completed == 4 and view.running is not None and view.running.spawned is not None)
        down, run = True, view.running.started.run
        await until(lambda: of("level_backed_off", db) and of("level_skipped", db))
        assert (view.completed, view.running) == (5, None)
        during = view.finished_runs[run]
        assert (during.status in ("keep", "discard"), during.steps, during.attempt) == (True, 4, 1)
        down = False
        if view.status == "paused":
            await session.commands.handle(Command("resume", {}, "person"))
        await until(lambda: view.status == "running")
        await task
    assert (view.status, view.completed) == ("finished", 7)
    assert [event.level for event in of("level_skipped", db)] == ["1.5"]


# --- limits -----------------------------------------------------------------------------------------------------------
async def test_a_limit_in_money_ends_a_session_cleanly(db: Path, target: Path) -> None:
    async with endpoint() as server:
        view = await run_session(db, asking(server, target, trials=50, max_cost=0.05), ENVIRON)
    assert view.status == "finished" and view.status_by == "engine"
    assert "the model has cost 0.05" in view.status_reason and "the limit is 0.05" in view.status_reason
    assert 0 < view.completed < 50 and view.running is None
    calls = of("model_called", db)
    # What was under way when the limit was passed is paid for, and nothing was asked after it.
    assert 0.05 <= view.cost <= 0.05 + 3 * max(call.cost for call in calls)
    assert view.calls == len(calls) == len(server.requests)


async def test_a_limit_in_tokens_ends_a_session_cleanly_and_more_can_be_given(db: Path, target: Path) -> None:
    async with endpoint() as server:
        view = await run_session(db, asking(server, target, trials=50, max_tokens=20_000, confirm=False), ENVIRON)
        assert view.status == "finished" and "tokens, and the limit is 20,000" in view.status_reason
        assert view.running is None and 0 < view.completed < 50
        asked = len(server.requests)
        again = await run_session(db, {"resume": "s1"}, ENVIRON)
    assert (again.status, again.completed) == ("finished", view.completed)
    assert len(server.requests) == asked, "a used-up budget stays used up in the next engine"


# --- no secret --------------------------------------------------------------------------------------------------------
def holding(secret: bytes, db: Path) -> list[str]:
    """The places around a record that hold the secret: files, events, blobs, git objects."""
    found = [str(path) for path in db.parent.rglob("*") if path.is_file() and secret in path.read_bytes()]
    connection = sqlite3.connect(f"file:{db}?mode=ro", uri=True)
    try:
        bodies = connection.execute("SELECT kind, body FROM events").fetchall()
        found += [f"event {kind}" for kind, body in bodies if secret in str(body).encode()]
        blobs = connection.execute("SELECT hash, data FROM blobs").fetchall()
        found += [f"blob {name}" for name, data in blobs if secret in zlib.decompress(data)]
    finally:
        connection.close()
    for repository in db.parent.glob(".bilevel/*/workspace.git"):
        command = ["git", "--git-dir", str(repository), "cat-file", "--batch", "--batch-all-objects"]
        found += [str(repository)] * (secret in subprocess.run(command, capture_output=True, check=True).stdout)
    assert bodies and blobs
    return found


async def test_the_key_is_nowhere_but_in_the_requests(db: Path, tmp_path: Path) -> None:
    """Neither in what the trainer sees, though it prints its environment, nor where an endpoint or a model says it."""
    answers = offline_answers(0)

    async def answer(request: dict[str, Any]) -> str:
        return f"{await answers(request)}\nYour key is {KEY}, is it not?"

    script = SCRIPT + "print(*(f'{name}={value}' for name, value in os.environ.items()), sep='\\n')\n"
    target = write_target(tmp_path / "target", script=script)
    async with Loopback(answer, lambda number: "401" if number in (2, 9) else None) as server:
        what = asking(server, target, trials=12, confirm=False)
        process = start_engine(db, what, IMPATIENT, BILEVEL_API_KEY=KEY, OPENAI_API_KEY=KEY, DEEPSEEK_API_KEY=KEY)
        assert await asyncio.to_thread(process.wait, 60) == 0, (db.parent / "engine.log").read_text()[-3000:]
        assert {headers["authorization"] for headers in server.headers} == {f"Bearer {KEY}"}
    view = read_view(db)
    assert view.completed == 12 and view.mechanisms
    with Reader(db) as reader:
        log = reader.blob(view.finished_runs["trial-1"].log_blob).decode()
        answered = [reader.blob(call.answer_blob).decode() for call in of("model_called", db)]
    assert "BILEVEL_TOKEN=" in log and "API_KEY" not in log
    assert all("Your key is [key]" in text for text in answered)
    assert any("401" in event.reason for event in (*of("level_backed_off", db), *of("level_skipped", db)))
    assert holding(KEY.encode(), db) == []
