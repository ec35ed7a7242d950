"""Runs of the stand-in engine under attack (see cage_victim), by the current user and by one without rights.

A run takes one to some seconds, so each is made once and looked at by many tests. What this machine cannot do is
skipped with the reason that the checks of a machine give.
"""

import asyncio
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy
import pytest
from mechanism_hosts import doing

from engine.mechanism.bubblewrap import probe
from engine.mechanism.cage import missing
from engine.mechanism.sandbox import Sandbox, probe_sandbox

T = TypeVar("T")
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PACKAGES = str(Path(numpy.__file__).parents[1])
NOBODY = 65534
USERS = ("current", "nobody")
LEVELS = ("A+", "A", "B")
ATTACKS_SOURCE = (HERE / "cage_attacks.py").read_text() + (HERE / "cage_attacks_more.py").read_text()
FORGE = (
    "import ctypes, json, mmap, os, re, signal, struct, sys, time\n"
    "def send(raw):\n    os.write(int(sys.argv[1]), struct.pack('>I', len(raw)) + raw)\n"
    "def mine():\n    at = sys._getframe()\n    while 'frame' not in at.f_locals:\n        at = at.f_back\n"
    "    return at.f_locals['frame']['id'].encode()\n"
    "def machine(code):\n    page = mmap.mmap(-1, 4096, prot=7)\n    page.write(bytes.fromhex(code))\n"
    "    at = ctypes.addressof(ctypes.c_char.from_buffer(page))\n    ctypes.CFUNCTYPE(ctypes.c_long)(at)()\n"
)
SWALLOW = (
    "[signal.signal(n, signal.SIG_IGN) for n in range(1, 32) if n not in (9, 19)]\n"
    "while True:\n    try: time.sleep(60)\n    except BaseException: pass"
)
MISBEHAVIOURS = {
    "loop": ("while True: pass", "DeadlineExceeded"),
    "loop in C": ("re.match('(a+)+$', 'a' * 64 + 'b')", "DeadlineExceeded"),
    "loop that swallows signals": (SWALLOW, "DeadlineExceeded"),
    "json replaced": ("json.dumps = json.JSONEncoder = None; sys.modules.clear(); time.sleep(60)", "DeadlineExceeded"),
    "host replaced": ("sys._getframe(2).f_globals['frame_of'] = lambda *a: b''", "DeadlineExceeded"),
    "protocol replaced": ("sys._getframe(2).f_globals['protocol'].encode = lambda *a: b'xxxxxxxx'", "Violation"),
    "print for ever": ("while True: print('y' * 100_000)", "Violation"),
    "forged reply": ('send(b\'{"id": "0123456789abcdef", "ok": null}\')', "Violation"),
    "pre-sent reply": ('send(b\'{"id": "\' + mine() + b\'", "ok": 1}\')', "Violation"),
    "pre-sent and real reply": ('send(b\'{"id": "\' + mine() + b\'", "ok": null}\' * 2)', "Violation"),
    "garbage": ("os.write(int(sys.argv[1]), b'\\xff' * 100)", "Violation"),
    "300 MB announced": ("os.write(int(sys.argv[1]), struct.pack('>I', 300 * 2**20))", "Violation"),
    "depth 100,000": ("send(b'[' * 100_000)", "Violation"),
    "1e999": ('send(b\'{"id": "\' + mine() + b\'", "ok": 1e999}\')', "Violation"),
    "surrogate": ("return '\\ud800'", "WrongAnswer"),
    "huge integer": ("return 2**70", "WrongAnswer"),
    "sys.exit": ("sys.exit(0)", "HookFailed"),
    "_exit": ("os._exit(0)", "HostDied: Its host died at advise: it exited with code 0"),
    "segfault": ("ctypes.string_at(0)", "HostDied: Its host died at advise: it was ended by SIGSEGV"),
    "32-bit call": ("machine('b814000000cd80c3')", "HostDied: Its host died at advise: it was ended by SIGSYS"),
    "x32 call": ("machine('b8270000400f05c3')", "HostDied: Its host died at advise: it was ended by SIGSYS"),
}
"""By name: what a hook does, and how its call ends, or the next one where the host's own reply is the one too many."""


@functools.cache
def sandbox() -> Sandbox:
    """What this machine gives the current user."""
    return in_a_loop(probe_sandbox)


def in_a_loop(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What a coroutine returns, in a loop of its own: the test that asks may run in one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(make())).result()


@functools.cache
def python_for_nobody() -> str | None:
    """An interpreter that user can run, with numpy and this project within reach; None where there is none."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for path in (Path(sys.executable).resolve(), Path("/usr/local/bin", version), Path("/usr/bin", version)):
        command = [str(path), "-c", "import numpy, engine.mechanism.client"]
        try:
            tried = subprocess.run(command, env=environment(), cwd="/", capture_output=True, **as_nobody())
        except OSError:
            continue
        if tried.returncode == 0:
            return str(path)
    return None


def as_nobody() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []}


def environment() -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(ROOT), PACKAGES]), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}


@functools.cache
def run(user: str, level: str) -> dict[str, Any]:
    """What a run told. Skips the test where this user or level cannot be had here."""
    python, options = sys.executable, {}
    if user == "nobody":
        if os.geteuid() != 0:
            pytest.skip("only root can become another user")
        found = python_for_nobody()
        if found is None:
            pytest.skip("no Python that another user can run, with the packages and this project readable to it")
        python, options = found, as_nobody()
    if level in ("A+", "B") and (outside := in_a_loop(probe)).program is None:
        pytest.skip(f"bubblewrap: {outside.why} ({outside.fix})")
    sources = {name: bad_once(text) for name, (text, _) in MISBEHAVIOURS.items()} if level == sandbox().level else {}
    request = {"source": ATTACKS_SOURCE, "attacks": attacks(), "misbehaviours": sources}
    done = subprocess.run(
        [python, str(HERE / "cage_victim.py"), level, str(ROOT)],
        input=json.dumps(request),
        env=environment(),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )
    assert done.returncode == 0, f"the victim ended with {done.returncode}: {done.stderr[-2000:]}"
    told: dict[str, Any] = json.loads(done.stdout)
    lacking = [found for found in told["findings"] if not found["ok"] and found["detail"] != "left out for this test"]
    if told["level"] != level:
        pytest.skip(f"level {told['level']}: " + "; ".join(missing(lacking)))
    return told


def best() -> str:
    """The highest level that this machine gives. Skips the test where that is C."""
    if sandbox().level not in LEVELS:
        pytest.skip("level C: " + "; ".join(missing(sandbox().findings)))
    return sandbox().level


def bad_once(statements: str) -> str:
    """A mechanism that does this when it is told to be bad, and is fine otherwise."""
    return doing(
        "if view.guidance == 'bad':", *("    " + line for line in statements.splitlines()), "return 'fine'", top=FORGE
    )


def attacks() -> list[str]:
    """The names of the attacks, as the hostile source defines them; that on descriptors before others open some."""
    names = [line[4:].partition("(")[0] for line in ATTACKS_SOURCE.splitlines() if line.startswith("def case_")]
    return sorted(names, key=lambda name: name != "case_19_descriptors")
