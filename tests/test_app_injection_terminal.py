"""The story of an injection in a true terminal over a real engine: it appears, and a person vetoes, approves, reverts.

The search is the one of tests/fast_sessions.py; Level 2's stand-in writes tabu_search after ten trials.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import completed, engine_of, events, plan, read_view, until, write_target
from terminal import Terminal
from test_veto import Endpoint, asking

from engine.record import events as ev
from engine.record.lock import holder
from engine.record.view import View

SIZE = (120, 40)


@asynccontextmanager
async def attached(
    folder: Path, environ: Mapping[str, str] | None = None, **settings: Any
) -> AsyncIterator[tuple[Path, Terminal]]:
    """An engine that runs in the folder, and a viewer of it."""
    what = plan(write_target(folder / "target", seconds=0.05), trials=2000, baseline_runs=1, **settings)
    with engine_of(folder / "sessions.db", what):
        await until(lambda: completed(folder / "sessions.db") >= 1)
        with Terminal(folder, "attach", size=SIZE, **(environ or {})) as terminal:
            yield folder, terminal


def view(folder: Path) -> View:
    return read_view(folder / "sessions.db")


def decisions(folder: Path) -> list[ev.InjectionDecided]:
    return events(folder / "sessions.db", "s1", "injection_decided")


def waits(terminal: Terminal) -> Terminal:
    return terminal.wait("! INJECTION", 60).wait("waits for you")


async def test_it_appears_with_a_bell_and_is_vetoed_with_a_reason(tmp_path: Path) -> None:
    async with attached(tmp_path, approval="ask") as (folder, terminal):
        waits(terminal)
        terminal.wait(lambda: "\x07" in terminal.output)
        digest = view(folder).waiting.hash  # type: ignore[union-attr]
        terminal.keys("i").wait("tabu_search waits for a decision").wait(digest).wait("would have acted in")
        terminal.keys("v").wait("Why?").write("it blocks the way").keys("enter")
        terminal.wait("✓ veto").wait("is turned away").wait("1 Trials")
        assert "vetoed by a person" not in terminal.text()
        assert "INJECTION" not in terminal.text()
        [decision] = decisions(folder)
        assert (decision.hash, decision.decision, decision.by) == (digest, "vetoed", "person")
        assert decision.reason == "it blocks the way" and view(folder).active == []
        assert terminal.keys("q").exit_code() == 0


async def test_it_is_approved_acts_and_is_taken_out_again(tmp_path: Path) -> None:
    async with attached(tmp_path, approval="ask") as (folder, terminal):
        waits(terminal)
        digest = view(folder).waiting.hash  # type: ignore[union-attr]
        terminal.keys("a").wait("waits for a decision").keys("a").wait("y  yes").keys("enter")
        terminal.wait(lambda: "y  yes" not in terminal.text())
        assert decisions(folder) == []  # Enter means no
        terminal.keys("a").wait(f"source {digest}").keys("y").wait("✓ approve").wait("1 Trials")
        assert "let in by a person" not in terminal.text()
        terminal.wait(lambda: view(folder).active == [digest])
        terminal.keys("4").wait("1 ● tabu_search").wait(lambda: view(folder).mechanisms[digest].acted)
        terminal.keys("w").wait("review:")
        terminal.keys("r").wait("let in by a person")
        terminal.keys("R").wait(f"source {digest}").keys("y").wait("✓ revert").wait("▽ tabu_search")
        mechanism = view(folder).mechanisms[digest]
        assert (mechanism.status, view(folder).active) == ("reverted", [])
        applied = [(event.command, event.by) for event in events(folder / "sessions.db", "s1", "command_applied")]
        assert applied == [("approve", "person"), ("revert", "person")]
        [out] = events(folder / "sessions.db", "s1", "mechanism_deactivated")
        assert (out.by, out.status, out.reason) == ("person", "reverted", "a person reverted it")


async def test_of_two_viewers_one_decides_and_the_others_question_closes_with_who_did(tmp_path: Path) -> None:
    async with attached(tmp_path, approval="ask") as (folder, first):
        with Terminal(folder, "attach", size=(80, 24)) as second:
            waits(first).keys("i").wait("waits for a decision").keys("a").wait("y  yes")
            waits(second).keys("i").wait("waits for a decision").keys("v").wait("Why?")
            second.write("mine").keys("enter").wait("✓ veto")
            first.wait("vetoed by a person: mine")
            assert "y  yes" not in first.text() and "waits for a decision" not in first.text()
            first.keys("y")  # what is typed late decides nothing
            assert [decision.decision for decision in decisions(folder)] == ["vetoed"]
            assert first.keys("q").exit_code() == second.keys("q").exit_code() == 0


@pytest.mark.long
async def test_the_deadline_passes_while_a_person_is_asked(tmp_path: Path) -> None:
    async with attached(tmp_path, approval="grace", grace=6.0) as (folder, terminal):
        terminal.wait("clock lets it in: 0:0", 60).keys("i").wait("waits for a decision").keys("a").wait("y  yes")
        terminal.wait("let in by the clock")
        assert "y  yes" not in terminal.text()
        terminal.wait(lambda: view(folder).active)
        [decision] = decisions(folder)
        assert (decision.decision, decision.by) == ("approved", "clock")


async def test_an_engine_that_is_gone_while_a_person_decides(tmp_path: Path) -> None:
    async with attached(tmp_path, approval="ask") as (folder, terminal):
        waits(terminal).keys("i").wait("waits for a decision")
        found = holder(folder / "sessions.db")
        assert found is not None
        os.kill(found.pid, signal.SIGKILL)
        terminal.wait("waits until the session is resumed").wait("bilevel resume s1")
        terminal.keys("a").wait("y  yes").keys("y").wait("✗ approve: refused").wait("no engine runs s1")
        assert decisions(folder) == [] and view(folder).waiting is not None
        assert terminal.keys("escape").wait("1 Trials").keys("q").exit_code() == 1


async def test_a_waiting_mechanism_is_edited_in_the_persons_editor(tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/^    TENURE = .*/    TENURE = 9/' \"$1\"\n")
    editor.chmod(0o700)
    async with attached(tmp_path, {"EDITOR": str(editor)}, approval="ask") as (folder, terminal):
        waits(terminal)
        digest = view(folder).waiting.hash  # type: ignore[union-attr]
        terminal.keys("i").wait("waits for a decision").keys("e").wait("✓ edit")
        terminal.wait("turned away: a person's edit", 60).wait("1 Trials")
        terminal.wait(lambda: view(folder).active, 60)
        [active] = [view(folder).mechanisms[digest] for digest in view(folder).active]
        assert (active.written_by, active.derived_from) == ("person", digest)
        terminal.keys("4", "z", "g", "d").wait("+    TENURE = 9")


async def test_a_veto_with_nothing_waiting_calls_off_the_research(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILEVEL_API_KEY", "sk-any")

    def story() -> None:
        with Terminal(tmp_path, "attach", size=SIZE) as terminal:
            terminal.wait("diagnosing the search").keys("v").wait("Calls off research 1 (diagnosing the search)")
            terminal.write("not now").keys("enter").wait("✓ veto").wait("research 1 is called off")
            terminal.keys("6").wait("vetoed")
            assert terminal.keys("q").exit_code() == 0

    async with Endpoint("explore") as server:
        what = asking(server, write_target(tmp_path / "target", seconds=0.05), trials=2000)
        with engine_of(tmp_path / "sessions.db", what):
            await asyncio.wait_for(server.hung.wait(), 60)
            await asyncio.to_thread(story)
    finished = view(tmp_path).researches[1].finished
    assert finished is not None and (finished.outcome, finished.reason) == ("vetoed", "not now")
