"""Whole sessions with a model behind an endpoint on loopback: they end as they should, whatever the endpoint does."""

import asyncio
import json
import os
import sqlite3
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import SCRIPT, events, opened, plan, read_view, run_session, start_engine, until, write_target
from loopback import Loopback, offline_answers, purpose_of, seeded

import engine.session.session as session_module
from engine.control import Command
from engine.model.client import OpenAIModel
from engine.record.reader import Reader

KEY = "sk-verysecret-0123456789abcdef"
ENVIRON = {"BILEVEL_API_KEY": KEY}
PRICES = {"price_in": 2.0, "price_out": 10.0}
FAULTS = ("429", "500", "slow", "length", "not_json", "no_choices", "cut", "empty")


@pytest.fixture
def db(tmp_path: Path) -> Path:
    return tmp_path / "sessions.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write_target(tmp_path / "target")


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries, and Level 1's own, take a moment instead of seconds and minutes."""
    made = OpenAIModel.__init__

    def patched(self: OpenAIModel, *args: Any, **options: Any) -> None:
        made(self, *args, **{**options, "jitter": lambda: 0.005})

    monkeypatch.setattr(OpenAIModel, "__init__", patched)
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
        sent = [request["messages"] for request in server.requests]
    with Reader(db) as reader:
        kept = [json.loads(reader.blob(call.prompt_blob)) for call in of("model_called", db)]
    assert sorted(map(str, kept)) == sorted(map(str, sent))


@pytest.mark.usefixtures("short_waits")
async def test_a_session_completes_while_a_third_of_the_answers_fail(db: Path, target: Path) -> None:
    async with endpoint(seeded(0.3, 3, FAULTS), pace=0.002) as server:
        view = await run_session(db, asking(server, target, trials=20, confirm=False), ENVIRON)
        asked, failed = len(server.requests), Counter(server.failed)
    assert (view.status, view.completed) == ("finished", 20)
    assert failed.keys() >= {"429", "500", "slow", "length", "not_json"}
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
    async with endpoint(lambda number: None) as server:
        fault = server._plan
        server._plan = lambda number: fault(number) if _authorised(server) else "401"
        async with opened(db, asking(server, target, trials=2, confirm=False), {"BILEVEL_API_KEY": "sk-wrong-key"}) as session:
            task = asyncio.create_task(session.session.run())
            await until(lambda: session.journal.view.status == "paused")
            session.journal.closed = True
            task.cancel()
            await asyncio.wait([task])
        view = await run_session(db, {"resume": "s1"}, ENVIRON)
    assert (view.status, view.completed) == ("finished", 2)
