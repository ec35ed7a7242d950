"""Several things at once about one mechanism's file: a second change, one taken back, a command, a veto, a revision."""

import asyncio
from pathlib import Path

from fast_sessions import opened, plan, until, write_target
from level2_searches import GUARD, OTHER, SLOW, THIRD, Edited, by_rename, edited, level2, validating
from searches import mechanism
from test_research import BLOCKS, critique

from engine.session.watching import Watching


async def test_of_two_changes_the_later_counts(tmp_path: Path) -> None:
    async with edited(tmp_path) as told:
        await validating(told, SLOW)
        by_rename(told.path, OTHER)
        await told.becomes(OTHER, "approved")
        known = told.s.view.mechanisms[told.s.written("guard", SLOW)[0].hash]
        assert (known.status, known.reason) == ("refused", "a person changed it again")
        by_rename(told.path, THIRD)  # before the boundary
        await told.becomes(THIRD, "approved")
        await told.s.go(1)
        assert told.s.view.active == [told.s.written("guard", THIRD)[0].hash]


async def test_a_change_that_is_taken_back_leaves_what_was(tmp_path: Path) -> None:
    async with edited(tmp_path) as told:
        await validating(told, SLOW)
        by_rename(told.path, GUARD)  # while it is validated
        await told.becomes(SLOW, "refused")
        by_rename(told.path, OTHER)
        await told.becomes(OTHER, "approved")
        by_rename(told.path, GUARD)  # before the boundary
        await told.becomes(OTHER, "refused")
        await told.s.go(1)
        assert told.s.view.active == [told.elder]
        by_rename(told.path, THIRD)
        await told.becomes(THIRD, "approved")
        await told.s.go(1)
        by_rename(told.path, GUARD)  # once it is active: the elder comes back as the person's
        await told.becomes(GUARD, "approved")
        await told.s.go(1)
        assert told.s.view.active == [told.elder]
        assert told.s.view.mechanisms[told.elder].written_by == "person"


async def test_a_copy_of_another_active_module_is_refused_and_takes_nothing_out(tmp_path: Path) -> None:
    async with edited(tmp_path) as told:
        other = await told.s.inject("probe", BLOCKS)
        by_rename(told.path, mechanism("probe", BLOCKS))
        await until(lambda: told.told("noted"))
        [note] = told.told("noted")
        assert "was refused: probe is active already, with exactly this source" in note
        await told.s.go(1)
        assert told.s.view.active == [told.elder, other]
        assert [told.s.view.mechanisms[digest].status for digest in told.s.view.active] == ["active", "active"]


async def test_a_revert_or_a_veto_is_the_last_word_on_a_change_that_is_validated(tmp_path: Path) -> None:
    async with edited(tmp_path) as told:
        await validating(told, SLOW)
        assert (await told.order("revert", name="guard")).applied
        assert (told.status(GUARD), told.status(SLOW)) == ("reverted", "refused")
        research = told.begin(mechanism("probe", BLOCKS))
        await until(lambda: told.s.view.waiting is not None)
        path = next(known.path for known in told.s.view.mechanisms.values() if known.status == "waiting")
        slow = SLOW.replace("guard", "probe")
        by_rename(Path(path), slow)
        await until(lambda: told.status(slow) == "written" and any(told.s.workshop.hosts.glob("*/room")))
        answer = await told.order("veto")
        assert answer.detail.endswith("is turned away, and the change to its file with it")
        assert (await research, told.status(slow)) == ("vetoed", "refused")
        await told.s.go(1)
        assert told.s.view.active == [] and not any(told.s.workshop.hosts.iterdir())


async def test_the_command_and_the_watch_do_not_do_it_twice(tmp_path: Path) -> None:
    async with edited(tmp_path) as told:
        await validating(told, SLOW)
        answer = await told.order("edit", name="guard")
        assert answer.applied and answer.detail.endswith("was noticed, and is being validated")
        by_rename(told.path, OTHER)
        await told.becomes(OTHER, "approved")
        await told.s.go(1)
        # By the hash of the elder, as a command line asks that had seen it active when its editor was opened.
        answer = await told.order("edit", name=told.elder[:12])
        assert answer.applied and "is unchanged: guard is active with exactly this source" in answer.detail


async def test_a_change_to_the_elder_of_a_revision_gives_way_to_that(
    tmp_path: Path,
) -> None:
    async with edited(tmp_path) as told:
        research = told.begin(THIRD, critique("revise", target="guard"), "guard")
        await until(lambda: told.s.view.waiting is not None)
        by_rename(told.path, OTHER)
        await told.becomes(OTHER, "approved")
        await told.s.go(1)
        assert (told.status(OTHER), told.status(GUARD)) == ("active", "replaced")
        assert (await told.order("approve")).applied and await research == "proposed"
        await told.s.go(1)
        [known] = [told.s.view.mechanisms[digest] for digest in told.s.view.active]
        assert (known.name, known.written_by, told.status(OTHER)) == ("guard", "model", "replaced")


async def test_a_session_that_runs_watches_its_modules_and_is_silent_at_its_end(tmp_path: Path) -> None:
    what = plan(write_target(tmp_path / "t", seconds=0.05), trials=40, confirm=False, baseline_runs=1)
    async with opened(tmp_path / "sessions.db", what) as session:
        view = session.journal.view
        task = asyncio.create_task(session.session.run())
        await until(lambda: view.active)
        elder = view.mechanisms[view.active[0]]
        path = Path(elder.path)
        source = await session.session.workshop.source_of(elder)
        by_rename(path, source + "\n# Read through.\n")
        await until(lambda: elder.status == "replaced")
        heir = view.mechanisms[view.active[0]]
        assert (heir.written_by, heir.name, heir.path) == ("person", elder.name, elder.path)
        await task
        assert [each.get_name() for each in asyncio.all_tasks() if "Watching" in repr(each.get_coro())] == []
    assert (view.status, view.completed) == ("finished", 40)


async def test_what_is_out_is_left_alone_and_the_command_says_why(tmp_path: Path) -> None:
    async with edited(tmp_path) as told:
        assert (await told.order("revert", name="guard")).applied
        by_rename(told.path, OTHER)
        research = told.begin(mechanism("probe", BLOCKS))
        await until(lambda: told.s.view.waiting is not None)
        answer = await told.order("edit", name="guard")
        assert not answer.applied
        assert answer.detail == "guard is reverted: only what is active or waits can be edited; there are: probe"
        answer = await told.order("edit", name="ghost")
        assert answer.detail.startswith("there is no mechanism ghost: only what is active or waits")
        path = next(known.path for known in told.s.view.mechanisms.values() if known.status == "waiting")
        by_rename(Path(path), mechanism("probe", BLOCKS.replace("'no'", "'never'")))
        assert await research == "refused"  # by now the earlier change would have been noticed as well
        assert told.status(OTHER) is None


async def test_a_change_made_while_no_engine_ran_is_noticed_by_the_next(tmp_path: Path) -> None:
    async with level2(tmp_path, approval="ask") as plain:
        told = Edited(plain.s)
        await told.let_in()
        for source, noticed in ((OTHER, True), (GUARD, False)):
            told.path.write_text(source)
            task = asyncio.create_task(Watching(told.s.journal, told.s.workshop.folder, told.editing).run())
            if noticed:
                await told.becomes(source, "approved")
                await told.s.go(1)
                assert (await told.order("revert", name="guard")).applied
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert told.s.view.active == [told.elder]
