"""Sessions in a row on one record: the later one builds on what the earlier ones left, and can be told not to."""

import asyncio
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from fast_sessions import events, opened, plan, read_view, run_session, write_target
from loopback import Loopback, offline_answers, purpose_of

from engine.levels.briefing import earlier_findings
from engine.levels.earlier import earlier_mechanisms, earlier_section
from engine.levels.research import REPAIRS
from engine.mechanism.trust import equals_shipped, shipped_sources
from engine.model.answers import AnswerError, parse_specify
from engine.model.blocks import blocks_of, rows
from engine.record.archive import decode
from engine.record.credit import credit
from engine.record.reader import Reader
from engine.record.view import Mechanism, View
from engine.tools.keeping import prunable, prune

ENVIRON = {"BILEVEL_API_KEY": "k"}
BLOCKS = """\
class Mechanism:
    name = "batch_guard"
    purpose = "It blocks."
    source = "own"
    def review(self, view, proposal):
        return {"block": "no"} if "BATCH" in proposal.changes else None
"""
NEVER_ACTS = BLOCKS.replace('if "BATCH" in proposal.changes', "if False")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the target, and a record in which the stand-in's session s1 has ended."""
    folder = tmp_path_factory.mktemp("begun")
    asyncio.run(session(folder / "sessions.db", write_target(folder / "target"), "s1", trials=20))
    return folder


@pytest.fixture
def db(begun: Path, tmp_path: Path) -> Path:
    """A copy of that record."""
    shutil.copytree(begun, tmp_path / "copy")
    return tmp_path / "copy" / "sessions.db"


@pytest.fixture
def target(db: Path) -> Path:
    return db.parent / "target"


def only(view: View) -> Mechanism:
    """The session's one mechanism."""
    [known] = view.mechanisms.values()
    return known


async def session(db: Path, target: Path, name: str, **settings: Any) -> View:
    """A session run to its end, with the stand-in where no model is named; it waits for its outer levels."""
    chosen = {"trials": 11, "confirm": False, "lockstep": True, **settings}
    return await run_session(db, plan(target, name, **chosen), ENVIRON)


def asked(db: Path, name: str, purpose: str) -> list[str]:
    """The first message to the model in every call for this purpose."""
    with Reader(db) as reader:
        calls = [row.event for row in reader.events(name, kinds=["model_called"])]
        sent = [json.loads(reader.blob(call.prompt_blob)) for call in calls if call.purpose == purpose]
    return [messages[1]["content"] for messages in sent]


def blob(db: Path, digest: str) -> str:
    with Reader(db) as reader:
        return reader.blob(digest).decode()


def scripted(module: str, specified: list[dict[str, Any]]) -> Any:
    """A model that proposes as the stand-in does, and whose Level 2 writes this module in every round."""
    proposing = offline_answers(0)
    explored = {"diagnosis": "It repeats.", "candidates": [{"name": "guard", "field": "own", "idea": "forbid"}]}

    async def answer(request: dict[str, Any]) -> str:
        match purpose_of(request["messages"]):
            case "explore":
                return json.dumps(explored)
            case "critique":
                return json.dumps({"decision": "new", "pick": "guard", "target": None, "reason": "so"})
            case "specify":
                return json.dumps(specified.pop(0) if len(specified) > 1 else specified[0])
            case "generate" | "repair":
                repairs = sum(message["role"] == "assistant" for message in request["messages"])
                return f"```python\n{module}N = {repairs}\n```"
        return await proposing(request)

    return answer


def specification(name: str, **told: Any) -> dict[str, Any]:
    said = {"purpose": "Blocks ```\u00a0# Answer", "source": "own", "hooks": ["review"], "behaviour": "It blocks."}
    return {"name": name, **said, **told}


