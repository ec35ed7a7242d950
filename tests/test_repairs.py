"""A module that cannot load goes back to the model with the error; one that never gets right is given up."""

import json
from pathlib import Path
from typing import Any

from fast_sessions import events, plan, read_view, run_session, write_target
from loopback import Loopback, offline_answers, purpose_of

from engine.mechanism.source_check import PACKAGES
from engine.record.account import summary_lines
from engine.record.reader import Reader
from tui.plain import Narrator

ENVIRON = {"BILEVEL_API_KEY": "sk-verysecret-0123456789abcdef"}
HEAD = """class Mechanism:
    name = "parabola"
    purpose = "Suggests the batch where a parabola through the trials is lowest."
    source = "own"

"""
WITH_SKLEARN = (
    "from sklearn.linear_model import LinearRegression\n\n\n"
    + HEAD
    + """    def suggest(self, view):
        model = LinearRegression()
        return [{"changes": {"BATCH": 256}, "why": str(model)}]
"""
)
WITH_NUMPY = (
    "import numpy as np\n\n\n"
    + HEAD
    + """    def suggest(self, view):
        known = [trial for trial in view.trials if trial.metric is not None]
        batches = np.log2([trial.config["BATCH"] for trial in known])
        if len(set(batches)) < 3:
            return [{"changes": {"BATCH": 256 << len(view.trials) % 3}, "why": "too few batches for a parabola"}]
        a, b, _ = np.polyfit(batches, [trial.metric for trial in known], 2)
        lowest = int(2 ** np.clip(-b / (2 * a), 4, 16)) if a > 0 else 64
        return [{"changes": {"BATCH": max(16, lowest + len(view.trials))}, "why": "the parabola is lowest there"}]
"""
)
ROUNDS: dict[str, Any] = {
    "explore": {
        "diagnosis": "The batch is far off.",
        "candidates": [
            {"name": name, "field": "statistics", "idea": "fit what was measured"}
            for name in ("parabola", "plane", "spline")
        ],
    },
    "critique": {"decision": "new", "pick": "parabola", "target": None, "reason": "It is the simplest."},
    "specify": {
        "name": "parabola",
        "purpose": "Suggests the batch where a parabola through the trials is lowest.",
        "source": "own",
        "hooks": ["suggest"],
        "behaviour": "It fits and suggests.",
    },
}


def answering(modules: list[str]) -> Loopback:
    """An endpoint whose Level 2 writes these modules one after the other, the last one again and again."""
    inner, left = offline_answers(0), list(modules)

    async def answer(request: dict[str, Any]) -> str:
        purpose = purpose_of(request["messages"])
        if purpose in ROUNDS:
            return f"```json\n{json.dumps(ROUNDS[purpose])}\n```"
        if purpose in ("generate", "repair"):
            return f"```python\n{left.pop(0) if len(left) > 1 else left[0]}```"
        return await inner(request)

    return Loopback(answer)


def asked_to_repair(server: Loopback) -> list[str]:
    said = [request["messages"][-1]["content"] for request in server.requests]
    return [text for text in said if text.startswith("The module was refused:")]


def what(server: Loopback, target: Path) -> dict[str, Any]:
    told = {"trials": 14, "confirm": False, "unsafe": True, "lockstep": True}
    return plan(target, model="some-model", base_url=server.base_url, price_in=1.0, price_out=1.0, **told)


async def test_a_module_on_scikit_learn_is_repaired_into_one_on_numpy_and_becomes_active(tmp_path: Path) -> None:
    async with answering([WITH_SKLEARN, WITH_NUMPY]) as server:
        view = await run_session(tmp_path / "sessions.db", what(server, write_target(tmp_path / "t")), ENVIRON)
        [repair] = asked_to_repair(server)
    assert "it imports sklearn (line 1): only the standard library and numpy are there" in repair
    assert f"What it can import: {PACKAGES}." in repair
    broken, mended = view.mechanisms.values()
    assert (broken.status, mended.status, view.active) == ("refused", "active", [mended.hash])
    assert mended.evidence["suggested"] > 0 and mended.acted >= 1
    assert [research.finished.outcome for research in view.researches.values() if research.finished] == ["proposed"]


async def test_one_that_never_gets_right_is_given_up_and_the_session_goes_on_and_says_so(tmp_path: Path) -> None:
    db = tmp_path / "sessions.db"
    async with answering([WITH_SKLEARN + f"# try {number}\n" for number in range(9)]) as server:
        view = await run_session(db, what(server, write_target(tmp_path / "t")), ENVIRON)
        assert len(asked_to_repair(server)) == 3
    assert (view.status, view.completed, view.active) == ("finished", 14, [])
    assert [known.status for known in view.mechanisms.values()] == ["refused"] * 4
    [ended] = events(db, "s1", "research_finished")
    reason = "given up after 3 repairs: it imports sklearn (line 1): only the standard library and numpy are there"
    assert (ended.outcome, ended.reason) == ("refused", reason)
    with Reader(db) as reader:
        narrator = Narrator()
        tail = [narrator.tell(row.seq, row.time, row.event) for row in reader.events("s1")]
    assert any(line and line.startswith("level 2 research 1 refused: given up after 3 repairs") for line in tail)
    show = "\n".join(summary_lines(read_view(db)))
    assert f"research 1 was refused, and the search went on as it was: {reason}" in " ".join(show.split())
