"""Runs git for a session's workspace, the same on every machine: no person's settings, no hooks, no prompts, no pager.

One process at a time for a repository, which this process owns: so a lock file that is there when none of ours runs was
left by a git that was killed, and is removed.
"""

import asyncio
import contextlib
import os
from pathlib import Path

from engine.errors import BilevelError

LOCK_PATIENCE = 1.0  # seconds for which a git that outlived its engine may still hold a lock
_SETTINGS = (
    "core.hooksPath=/dev/null",
    "core.attributesFile=/dev/null",
    "core.excludesFile=/dev/null",
    "core.fsmonitor=false",
    "core.autocrlf=false",
    "core.quotePath=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "advice.detachedHead=false",
    "safe.directory=*",  # the target's checkout may be another user's; nothing in it is run
)
_IDENTITY = {
    f"GIT_{role}_{field}": value
    for role in ("AUTHOR", "COMMITTER")
    for field, value in (("NAME", "bilevel"), ("EMAIL", "bilevel@localhost"))
}


class GitError(BilevelError):
    """git is missing, or failed; the text says with which words."""


class Git:
    """git in one repository: `tree` is the folder with the files, `directory` the repository, which lies outside it."""

    def __init__(self, tree: Path, directory: Path) -> None:
        self.tree = tree
        self.directory = directory
        self._turn = asyncio.Lock()

    async def run(self, *args: str, stdin: bytes = b"") -> bytes:
        """The standard output of `git args`. Raises GitError. A cancelled call kills its git first."""
        place = {"GIT_DIR": str(self.directory), "GIT_WORK_TREE": str(self.tree)}
        cwd = self.tree if self.tree.is_dir() else self.directory.parent
        async with self._turn:
            code, out, errors = await run_git(args, cwd, place, stdin)
            if code != 0 and self._remove_locks():
                code, out, errors = await run_git(args, cwd, place, stdin)
        if code != 0:
            words = errors.decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
            raise GitError(f"git {args[0]} failed in {self.tree}: {words[0]}")
        return out

    async def take_over(self) -> None:
        """Remove the locks that an earlier engine's git left, after giving one that still runs time to end."""
        for _ in range(20):
            if not self._locks():
                return
            await asyncio.sleep(LOCK_PATIENCE / 20)
        self._remove_locks()

    def _locks(self) -> list[Path]:
        return [*self.directory.glob("*.lock"), *(self.directory / "refs").rglob("*.lock")]

    def _remove_locks(self) -> bool:
        """Whether there were any."""
        locks = self._locks()
        for lock in locks:
            lock.unlink(missing_ok=True)
        return bool(locks)


def git_environment() -> dict[str, str]:
    """The environment in which git reads no person's settings and asks nobody anything."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": "/nonexistent",
        "LC_ALL": "C",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }


async def run_git(args: tuple[str, ...], cwd: Path, place: dict[str, str], stdin: bytes) -> tuple[int, bytes, bytes]:
    """Exit code, standard output and standard error of one git. Raises GitError when there is no git."""
    environment = {**git_environment(), **_IDENTITY, **place}
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    try:
        process = await asyncio.create_subprocess_exec(
            *("git", *settings, *args),
            cwd=cwd,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
    except FileNotFoundError as error:
        if error.filename != "git":
            raise GitError(f"there is no directory {cwd}") from None
        raise GitError("git is not on PATH: a session keeps its trials as commits; install git") from None
    try:
        out, errors = await process.communicate(stdin)
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return process.returncode or 0, out, errors
