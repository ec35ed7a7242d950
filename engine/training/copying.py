"""What of a target's directory goes into a session's workspace.

In a checkout: what git lists (tracked files, and new ones that are not ignored), as they are on disk now. Elsewhere:
every file. The searched and the fixed files always; caches, records and environments never. Links stay links to where
they pointed. Data does not belong there: large files are refused by name.
"""

import os
import shutil
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from engine.errors import InputError
from engine.training.git import GitError, run_git
from engine.training.target import Target

LARGEST_FILE = 16 << 20  # bytes
LARGEST_COPY = 256 << 20  # bytes, all files together
SKIPPED = frozenset(
    (".git", ".bilevel", ".venv", "venv", "node_modules", "__pycache__", ".ipynb_checkpoints", ".hypothesis")
)
SKIPPED_FILES = ("*.pyc", "sessions.db*", "results.tsv")


async def copy_target(target: Target, folder: Path) -> None:
    """Copy the target's files into `folder`, which exists and is empty. Raises InputError when one is too large."""
    total = 0
    named = {target.searched, *target.fixed}
    for name in sorted(named | set(await _listed(target))):
        source, copy = target.root / name, folder / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_symlink() and name not in named:
            copy.symlink_to(_link(source, target.root))
            continue
        size = source.stat().st_size
        total += size
        if size > LARGEST_FILE or total > LARGEST_COPY:
            raise InputError(
                f"{source} has {size / 2**20:.0f} MB and would be copied into the session: only scripts belong in the "
                f"target's directory (a file up to {LARGEST_FILE >> 20} MB, {LARGEST_COPY >> 20} MB in all); move it"
            )
        shutil.copyfile(source, copy)
        copy.chmod(0o755 if os.access(source, os.X_OK) else 0o644)


async def _listed(target: Target) -> list[str]:
    """The files and links to copy, relative to the target's directory."""
    found = await _git_lists(target.root)
    if found is None or target.searched not in found:  # no checkout, or one that ignores this directory
        found = list(_walk(target.root))
    return [name for name in found if _wanted(name) and _is_file(target.root / name)]


async def _git_lists(root: Path) -> list[str] | None:
    args = ("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    try:
        code, out, _ = await run_git(args, root, {}, b"")
    except GitError:
        return None
    return [os.fsdecode(name) for name in out.split(b"\0") if name] if code == 0 else None


def _walk(root: Path) -> Iterator[str]:
    for folder, directories, files in os.walk(root):
        place = Path(folder)
        yield from (str((place / name).relative_to(root)) for name in files)
        yield from (str((place / name).relative_to(root)) for name in directories if (place / name).is_symlink())
        directories[:] = [name for name in directories if not _skipped(name)]


def _wanted(name: str) -> bool:
    *folders, file = Path(name).parts
    if any(_skipped(folder) for folder in (*folders, file)):
        return False
    return not any(fnmatch(file, pattern) for pattern in SKIPPED_FILES)


def _skipped(folder: str) -> bool:
    return folder in SKIPPED or (folder.startswith(".") and folder.endswith("_cache"))


def _is_file(path: Path) -> bool:
    return path.is_file() or path.is_symlink()


def _link(source: Path, root: Path) -> Path:
    """Where a copied link points: within the directory as it did, out of it by its absolute path."""
    goal = source.readlink()
    resolved = (source.parent / goal).resolve()
    return goal if not goal.is_absolute() and resolved.is_relative_to(root) else resolved
