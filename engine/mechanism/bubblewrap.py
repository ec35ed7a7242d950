"""bubblewrap around a host: namespaces of its own for files, processes, network and users, put on from outside.

Inside there are the standard library, shared libraries, numpy, the engine's own source and an empty folder, all to be
read only; no other process, no network. Whether that works on this machine is found out by doing it, once in an
engine's life: many systems have the program and forbid what it needs.
"""

import asyncio
import contextlib
import secrets
import shutil
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.mechanism.cage import STANDARD_LIBRARY, readable

PROBE_LIMIT = 10.0
"""Seconds for the probe; it takes some 30 ms."""
PYTHON = str(Path(sys.executable).resolve())
"""The interpreter itself, not the link to it in a virtual environment, whose folder is not needed."""
_ISOLATION = ("--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL")
_DEVICES = ("/dev/null", "/dev/urandom")
_INSTALL = "install it: apt install bubblewrap, dnf install bubblewrap or pacman -S bubblewrap"
_ALLOW = (
    "let ordinary users make user namespaces: sysctl user.max_user_namespaces=15000, where it exists "
    "kernel.unprivileged_userns_clone=1, and on Ubuntu kernel.apparmor_restrict_unprivileged_userns=0 or an AppArmor "
    "profile for bwrap; in a container, a runtime that allows namespaces within it"
)


@dataclass(frozen=True)
class Bubblewrap:
    """What the probe found: the program, or why there is none that works and what would help."""

    program: str | None
    why: str = ""
    fix: str = ""

    def around(
        self, command: Sequence[str], folder: Path, environ: Mapping[str, str], paths: Sequence[str]
    ) -> list[str]:
        """The command that runs `command` within, in `folder`; it can read that, `paths` and what Python needs."""
        assert self.program is not None
        words = [self.program, *_ISOLATION]
        for name, value in environ.items():
            words += ["--setenv", name, value]
        for path in dict.fromkeys([*readable(), command[0], *paths, str(folder)]):
            bind = "--dev-bind" if path in _DEVICES else "--ro-bind"
            words += [bind, str(Path(path).resolve()), path]
        return [*words, "--remount-ro", "/", "--chdir", str(folder), "--", *command]


_found: Bubblewrap | None = None


@contextlib.contextmanager
def hail() -> Iterator[str]:
    """Listen, for a moment, on an abstract socket, for a host to try whether it can be reached; its name."""
    name = f"bilevel-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(f"\0{name}")
        listener.listen(1)
        yield name


async def find_bubblewrap() -> Bubblewrap:
    """The probe's result; the first call in an engine's life makes the probe."""
    global _found
    if _found is None:
        _found = await probe()
    return _found


async def probe(program: str = "bwrap") -> Bubblewrap:
    """Run Python within bubblewrap, and see that it runs."""
    path = shutil.which(program)
    if path is None:
        return Bubblewrap(None, "it is not installed", _INSTALL)
    within = Bubblewrap(path).around([PYTHON, "-I", "-S", "-c", "print('within')"], STANDARD_LIBRARY, {}, [])
    process = await asyncio.create_subprocess_exec(
        *within,
        env={},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PROBE_LIMIT):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return Bubblewrap(None, f"it did not answer within {PROBE_LIMIT:g} s", _ALLOW)
    if process.returncode == 0 and said.strip() == b"within":
        return Bubblewrap(path)
    reason = " ".join(said.decode(errors="replace").split())[:300] or f"it ended with code {process.returncode}"
    return Bubblewrap(None, reason, _ALLOW)
