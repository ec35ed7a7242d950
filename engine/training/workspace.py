"""The workspace of a session: a git repository of its own, in which every trial is a commit.

    refs/bilevel/baseline   the target's files with the profile's constants written in
    refs/heads/search       the incumbent; what `git status` in the folder compares with
    refs/trials/N           trial N, kept or not

A trial's script is always rendered from the baseline's, with every parameter of its configuration, and committed only
when the syntax trees prove that nothing but these constants changed. The files in the folder are what the trainer runs;
the repository and results.tsv lie beside it. Killed at any moment, or with its folder removed, the workspace opens
again, and a `prepare` can be repeated. Calls are made one at a time, by the one engine that owns the folder. What a
metric means is decided elsewhere.
"""

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable
from pathlib import Path

from engine.errors import BilevelError
from engine.search.parameters import Config
from engine.search.script import ScriptError, changed_constants, read_block, write_values
from engine.training import results
from engine.training.copying import copy_target
from engine.training.git import Git
from engine.training.results import Result
from engine.training.target import Target
from engine.training.target_file import blame, read_source

BASELINE = "refs/bilevel/baseline"
BRANCH = "search"
LONGEST_MESSAGE = 64 << 10  # characters
_COMMIT = re.compile(r"[0-9a-f]{40,64}")


class Workspace:
    """A session's repository. `baseline` and `tip` (the incumbent) are commits; `create` or `open` one."""

    def __init__(self, folder: Path, target: Target) -> None:
        self.folder = folder
        self.target = target
        self.baseline = ""
        self.tip = ""
        self._git = Git(folder, _repository(folder))
        self._source = ""

    @classmethod
    async def create(cls, folder: Path, target: Target) -> "Workspace":
        """Copy the target's files and commit them as the baseline. `folder` appears only when it is complete.

        Raises InputError for files that cannot be copied, BilevelError when `folder` exists or git fails.
        """
        staged = _staged(folder)
        await copy_target(target, staged)
        _write_constants(target, staged)
        repository = _repository(folder)
        if repository.exists():
            shutil.rmtree(repository)  # of a creation that was cut short
        git = Git(staged, repository)
        await git.run("init", "-q", "--template=")
        await git.run("config", "core.worktree", f"../{folder.name}")
        await git.run("symbolic-ref", "HEAD", f"refs/heads/{BRANCH}")
        # A .gitattributes among the target's files must not change a byte on the way in or out.
        (repository / "info").mkdir(exist_ok=True)
        (repository / "info" / "attributes").write_text("* -text -filter -ident -working-tree-encoding\n")
        await git.run("add", "--all", "--force", ".")
        await git.run("commit", "-q", "-F", "-", stdin=f"Baseline of {target.name}, {target.profile}\n".encode())
        await git.run("update-ref", BASELINE, "HEAD")
        _point(staged, repository)
        staged.rename(folder)
        return await cls.open(folder, target)

    @classmethod
    async def open(cls, folder: Path, target: Target) -> "Workspace":
        """The workspace that `create` made; a folder that is gone is written anew from the repository.

        Raises BilevelError when the repository is gone or not whole.
        """
        workspace = cls(folder, target)
        _require(_repository(folder))
        await workspace._git.take_over()
        found = (await workspace._git.run("rev-parse", BASELINE, f"refs/heads/{BRANCH}")).decode()
        workspace.baseline, workspace.tip = found.split()
        workspace._source = await workspace.searched_source(workspace.baseline)
        await workspace.ensure()
        return workspace

    async def prepare(self, trial_number: int, config: Config, message: str) -> str:
        """Commit this configuration as a trial and put its script into the folder; returns the commit.

        `message` (a hypothesis; any text) becomes the commit's body. Trial 0 is the baseline, whose commit exists. A
        repeated call replaces the trial's commit. Raises ValueError for a configuration that is not one of the space.
        """
        text = self.render(config)
        if trial_number == 0:
            if text != self._source:
                raise ValueError("trial 0 is the baseline: its configuration is the initial one")
            commit = self.baseline
        else:
            commit = await self._commit(trial_number, text, message)
        await self._place(text)
        return commit

    async def checkout(self, commit: str) -> None:
        """Put the script of a commit into the folder, for another run of it. The tip stays."""
        await self._place(await self.searched_source(commit))

    async def keep(self, commit: str) -> None:
        """Make a commit the tip, and the folder as it: a new incumbent, or an earlier one that is it again.

        For the tip itself nothing happens: a run that an earlier engine started may still be reading the folder.
        """
        if commit == self.tip:
            return
        await self._git.run("reset", "-q", "--hard", _checked(commit))
        self.tip = commit

    async def ensure(self) -> None:
        """Write the folder anew if it is gone."""
        if not self.folder.is_dir():
            await self.restore()

    async def restore(self) -> None:
        """Put the folder back to the tip: every file as committed, whatever else lies there removed."""
        repository = _repository(self.folder)
        if self.folder.is_symlink() or not self.folder.is_dir():
            self.folder.unlink(missing_ok=True)
            self.folder.mkdir()
        # Without its index git compares no times and sizes, which a script can set, but writes every file.
        (repository / "index").unlink(missing_ok=True)
        await self._git.run("reset", "-q", "--hard", self.tip)
        await self._git.run("clean", "-q", "-ffdx")
        _point(self.folder, repository)

    def hashes(self) -> dict[str, str]:
        """The SHA-256 of each fixed file in the folder; the empty text for one that is no file of its own there."""
        return {file: self._hash(file) for file in self.target.fixed}

    def verify_fixed(self, hashes: dict[str, str]) -> str | None:
        """None when the fixed files are as `hashes` says, else the sentence that names those that are not."""
        changed = [file for file, digest in hashes.items() if self._hash(file) != digest]
        return f"the run changed {', '.join(changed)}, which must stay as it is" if changed else None

    async def searched_source(self, commit: str | None = None) -> str:
        """The searched script in a commit, by default in the tip."""
        place = f"{_checked(commit or self.tip)}:{self.target.searched}"
        return (await self._git.run("cat-file", "blob", place)).decode()

    async def diff(self, commit_a: str, commit_b: str) -> str:
        """The unified difference from one commit to another; empty when their files are equal."""
        args = ("diff", "--no-color", "--no-ext-diff", "--no-textconv", _checked(commit_a), _checked(commit_b))
        return (await self._git.run(*args)).decode(errors="replace")

    @property
    def results_path(self) -> Path:
        """Where results.tsv lies."""
        return self.folder.parent / "results.tsv"

    def append_result(
        self, commit: str, metric: float | None, memory_gb: float | None, status: str, description: str
    ) -> None:
        """Add a trial's line to results.tsv."""
        line = Result(commit, metric, memory_gb, status, description)
        results.append_result(self.results_path, self.target.metric.name, line)

    def write_results(self, rows: Iterable[Result]) -> None:
        """Write results.tsv anew, in one step."""
        results.write_results(self.results_path, self.target.metric.name, rows)

    def render(self, config: Config) -> str:
        """The baseline's script with this configuration. Raises ValueError; nothing is written."""
        parameters = self.target.space.parameters
        if config.keys() != parameters.keys():
            wrong = ", ".join(sorted(config.keys() ^ parameters.keys()))
            raise ValueError(f"a configuration has a value for every parameter and no other: {wrong}")
        values = {name: parameters[name].clean(value) for name, value in config.items()}
        text = write_values(self._source, values)
        changed = changed_constants(self._source, text)
        written = read_block(text)
        if not changed <= values.keys() or any(written[name].value != value for name, value in values.items()):
            raise ValueError("the script with this configuration differs in more than its constants")
        return text

    async def _commit(self, number: int, text: str, message: str) -> str:
        """Commit the script on top of the tip as refs/trials/N, in one process: content, tree, commit and ref."""
        body = f"Trial {number}\n\n{message[:LONGEST_MESSAGE]}\n".replace("\0", "").encode(errors="replace")
        data = text.encode()
        mode = "100755" if os.access(self.folder / self.target.searched, os.X_OK) else "100644"
        stream = (
            f"feature done\ncommit refs/trials/{number}\nmark :1\n"
            f"committer bilevel <bilevel@localhost> {int(time.time())} +0000\ndata {len(body)}\n".encode()
            + body
            + f"\nfrom {self.tip}\nM {mode} inline {self.target.searched}\ndata {len(data)}\n".encode()
            + data
            + b"\nget-mark :1\ndone\n"
        )
        out = await self._git.run("fast-import", "--quiet", "--force", "--done", stdin=stream)
        return _checked(out.decode().strip())

    async def _place(self, text: str) -> None:
        """Replace the searched script in the folder, in one step; what a script put in its place goes."""
        path = self.folder / self.target.searched
        if path.is_dir() or not path.parent.is_dir():
            await self.restore()
        staged = path.with_name(f".{path.name}.new")
        staged.write_bytes(text.encode())
        staged.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
        staged.replace(path)

    def _hash(self, file: str) -> str:
        path = self.folder / file
        if path.resolve() != self.folder.resolve() / file or not path.is_file():
            return ""
        return hashlib.sha256(path.read_bytes()).hexdigest()


