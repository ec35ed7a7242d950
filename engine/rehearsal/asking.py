"""The engine's side of a rehearsal: a process of its own is asked, watched and ended; scikit-learn lives there alone.

Whatever goes wrong there is a reason in the evidence and no fault of the session: a process that dies, says nothing of
use or takes too long has given no evidence. However the wait ends, nothing of it is left running, and no file.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from engine.rehearsal.evidence import not_simulated

LIMIT = 60.0
"""Seconds that a rehearsal may take; where trainings share the processor, none runs meanwhile."""
LEAVING = 2.0
"""Seconds in which a process whose input was closed ends its hosts, before it is killed."""
ROOT = Path(__file__).resolve().parents[2]
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH")


class Request(msgspec.Struct, frozen=True):
    """What is rehearsed: the mechanism `hash` of a session at its event `seq`, as the record at `db` has them.

    `hosts` is where host processes get their folders, `require` the sandbox level below which none starts.
    """

    db: str
    session: str
    seq: int
    hash: str
    hosts: str
    require: str | None = None


async def rehearse(request: Request, limit: float = LIMIT) -> dict[str, Any]:
    """The evidence as `evidence.Expected` describes it. `limit` is in seconds. Raises for no fault of a rehearsal."""
    try:
        with _own_folder(request) as alone:
            async with asyncio.timeout(limit):
                return await _answer(alone)
    except TimeoutError:
        return not_simulated(f"the rehearsal took more than {limit:g} s")
    except (OSError, ValueError) as error:
        return not_simulated(f"the rehearsal gave no answer: {error}")


@contextlib.contextmanager
def _own_folder(request: Request) -> Iterator[Request]:
    """The request with a folder of its own for its hosts, which is gone at the end."""
    folder = Path(request.hosts, f"rehearsal-{secrets.token_hex(4)}")
    folder.mkdir(parents=True)
    try:
        yield msgspec.structs.replace(request, hosts=str(folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def _answer(request: Request) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-W", "ignore", "-m", "engine.rehearsal"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environment(),
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    try:
        process.stdin.write(msgspec.json.encode(request) + b"\n")
        output, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
    finally:
        await asyncio.shield(_ended(process))
    if not output.strip():
        said = errors.decode(errors="replace").strip().splitlines()
        raise ValueError(f"its process ended with code {process.returncode}{': ' + said[-1][:300] if said else ''}")
    answer: dict[str, Any] = msgspec.json.decode(output, type=dict[str, Any])
    return answer


async def _ended(process: asyncio.subprocess.Process) -> None:
    """Have the process end with its hosts: by itself once its input is closed, killed where it does not."""
    assert process.stdin is not None
    process.stdin.close()
    try:
        async with asyncio.timeout(LEAVING):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its hosts are killed by the kernel with it
        await process.wait()


def _environment() -> dict[str, str]:
    """What the process needs of this one's environment, which may hold the key of a model."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    path = os.pathsep.join(filter(None, (str(ROOT), inherited.get("PYTHONPATH"))))
    return {**inherited, "PYTHONPATH": path}
