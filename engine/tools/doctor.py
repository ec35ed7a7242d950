"""Checks of a machine: what a session needs, tried out, with the exact remedy for what is missing.

Each check says what it found and whether that will do. torch is imported in a process of its own; the sandbox level is
what a mechanism host that was really started reached. Nothing is sent to a model unless `online` is asked for.
"""

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import BilevelError, InputError
from engine.record.settings import Settings, replayed
from engine.tools.machine import has_nvidia_device, probe_torch

LEAST_FREE = 2**30
"""Bytes that should be free beside the database: a workspace, logs, a record that grows."""
HOST_SECONDS = 60.0
_ALLOWED_ALONE = ("A+", "A", "B")


@dataclass(frozen=True)
class Check:
    """One finding: `fix` says what to do where it is not ok, or what would be better."""

    name: str
    ok: bool
    detail: str
    fix: str = ""


@dataclass(frozen=True)
class Surroundings:
    """What the checks are about: the database to be, the settings, the environment, and whether to call the model."""

    db: Path
    settings: Settings
    environ: Mapping[str, str]
    online: bool = False


def diagnose(about: Surroundings) -> list[Check]:
    """All checks, in order. Takes some seconds, most of them for torch."""
    return [check(about) for check in CHECKS.values()]


def _python(about: Surroundings) -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 11)
    return Check("python", ok, f"{version} at {sys.executable}", "" if ok else "install Python 3.11 or newer")


def _torch(about: Surroundings) -> Check:
    found = probe_torch()
    if found.error:
        return Check("torch", False, found.error, "install the requirements again: make run, or pip install bilevel")
    if found.cuda:
        return Check("torch", True, f"{found.version}, CUDA on {found.device} with {found.memory_gb:g} GB")
    if has_nvidia_device():
        fix = "install a torch built for CUDA that fits the driver (nvidia-smi shows its version)"
        return Check("torch", False, f"{found.version}, which does not reach the NVIDIA device that is there", fix)
    return Check("torch", True, f"{found.version}, no CUDA: the CPU settings are used")


def _git(about: Surroundings) -> Check:
    fix = "install git: a session keeps its trials as commits"
    try:
        found = subprocess.run(
            ["git", "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("git", False, f"git cannot be run: {error}", fix)
    ok = found.returncode == 0
    return Check("git", ok, found.stdout.strip() or found.stderr.strip()[:200], "" if ok else fix)


def _database(about: Surroundings) -> Check:
    folder = about.db.absolute().parent
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".bilevel-doctor-"):
            pass
    except OSError as error:
        return Check("database", False, f"{folder} cannot be written: {error.strerror}", "name another place with --db")
    kind = "is there" if about.db.exists() else "will be made"
    return Check("database", True, f"{about.db} {kind}, its directory can be written")


def _disk(about: Surroundings) -> Check:
    folder = about.db.absolute().parent
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Check("disk", False, f"{folder}: {error.strerror}", "name another place with --db")
    ok = free >= LEAST_FREE
    fix = "" if ok else "free some room, or clear old sessions away with `bilevel prune`"
    return Check("disk", ok, f"{free / 2**30:.1f} GB free at {folder}", fix)


def _sqlite(about: Surroundings) -> Check:
    version = sqlite3.sqlite_version_info
    detail = f"SQLite {sqlite3.sqlite_version}"
    if safe_sqlite(version):
        return Check("sqlite", True, detail)
    return Check(
        "sqlite",
        True,
        f"{detail}: older than 3.51.3, 3.50.7 or 3.44.6, which lose writes when two programs write to one database; "
        "bilevel writes with one",
        "let no other program write to sessions.db, or use a Python with a newer SQLite",
    )


def safe_sqlite(version: tuple[int, ...]) -> bool:
    """Whether this SQLite keeps acknowledged writes when two connections write and checkpoint at once."""
    if version >= (3, 51):
        return version >= (3, 51, 3)
    if version >= (3, 50):
        return version >= (3, 50, 7)
    return (3, 44, 6) <= version < (3, 45)


def _model(about: Surroundings) -> Check:
    from engine.model.client import model_from_settings

    settings = about.settings
    if settings.model == "offline":
        fix = "set BILEVEL_MODEL and a key (BILEVEL_API_KEY, OPENAI_API_KEY or DEEPSEEK_API_KEY) to use a real model"
        return Check("model", True, "offline: the stand-in answers, which needs no endpoint", fix)
    if replayed(settings.model) is not None:
        return Check("model", True, f"recorded answers: {settings.model}")
    try:
        model = model_from_settings(settings, about.environ)
    except InputError as error:
        return Check("model", False, str(error), "see the sentence")
    return asyncio.run(_ask(model, about))


async def _ask(model: object, about: Surroundings) -> Check:
    from engine.model.client import OpenAIModel, Prompt

    assert isinstance(model, OpenAIModel)

    async def retried(error: str, attempt: int, wait: float) -> None:
        """A failed try shows in the result."""

    try:
        if not about.online:
            return Check("model", True, f"{about.settings.model}, with what it needs; not called (--online calls it)")
        question = Prompt("1", "propose", [{"role": "user", "content": "Answer with the word yes."}])
        async with asyncio.timeout(about.settings.model_timeout):
            reply = await model.complete(question, retried)
        return Check("model", True, f"{reply.model} answered in {reply.seconds:.1f} s")
    except TimeoutError:
        detail = f"{about.settings.model} did not answer within {about.settings.model_timeout:g} s"
        return Check("model", False, detail, "look at the base URL, or give --model-timeout")
    except BilevelError as error:
        return Check("model", False, str(error), "see the sentence")
    finally:
        await model.close()


def _sandbox(about: Surroundings) -> Check:
    from engine.mechanism.sandbox import probe_sandbox

    try:
        level, findings = asyncio.run(asyncio.wait_for(probe_sandbox(), HOST_SECONDS))
    except (BilevelError, OSError, TimeoutError) as error:
        fix = "see the sentence; without it Level 2 cannot run (--levels 1,1.5 leaves it out)"
        return Check("sandbox", False, f"a mechanism host cannot be started: {error}", fix)
    tried = "; ".join(f"{'' if found['ok'] else 'MISSING '}{found['layer']}: {found['detail']}" for found in findings)
    fixes = [f"{found['layer']}: {found['fix']}" for found in findings if not found["ok"]]
    if level not in _ALLOWED_ALONE:
        fixes.insert(0, "until then generated code that is no shipped mechanism waits for your approval")
    return Check("sandbox", True, f"level {level}, reached by a host that was started; {tried}", "; ".join(fixes))


def _terminal(about: Surroundings) -> Check:
    if not sys.stdout.isatty():
        return Check("terminal", True, "output goes to no terminal: plain lines are printed")
    size = shutil.get_terminal_size()
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    ok = encoding == "utf8" and os.environ.get("TERM", "dumb") != "dumb"
    detail = f"{os.environ.get('TERM', 'no TERM')}, {size.columns} x {size.lines}, {sys.stdout.encoding}"
    return Check("terminal", ok, detail, "" if ok else "set TERM, and a UTF-8 locale such as LC_ALL=C.UTF-8")


CHECKS: dict[str, Callable[[Surroundings], Check]] = {
    "python": _python,
    "torch": _torch,
    "git": _git,
    "database": _database,
    "disk": _disk,
    "sqlite": _sqlite,
    "model": _model,
    "sandbox": _sandbox,
    "terminal": _terminal,
}
