"""The workspace: a real git repository in which every trial is a commit, whatever a trainer or a kill does to it."""

import asyncio
import shutil
import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from target_files import PREPARE, TARGET, TRAIN, write_target

from engine.errors import BilevelError, InputError
from engine.search.parameters import Config
from engine.search.script import changed_constants
from engine.training import copying, git
from engine.training.results import Result
from engine.training.target import describe, load_target, target_from_description
from engine.training.workspace import Workspace

HOSTILE = "-F /etc/passwd\n\ndata 5\nget-mark :1\ndone\x00\n$(touch x) `touch x` \ud800 Ünïcode\n# comment"


def shell(folder: Path, *args: str) -> str:
    """What a person's git says in a folder."""
    return subprocess.run(["git", *args], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
async def workspace(tmp_path: Path) -> Workspace:
    """A session's workspace of the small target."""
    target = load_target(write_target(tmp_path / "target"), "cpu")
    return await Workspace.create(tmp_path / "session" / "workspace", target)


def config(workspace: Workspace, **changes: object) -> Config:
    return {**workspace.target.space.initial, **changes}  # type: ignore[dict-item]


async def test_the_baseline_commit_holds_the_scripts_with_the_profiles_constants(workspace: Workspace) -> None:
    folder = workspace.folder
    assert (folder / "train.py").read_text() == TRAIN.replace("DEPTH = 2", "DEPTH = 1")
    assert (folder / "prepare.py").read_text() == PREPARE.replace("300", "8").replace("2048", "128")
    assert workspace.tip == workspace.baseline == shell(folder, "rev-parse", "HEAD").strip()
    assert shell(folder, "status", "--porcelain") == ""
    assert (workspace.target.root / "train.py").read_text() == TRAIN, "the target itself stays as it is"


async def test_a_trial_is_the_baselines_script_with_its_values(workspace: Workspace) -> None:
    first = await workspace.prepare(1, config(workspace, BATCH=8192), "a smaller batch")
    await workspace.keep(first)
    second = await workspace.prepare(2, config(workspace, RATE=0.25, BETAS=[0.9, 0.95]), "back, and a lower rate")

    script = (workspace.folder / "train.py").read_text()
    assert script == TRAIN.replace("DEPTH = 2", "DEPTH = 1").replace("RATE = 0.5", "RATE = 0.25").replace(
        "0.8,", "0.9,"
    )
    assert await workspace.searched_source(second) == script
    assert "BATCH = 2**13  # tokens in a step" in await workspace.searched_source(first)
    assert changed_constants(await workspace.searched_source(workspace.baseline), script) == {"RATE", "BETAS"}
    assert shell(workspace.folder, "rev-parse", "refs/trials/1", "refs/trials/2").split() == [first, second]
    assert shell(workspace.folder, "rev-parse", f"{second}^").strip() == first, "a trial follows the incumbent"
    assert "+BATCH = 2**13" in await workspace.diff(workspace.baseline, first)
    shell(workspace.folder, "fsck", "--strict")


async def test_the_tip_follows_the_incumbent(workspace: Workspace) -> None:
    first = await workspace.prepare(1, config(workspace, BATCH=8192), "")
    assert workspace.tip == workspace.baseline
    assert shell(workspace.folder, "status", "--porcelain").split() == ["M", "train.py"]
    await workspace.keep(first)
    assert workspace.tip == first == shell(workspace.folder, "rev-parse", "search").strip()
    assert await workspace.searched_source() == (workspace.folder / "train.py").read_text()
    await workspace.prepare(2, config(workspace, BATCH=4096), "")
    await workspace.keep(first)
    assert "BATCH = 2**12" in (workspace.folder / "train.py").read_text(), "a run may still read it"
    await workspace.keep(workspace.baseline)
    assert "BATCH = 2**14" in (workspace.folder / "train.py").read_text()
    assert shell(workspace.folder, "cat-file", "-t", first).strip() == "commit"


async def test_trial_0_is_the_baseline_commit(workspace: Workspace) -> None:
    assert await workspace.prepare(0, config(workspace), "the baseline") == workspace.baseline
    with pytest.raises(ValueError, match="trial 0 is the baseline"):
        await workspace.prepare(0, config(workspace, BATCH=8192), "")


async def test_an_earlier_commit_can_be_run_again(workspace: Workspace) -> None:
    first = await workspace.prepare(1, config(workspace, BATCH=8192), "")
    await workspace.prepare(2, config(workspace, BATCH=4096), "")
    await workspace.checkout(first)
    assert "BATCH = 2**13" in (workspace.folder / "train.py").read_text()
    assert workspace.tip == workspace.baseline


async def test_a_hostile_hypothesis_is_text_in_a_commit(workspace: Workspace) -> None:
    commit = await workspace.prepare(1, config(workspace, BATCH=8192), HOSTILE)
    message = shell(workspace.folder, "show", "-s", "--format=%B", commit)
    assert message.startswith("Trial 1\n\n-F /etc/passwd\n\ndata 5\n")
    assert "$(touch x) `touch x` ? Ünïcode" in message
    assert sorted(path.name for path in workspace.folder.iterdir()) == [".git", "prepare.py", "target.toml", "train.py"]


@pytest.mark.parametrize(
    "changes",
    [
        {"BATCH": "8192"},
        {"BATCH": 10**9},
        {"RATE": "__import__('os')"},
        {"PATTERN": '"; import os #'},
        {"BETAS": [0.9, "0.95"]},
        {"EXTRA": 1},
        {"NOT_SEARCHED": 4},
    ],
)
async def test_what_is_no_configuration_of_the_space_changes_nothing(
    workspace: Workspace, changes: dict[str, object]
) -> None:
    before = (workspace.folder / "train.py").read_text()
    with pytest.raises(ValueError):
        await workspace.prepare(1, config(workspace, **changes), "")
    after = (workspace.folder / "train.py").read_text()
    assert changed_constants(before, after) == set()
    assert after == before
    assert shell(workspace.folder, "for-each-ref", "refs/trials") == ""


async def test_a_configuration_without_every_parameter_is_refused(workspace: Workspace) -> None:
    with pytest.raises(ValueError, match="a value for every parameter and no other: BATCH, "):
        await workspace.prepare(1, {"RATE": 0.1}, "")


@pytest.mark.parametrize("how", ["edit", "same size and time", "delete", "link", "folder"])
async def test_a_run_that_changes_a_fixed_file_is_found_and_undone(workspace: Workspace, how: str) -> None:
    commit = await workspace.prepare(1, config(workspace, BATCH=8192), "")
    await workspace.keep(commit)
    hashes = workspace.hashes()
    path = workspace.folder / "prepare.py"
    original, times = path.read_bytes(), path.stat()
    assert hashes == {"prepare.py": hashlib.sha256(original).hexdigest()}
    assert workspace.verify_fixed(hashes) is None

    if how == "edit":
        path.write_text("LENGTH = 1\n")
    elif how == "same size and time":
        path.write_bytes(original.replace(b"128", b"999"))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    else:
        path.unlink()
    if how == "link":
        (workspace.folder / "copy.py").write_bytes(original)
        path.symlink_to("copy.py")
    elif how == "folder":
        path.mkdir()
        (path / "__init__.py").write_text("")

    assert workspace.verify_fixed(hashes) == "the run changed prepare.py, which must stay as it is"
    await workspace.restore()
    assert path.read_bytes() == original
    assert workspace.verify_fixed(hashes) is None
    assert shell(workspace.folder, "status", "--porcelain") == ""
    assert sorted(p.name for p in workspace.folder.iterdir()) == [".git", "prepare.py", "target.toml", "train.py"]


async def test_whatever_a_run_puts_in_the_scripts_place_goes(workspace: Workspace) -> None:
    (workspace.folder / "train.py").unlink()
    (workspace.folder / "train.py").mkdir()
    commit = await workspace.prepare(1, config(workspace, BATCH=8192), "")
    assert (workspace.folder / "train.py").read_text() == await workspace.searched_source(commit)


async def test_a_workspace_opens_again_without_the_target(workspace: Workspace) -> None:
    first = await workspace.prepare(1, config(workspace, BATCH=8192), "")
    await workspace.keep(first)
    record = describe(workspace.target)
    for file in workspace.target.root.iterdir():
        file.unlink()
    opened = await Workspace.open(workspace.folder, target_from_description(record))
    assert (opened.tip, opened.baseline) == (first, workspace.baseline)
    again = await opened.prepare(2, config(opened, BATCH=4096), "")
    assert "BATCH = 2**12" in await opened.searched_source(again)


async def test_locks_of_a_killed_git_are_removed(workspace: Workspace) -> None:
    commit = await workspace.prepare(1, config(workspace, BATCH=8192), "")
    repository = workspace.folder.with_name("workspace.git")
    for lock in ("index.lock", "refs/heads/search.lock", "refs/trials/1.lock"):
        (repository / lock).touch()
    await workspace.keep(commit)
    for lock in ("index.lock", "refs/trials/1.lock"):
        (repository / lock).touch()
    opened = await Workspace.open(workspace.folder, workspace.target)
    again = await opened.prepare(1, config(workspace, BATCH=8192), "")
    assert await opened.diff(commit, again) == ""
    assert list(repository.rglob("*.lock")) == []


async def test_a_cancelled_prepare_can_be_repeated(workspace: Workspace) -> None:
    for milliseconds in range(12):  # at any moment: before git, while it runs, after it
        task = asyncio.create_task(workspace.prepare(1, config(workspace, BATCH=8192), ""))
        await asyncio.wait([task], timeout=milliseconds / 1000)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    commit = await workspace.prepare(1, config(workspace, BATCH=8192), "")
    assert await workspace.searched_source(commit) == (workspace.folder / "train.py").read_text()
    shell(workspace.folder, "fsck", "--strict")


async def test_a_creation_that_was_cut_short_is_begun_anew(workspace: Workspace, tmp_path: Path) -> None:
    cut = tmp_path / "other" / "workspace.new"
    cut.mkdir(parents=True)
    (cut / "stale.py").write_text("")
    other = await Workspace.create(tmp_path / "other" / "workspace", workspace.target)
    assert not (other.folder / "stale.py").exists()
    assert not cut.exists()
    with pytest.raises(BilevelError, match="exists already"):
        await Workspace.create(other.folder, workspace.target)


async def test_a_workspace_that_is_not_there_cannot_be_opened(workspace: Workspace, tmp_path: Path) -> None:
    with pytest.raises(BilevelError, match="is gone, so this session cannot go on"):
        await Workspace.open(tmp_path / "nowhere", workspace.target)


async def test_a_missing_git_is_said(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(git.GitError, match="git is not on PATH"):
        await workspace.prepare(1, config(workspace, BATCH=8192), "")


async def test_nothing_of_a_persons_git_takes_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workspace: Workspace
) -> None:
    hooks = tmp_path / "home" / "hooks"
    hooks.mkdir(parents=True)
    for name in ("pre-commit", "reference-transaction", "post-checkout"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\nexit 1\n")
        (hooks / name).chmod(0o755)
    settings = f"[core]\nhooksPath={hooks}\n[commit]\ngpgSign=true\n[user]\nuseConfigOnly=true\n"
    (tmp_path / "home" / ".gitconfig").write_text(settings)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "elsewhere"))
    other = await Workspace.create(tmp_path / "other" / "workspace", workspace.target)
    await other.keep(await other.prepare(1, config(other, BATCH=8192), ""))
    assert not (tmp_path / "ran").exists()