def _repository(folder: Path) -> Path:
    """Where the commits lie: beside the folder, so that a script that empties its folder does not take them along."""
    return folder.with_name(folder.name + ".git")


def _require(repository: Path) -> None:
    if not repository.is_dir():
        raise BilevelError(
            f"{repository} with the trials' commits is gone, so this session cannot go on: "
            "`bilevel fork` starts a new one from its best"
        )


def _point(folder: Path, repository: Path) -> None:
    """Let `git log` and the like work in the folder; what a script put in this place goes."""
    pointer = folder / ".git"
    if pointer.is_dir() and not pointer.is_symlink():
        shutil.rmtree(pointer)
    else:
        pointer.unlink(missing_ok=True)
    pointer.write_text(f"gitdir: ../{repository.name}\n")


def _staged(folder: Path) -> Path:
    """An empty folder in which `folder` grows; what a creation that was cut short left there goes."""
    if folder.exists():
        raise BilevelError(f"{folder} exists already: open that workspace, or remove it")
    staged = folder.with_name(folder.name + ".new")
    if staged.exists():
        shutil.rmtree(staged)
    staged.mkdir(parents=True)
    return staged


def _write_constants(target: Target, folder: Path) -> None:
    for file, values in target.file_edits.items():
        try:
            before = read_source(folder, file)
            after = write_values(before, values)
            changed_constants(before, after)
        except ScriptError as error:
            raise blame(file, error) from None
        (folder / file).write_bytes(after.encode())


def _checked(commit: str) -> str:
    if not _COMMIT.fullmatch(commit):
        raise ValueError(f"{commit[:80]!r} is no commit")
    return commit