async def test_the_second_session_sees_the_mechanism_of_the_first_and_builds_on_it(db: Path, target: Path) -> None:
    first = read_view(db)
    known = only(first)
    assert first.archive is None and "archive" not in asked(db, "s1", "explore")[0].split("# Examples")[0]
    found = credit(first, known)
    assert found is not None and found.touched.trials and found.others.trials
    effect = found.touched.improvement / found.touched.trials - found.others.improvement / found.others.trials
    assert effect > 0

    second = await session(db, target, "s2")
    assert second.archive is not None and second.archive.sessions == ["s1"]
    [prompt] = asked(db, "s2", "explore")
    blocks = blocks_of(prompt)
    [told] = rows(blocks, "archive")
    assert (told["name"], told["outcome"], told["sessions"]) == (known.name, "worked", ["s1"])
    assert (told["called"], told["acted"]) == (sum(known.called.values()), known.acted)
    assert told["effect"] == pytest.approx(effect, rel=1e-6)
    assert told["rehearsal"]["blocked"] == known.evidence["blocked"]
    [source] = [block.text for block in blocks if block.words == ("archived", known.name)]
    assert source.rstrip() == blob(db, known.hash).rstrip()
    # The stand-in took it up, and changed a number of it.
    heir = only(second)
    assert (heir.name, heir.derived_from, heir.replaces) == (known.name, known.hash, None)
    assert heir.hash != known.hash and equals_shipped(blob(db, heir.hash), shipped_sources()) == known.name
    # Findings are advice, in the prompts of Levels 1 and 1.5, and name the session.
    for purpose in ("propose", "strategy"):
        section = asked(db, "s2", purpose)[0].split("# From earlier sessions: advice, not evidence of this one\n")[1]
        lines = section.split("\n\n")[0].split("\n# ")[0].strip().splitlines()
        assert lines == [f"- {finding}" for finding in second.archive.findings]
        assert lines and all("[session s1]" in line for line in lines)
        assert "From earlier sessions" not in asked(db, "s1", purpose)[0]

    third = await session(db, target, "s3", trials=1)
    archive = decode(blob(db, third.archive.archive_blob).encode())  # type: ignore[union-attr]
    lineage = {legacy.session: [deed.derived_from for deed in legacy.deeds] for legacy in archive.legacies}
    assert lineage == {"s1": [None], "s2": [known.hash]}


async def test_a_model_is_shown_what_failed_and_may_build_only_on_what_it_was_shown(db: Path, target: Path) -> None:
    known = only(read_view(db))
    refused = specification("batch_guard")
    common = {"model": "some-model", "unsafe": True}
    async with Loopback(scripted(NEVER_ACTS, [refused])) as server:
        second = await session(db, target, "s2", base_url=server.base_url, **common)
    assert [m.status for m in second.mechanisms.values()] == ["refused"] * (REPAIRS + 1)
    wrong, right = (specification("batch_guard", builds_on=name) for name in ("ghost", known.name))
    async with Loopback(scripted(BLOCKS, [wrong, right])) as server:
        third = await session(db, target, "s3", base_url=server.base_url, **common)
    told = {row["name"]: row for row in rows(blocks_of(asked(db, "s3", "explore")[0]), "archive")}
    assert told[known.name]["outcome"] == "worked" and told["batch_guard"]["outcome"] == "failed"
    assert told["batch_guard"]["reason"].startswith("refused: inert: ")
    assert len(told) == 2, "a module that was mended in vain is told once"
    [again] = [event.error for event in events(db, "s3", "answer_refused")]
    assert again == f"builds_on is null or an archived mechanism with its source; archived: {known.name}"
    heir = only(third)
    assert (heir.name, heir.derived_from, heir.written_by) == ("batch_guard", known.hash, "model")
    # What an earlier model said stands in one line of its block, whatever it is.
    fourth = await session(db, target, "s4")
    assert fourth.archive is not None
    blocks = blocks_of(asked(db, "s4", "explore")[0])
    told = {(row["name"], row["outcome"]): row for row in rows(blocks, "archive")}
    assert ("batch_guard", "failed") in told
    assert [block.words for block in blocks if block.words[:1] == ("Answer",)] == []