async def test_a_checkout_gives_its_files_and_no_others(tmp_path: Path) -> None:
    root = write_target(tmp_path / "target", TARGET, TRAIN.replace("\n", "\r\n"))
    shell(root, "init", "-q")
    (root / ".gitignore").write_text("*.bin\nprepare.py\n")
    (root / ".gitattributes").write_text("* text=auto eol=lf\n")
    (root / "data.bin").write_bytes(b"x" * (copying.LARGEST_FILE + 1))
    (root / "helper.py").write_text("")
    (root / "sessions.db").write_text("")
    (root / "__pycache__").mkdir()
    (root / "__pycache__" / "helper.cpython-311.pyc").write_text("")
    (root / "corpus").symlink_to(tmp_path)
    shell(root, "add", "train.py", "corpus")
    workspace = await Workspace.create(tmp_path / "workspace", load_target(root, "cpu"))
    assert sorted(path.name for path in workspace.folder.iterdir()) == [
        ".git", ".gitattributes", ".gitignore", "corpus", "helper.py", "prepare.py", "target.toml", "train.py",
    ]  # fmt: skip
    assert (workspace.folder / "corpus").readlink() == tmp_path
    await workspace.restore()
    assert (workspace.folder / "train.py").read_bytes().count(b"\r\n") == TRAIN.count("\n")


