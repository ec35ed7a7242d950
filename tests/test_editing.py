"""A person changes a mechanism's file: it is noticed, validated again, and let in as theirs; or refused, and said."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fast_sessions import until
from level2_searches import GUARD, OTHER, SLOW, THIRD, by_rename, edited, in_place
from searches import mechanism
from test_research import BLOCKS

import engine.session.watching as watching
from engine.record.evidence import edit_of


@pytest.mark.parametrize("save", [by_rename, in_place])
async def test_a_change_to_an_active_mechanism_is_noticed_and_takes_its_place_as_the_persons(
    tmp_path: Path, save: Callable[[Path, str], None]
) -> None:
    async with edited(tmp_path) as told:
        save(told.path, OTHER)
        await told.becomes(OTHER, "approved")
        await told.s.go(1)
        [digest] = told.s.view.active
        known = told.s.view.mechanisms[digest]
        assert (known.written_by, known.replaces, known.derived_from) == ("person", told.elder, told.elder)
        assert known.decision is not None and (known.decision.by, known.decision.reason) == (
            "person",
            "a person wrote it",
        )
        assert told.status(GUARD) == "replaced"
        assert told.told("command_applied") == [f"a change to {told.path} was noticed; it is validated now"]
        assert told.told("noted") == []


async def test_a_change_to_what_waits_is_let_in_in_its_place(tmp_path: Path) -> None:
    async with edited(tmp_path) as told:
        research = told.begin(mechanism("probe", BLOCKS))
        await until(lambda: told.s.view.waiting is not None)
        assert told.s.view.waiting is not None
        elder = told.s.view.mechanisms[told.s.view.waiting.hash]
        by_rename(Path(elder.path), mechanism("probe", BLOCKS.replace("'no'", "'never'")))
        assert await research == "refused"
        heir = edit_of(told.s.view, elder.hash)
        assert heir is not None and elder.status == "refused"
        assert elder.reason == f"a person's edit {heir.hash[:6]} takes its place"
        await told.s.go(1)
        heir = told.s.view.mechanisms[told.s.view.active[-1]]
        assert (heir.name, heir.written_by, len(told.s.view.active)) == ("probe", "person", 2)


async def test_a_change_to_what_is_still_tested_ends_the_research_in_its_favour(tmp_path: Path) -> None:
    async with edited(tmp_path) as told:
        slow = SLOW.replace("guard", "probe")
        research = told.begin(slow)
        await until(lambda: any(known.name == "probe" for known in told.s.view.mechanisms.values()))
        [elder] = [known for known in told.s.view.mechanisms.values() if known.name == "probe"]
        by_rename(Path(elder.path), mechanism("probe", BLOCKS))
        assert await research == "vetoed"
        finished = told.s.view.researches[1].finished
        assert finished is not None and finished.reason == "a person's change to probe takes its place"
        assert (elder.status, elder.evidence) == ("vetoed", {})
        await until(lambda: any(known.status == "approved" for known in told.s.view.mechanisms.values()))
        await told.s.go(1)
        assert told.s.view.mechanisms[told.s.view.active[-1]].written_by == "person"


async def test_a_mistake_is_one_note_with_its_line_and_is_not_tried_twice(tmp_path: Path) -> None:
    async with edited(tmp_path) as told:
        in_place(told.path, OTHER.replace("    def review", "    dfe review"))
        await until(lambda: told.told("noted") and not told.editing._edits)
        asked = await told.order("edit", name="guard")
        assert not asked.applied and "was refused as it is: the source is not valid Python" in asked.detail
        by_rename(told.path, told.path.read_text())  # saved once more, unchanged
        await told.looked()
        in_place(told.path, THIRD)
        await told.becomes(THIRD, "approved")
        [note] = told.told("noted")
        assert f"{told.path}, as a person edited it, was refused: the source is not valid Python" in note
        assert "(line 5)" in note and len(told.told("command_applied")) == 2
        assert told.s.view.active == [told.elder]


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link(path: Path) -> None:
    path.with_name("elsewhere").write_text(OTHER)
    path.unlink()
    path.symlink_to(path.with_name("elsewhere"))


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (fifo, "no ordinary file"),
        (link, "a symbolic link"),
        (folder, "no ordinary file"),
        (lambda path: path.write_bytes(b"#" * (2**20 + 1)), "larger than 1024 KB"),
        (lambda path: path.write_bytes(b"# \xff\xfe"), "no UTF-8 text: see byte 2"),
    ],
    ids=["fifo", "link", "folder", "huge", "binary"],
)
async def test_what_is_no_module_is_said_once_and_harms_nothing(
    tmp_path: Path, spoil: Callable[[Path], None], why: str
) -> None:
    async with edited(tmp_path) as told:
        spoil(told.path)
        await until(lambda: told.told("noted"))
        answer = await told.order("edit", name="guard")
        assert not answer.applied and why in answer.detail
        if told.path.is_dir():
            told.path.rmdir()
        by_rename(told.path, OTHER)
        await told.becomes(OTHER, "approved")
        [note] = told.told("noted")
        assert why in note
        await told.s.go(1)
        assert len(told.s.view.active) == 1


async def test_neither_the_same_content_nor_a_file_that_is_gone_does_anything(tmp_path: Path) -> None:
    async with edited(tmp_path) as told:
        for text in (GUARD, GUARD.replace("\n", "\r\n"), ""):
            by_rename(told.path, text)
            await told.looked()
        told.path.unlink()
        await told.looked()
        told.s.workshop.save("another", "x = 1\n")
        await told.s.go(1)
        assert told.s.view.active == [told.elder]
        by_rename(told.path, OTHER)
        await told.becomes(OTHER, "approved")
        assert len(told.told("command_applied")) == 1 and told.told("noted") == []


async def test_a_folder_that_was_taken_away_and_came_back_is_watched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LOOK_SECONDS", 0.05)
    async with edited(tmp_path) as told:
        shutil.rmtree(told.path.parent)
        await told.s.go(1)
        told.path.parent.mkdir()
        told.path.write_text(OTHER)
        await told.becomes(OTHER, "approved")
        told.path.parent.rename(tmp_path / "aside")
        told.path.parent.mkdir()
        told.path.write_text(THIRD)
        await told.becomes(THIRD, "approved")
        await told.s.go(1)
        assert len(told.s.view.active) == 1 and told.status(THIRD) == "active"


# --- where the system has no watch to give ----------------------------------------------------------------------------
UNWATCHED = """\
import asyncio, sys
from pathlib import Path
sys.path.insert(0, "tests")
import engine.session.watching as watching
from level2_searches import OTHER, by_rename, edited
watching.LOOK_SECONDS = 0.05
async def main():
    async with edited(Path(sys.argv[1])) as told:
        by_rename(told.path, OTHER)
        await told.becomes(OTHER, "approved")
        print(*told.told("noted"))
asyncio.run(main())
"""


def test_without_a_watch_of_the_system_it_is_looked_every_few_seconds_and_that_is_said(tmp_path: Path) -> None:
    sysctl = "/proc/sys/user/max_inotify_instances"
    inside = ["unshare", "-Ur", "sh", "-c", f'echo 0 > {sysctl} && exec "$@"', "sh"]
    if subprocess.run([*inside, "true"], capture_output=True).returncode:
        pytest.skip("no user namespace can be made in which the system has no inotify to give")
    done = subprocess.run(
        [*inside, sys.executable, "-c", UNWATCHED, str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
        timeout=60,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "the system gives no watch on" in done.stdout and "it is looked at every 0.05 s" in done.stdout