async def test_a_session_can_be_told_to_start_without(db: Path, target: Path) -> None:
    for name, chosen in (("s2", "none"), ("s3", "mechanisms"), ("s4", "findings"), ("s5", "all")):
        async with opened(db, plan(target, name, archive=chosen), ENVIRON) as new:
            view = new.journal.view
            explored = earlier_section(await earlier_mechanisms(new.journal))
        assert ("```jsonl archive" in explored) == (chosen in ("mechanisms", "all"))
        assert ("# From earlier sessions" in earlier_findings(view)) == (chosen in ("findings", "all"))
        assert (view.archive is None) == (chosen == "none")


async def test_a_session_taken_up_again_knows_what_it_began_with(db: Path, target: Path) -> None:
    async with opened(db, plan(target, "s2", trials=1, confirm=False), ENVIRON) as new:
        before = new.journal.view.archive
    assert before is not None and before.sessions == ["s1"]
    await session(db, target, "between", trials=1)
    view = await run_session(db, {"resume": "s2"}, ENVIRON)
    assert view.completed == 1 and view.archive == before == read_view(db, "s2").archive
    assert len(events(db, "s2", "archive_read")) == 1
    assert "[session s1]" in asked(db, "s2", "propose")[0]


async def test_a_replayed_session_asks_with_what_the_replayed_one_had_taken_over(db: Path, target: Path) -> None:
    await session(db, target, "s2", trials=1, baseline_runs=1)
    await session(db, target, "s3", trials=1, baseline_runs=1, model="replay:s2")
    assert events(db, "s3", "archive_read") == events(db, "s2", "archive_read") != []
    taken_over = [earlier_findings(read_view(db, name)) for name in ("s2", "s3")]
    assert taken_over[0] == taken_over[1] != ""
    assert all(taken_over[0] in prompt for name in ("s2", "s3") for prompt in asked(db, name, "propose"))


async def test_what_a_pruned_session_left_is_still_shown_with_its_source(db: Path, target: Path) -> None:
    known = only(read_view(db))
    await session(db, target, "s2", trials=1)
    await asyncio.to_thread(prune, db, [each for each in prunable(db, 9e9) if each.session == "s1"], events=True)
    third = await session(db, target, "s3")
    assert third.archive is not None and third.archive.sessions == ["s1", "s2"]
    blocks = blocks_of(asked(db, "s3", "explore")[0])
    assert [block.text.rstrip() for block in blocks if block.words == ("archived", known.name)] == [
        blob(db, known.hash).rstrip()
    ]
    assert only(third).derived_from == known.hash


async def test_what_the_record_has_lost_is_left_out_and_ends_no_research(db: Path, target: Path) -> None:
    known = only(read_view(db))
    async with opened(db, plan(target, "s2", trials=1), ENVIRON) as new:
        journal = new.journal
        whole = await earlier_mechanisms(journal)
        assert list(whole.sources) == [known.hash]
        whole.check(parse_specify(json.dumps(specification("x", builds_on=known.name))))
        for lost, left in ((known.hash, True), (journal.view.archive.archive_blob, False)):  # type: ignore[union-attr]
            connection = sqlite3.connect(db)
            with connection:
                connection.execute("DELETE FROM blobs WHERE hash = ?", (lost,))
            connection.close()
            found = await earlier_mechanisms(journal)
            assert (bool(found.best), found.sources) == (left, {})
            assert ("archived" in earlier_section(found)) is False
            with pytest.raises(AnswerError, match="archived: none"):
                found.check(parse_specify(json.dumps(specification("x", builds_on=known.name))))


async def test_a_source_too_long_for_a_prompt_is_told_of_without_it(
    db: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = only(read_view(db))
    monkeypatch.setattr("engine.levels.earlier.LARGEST_SHOWN", len(blob(db, known.hash)) - 1)
    async with opened(db, plan(target, "s2", trials=1), ENVIRON) as new:
        prompt = earlier_section(await earlier_mechanisms(new.journal))
    assert f'"name": "{known.name}"' in prompt and "python archived" not in prompt