async def test_large_files_outside_a_checkout_are_refused_by_name(tmp_path: Path) -> None:
    root = write_target(tmp_path / "target")
    (root / "data.bin").write_bytes(b"x" * (copying.LARGEST_FILE + 1))
    with pytest.raises(InputError, match=r"data\.bin has 16 MB and would be copied"):
        await Workspace.create(tmp_path / "workspace", load_target(root, "cpu"))
    assert not (tmp_path / "workspace").exists()


async def test_results_are_one_line_a_trial(workspace: Workspace) -> None:
    workspace.append_result("a" * 40, 3.5, 1.26, "keep", "tabs\tand\nlines \x1b[31mred")
    workspace.append_result("b" * 40, None, None, "crash", "x" * 2000)
    lines = workspace.results_path.read_text().splitlines()
    assert lines[0] == "commit\tval_bpb\tmemory_gb\tstatus\tdescription"
    assert lines[1] == "aaaaaaa\t3.500000\t1.3\tkeep\ttabs and lines red"
    assert lines[2].startswith("bbbbbbb\t\t\tcrash\txxx")
    assert [line.count("\t") for line in lines] == [4, 4, 4]
    workspace.write_results([Result("c" * 40, 1.0, None, "discard", "")])
    assert workspace.results_path.read_text().splitlines() == [lines[0], "ccccccc\t1.000000\t\tdiscard\t"]


async def test_a_folder_that_a_run_removed_is_written_again(workspace: Workspace) -> None:
    shutil.rmtree(workspace.folder)
    assert workspace.verify_fixed({"prepare.py": "any"}) is not None
    await workspace.restore()
    assert (workspace.folder / "prepare.py").is_file()
    shutil.rmtree(workspace.folder)
    opened = await Workspace.open(workspace.folder, workspace.target)
    await opened.prepare(1, config(workspace, BATCH=8192), "")
    assert "BATCH = 2**13" in (workspace.folder / "train.py").read_text()


async def test_what_a_run_puts_in_the_place_of_git_does_not_reach_the_commits(workspace: Workspace) -> None:
    (workspace.folder / ".git").unlink()
    (workspace.folder / ".git").mkdir()
    (workspace.folder / ".git" / "HEAD").write_text("ref: refs/heads/theirs")
    commit = await workspace.prepare(1, config(workspace, BATCH=8192), "")
    await workspace.restore()
    assert (workspace.folder / ".git").read_text() == "gitdir: ../workspace.git\n"
    assert "BATCH = 2**13" in await workspace.searched_source(commit)
