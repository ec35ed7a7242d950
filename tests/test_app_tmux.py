"""A night under tmux: an injection is vetoed, one approved and reverted, the window drops, the night is replayed."""

from pathlib import Path

from fast_sessions import completed, engine_of, plan, read_view, until, write_target
from test_app_injection_terminal import decisions
from tmux import Window, needs_tmux

from engine.record.lock import holder
from engine.record.view import View

SIZE = (120, 40)
TIMELINE = 2
"""Lines that a replay has more than a session that runs."""


def panes(window: Window, below: int) -> list[str]:
    """What stands between the header and what lies below the panes, so many lines."""
    return window.text().splitlines()[2:-below]


@needs_tmux
async def test_the_whole_story_of_injections_and_the_replay_to_the_same_picture(tmp_path: Path) -> None:
    db = tmp_path / "sessions.db"
    what = plan(write_target(tmp_path / "target", seconds=0.05), trials=2000, baseline_runs=1, approval="ask")

    def view() -> View:
        return read_view(db)

    with engine_of(db, what):
        await until(lambda: completed(db) >= 1)
        with Window(tmp_path, "attach", size=SIZE) as window:
            window.wait("! INJECTION", 60).keys("i").wait("waits for a decision")
            vetoed = view().waiting
            assert vetoed is not None and vetoed.hash in window.text()
            window.keys("v").wait("Why?").keys("it blocks the way", "Enter").wait("✓ veto")
            window.wait(lambda: "! INJECTION" not in window.text()).wait("! INJECTION", 60)
            approved = view().waiting
            assert approved is not None and approved.hash != vetoed.hash
            window.keys("i").wait(approved.hash).keys("a").wait("y  yes").keys("y").wait("✓ approve")
            window.wait(lambda: "waits for a decision" not in window.text())  # before, a key is the decision's
            window.wait(lambda: view().active == [approved.hash]).keys("4").wait(f"● {approved.name[:8]}")
            window.wait(lambda: view().mechanisms[approved.hash].acted, 60)
            window.keys("g", "R").wait(f"source {approved.hash}").keys("y").wait(f"▽ {approved.name[:8]}")
            assert [(known.decision, known.by) for known in decisions(tmp_path)] == [
                ("vetoed", "person"),
                ("approved", "person"),
            ]
            assert view().mechanisms[approved.hash].status == "reverted"
            viewer = Path(f"/proc/{window.pid}")
            window.drop()
            await until(lambda: not viewer.exists())
        done, found = completed(db), holder(db)
        assert found is not None and found.session == "s1"
        with Window(tmp_path, "attach", size=SIZE) as window:
            window.wait("1 Trials").wait(lambda: completed(db) > done)
            window.keys("S").wait("w  now").keys("w").wait("ended", 60)
            with Window(tmp_path, "replay", "s1", size=(SIZE[0], SIZE[1] + TIMELINE)) as again:
                again.wait("REPLAY").wait("‖ held").keys(*">" * 12).wait("1000x").keys("Space").wait("■ ended", 60)
                again.wait(lambda: panes(again, 1 + TIMELINE) == panes(window, 1))
