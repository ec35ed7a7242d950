"""Mechanisms that hang, die, lie or flood: each ends as a named failure, bounded, and the next call is served."""

import asyncio
import contextlib
import os
import sys
from pathlib import Path

import pytest
from mechanism_hosts import HostMaker, asking, doing, host_of, state, trial, until

from engine.mechanism.failures import (
    DeadlineExceeded,
    HookFailed,
    HostDied,
    LoadFailed,
    MechanismError,
    Violation,
)

__all__ = ["host_of"]

# Writes whole frames to the descriptor of the protocol, which a hostile mechanism can find.
FORGE = (
    "import os, sys, json, struct\ndef send(raw):\n    os.write(int(sys.argv[1]), struct.pack('>I', len(raw)) + raw)\n"
)
BAD = state(incumbent=None, strategy="bad")
GOOD = state(incumbent=None)


async def fails(
    host_of: HostMaker, failure: type[MechanismError], *statements: str, top: str = "", **options: object
) -> MechanismError:
    """Run the statements in a hook, see the failure, and see that the next call is answered."""
    body = ["if view.strategy == 'bad':", *("    " + line for line in statements), "return 'fine'"]
    host = host_of(doing(*body, top=top), **options)
    await host.start()
    with pytest.raises(MechanismError) as caught:
        await host.call("advise", BAD, {}, trial=1)
    assert type(caught.value) is failure, caught.value
    assert await host.call("advise", GOOD, {}, trial=1) == "fine"
    return caught.value


@pytest.mark.parametrize(
    "statement",
    [
        "raise ValueError('broken')",
        "raise SystemExit(0)",
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "raise BaseException('\\ud800')",
        "raise Rude",
        "view.parameters['NO_SUCH']",
        "(lambda f: f(f))(lambda f: f(f))",
        "bytearray(2**31)",
        "open('x', 'wb').write(bytes(2**21))",
        "[open('/dev/null') for _ in range(100)] and (lambda *a: a)([open('/dev/null') for _ in range(100)])",
    ],
)
async def test_whatever_a_hook_raises_is_an_error_and_nothing_worse(host_of: HostMaker, statement: str) -> None:
    rude = "class Rude(Exception):\n    def __str__(self):\n        raise SystemExit\n"
    failure = await fails(host_of, HookFailed, statement, top=rude)
    assert failure.kind == "exception"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("os._exit(3)", "exited with code 3"),
        ("os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("ctypes.string_at(0)", "SIGSEGV"),
        ("os.abort()", "SIGABRT"),
        ("os.close(int(sys.argv[1])); time.sleep(60)", "SIGKILL"),
    ],
)
async def test_a_host_that_dies_is_reported_with_how(host_of: HostMaker, statement: str, said: str) -> None:
    failure = await fails(host_of, HostDied, statement, top="import ctypes, os, sys, time")
    assert said in str(failure)


@pytest.mark.parametrize(
    "statement",
    [
        "while True: pass",
        "re.match('(a+)+$', 'a' * 64 + 'b')",
        "[signal.signal(n, signal.SIG_IGN) for n in range(1, 32) if n not in (9, 19)]; time.sleep(60)",
        "10 ** 10 ** 9",
        "json.dumps = json.JSONEncoder = None; sys.modules.clear(); time.sleep(60)",
    ],
)
async def test_an_endless_call_is_killed_at_its_deadline(host_of: HostMaker, statement: str) -> None:
    failure = await fails(
        host_of, DeadlineExceeded, statement, top="import json, re, signal, sys, time", time_limit=0.5
    )
    assert "within 0.5 s" in str(failure)


async def test_an_endless_import_is_killed_too_and_leaves_no_process(host_of: HostMaker) -> None:
    host = host_of(doing("return None", top="while True: pass"), time_limit=0.3)
    with pytest.raises(DeadlineExceeded, match="load"):
        await host.start()
    assert host._process is None


@pytest.mark.parametrize(
    "statement",
    [
        "send(b'garbage')",
        "send(b'[' * 100_000)",
        'send(b\'{"id": "\' + mine() + b\'", "ok": NaN}\')',
        'send(b\'{"id": "\' + mine() + b\'", "ok": 1e999}\')',
        'send(b\'{"id": "\' + mine() + b\'", "ok": "\\\\ud800"}\')',
        'send(b\'{"id": "\' + mine() + b\'", "ok": 1, "ok": 2}\')',
        'send(b\'{"id": "\' + mine() + b\'", "ok": 1, "more": 2}\')',
        'send(b\'{"id": "\' + mine() + b\'", "error": "x"}\')',
        "send(b'{\"id\": \"' + mine() + b'\", \"ok\": ' + b'9' * 400 + b'}')",
        'send(b\'{"id": "0123456789abcdef", "ok": null}\')',
        "send(b'[1]')",
        "os.write(int(sys.argv[1]), struct.pack('>I', 300 * 2**20))",
        "os.write(int(sys.argv[1]), b'\\xff' * 100)",
    ],
)
async def test_forged_and_malformed_replies_are_violations(host_of: HostMaker, statement: str) -> None:
    finder = FORGE + (
        "def mine():\n    at = sys._getframe()\n    while 'frame' not in at.f_locals:\n        at = at.f_back\n"
        "    return at.f_locals['frame']['id'].encode()\n"
    )
    assert (await fails(host_of, Violation, statement, top=finder)).kind == "violation"


async def test_a_second_reply_is_a_violation_at_the_latest_at_the_next_call(host_of: HostMaker) -> None:
    source = doing(
        "at = sys._getframe()",
        "while 'stream' not in at.f_locals: at = at.f_back",
        "real = type(at.f_locals['stream']).write",
        "type(at.f_locals['stream']).write = lambda self, raw: (real(self, raw), real(self, raw))",
        "return 'fine'",
        top="import sys",
    )
    host = host_of(source)
    await host.start()
    assert await host.call("advise", GOOD, {}, trial=1) == "fine"  # the host had looked up its `write` before
    with pytest.raises(Violation):
        for _ in range(2):  # the second reply comes with the first, or is there by the next call
            await host.call("advise", GOOD, {}, trial=1)


async def test_bytes_between_two_calls_are_a_violation(host_of: HostMaker) -> None:
    later = "threading.Timer(0.05, send, (b'{}',)).start()"
    host = host_of(
        doing("if view.strategy == 'bad':", "    " + later, "return 'fine'", top=FORGE + "import threading\n")
    )
    if "no further processes or threads" in (await host.start()).layers:  # only a thread could run between calls
        with pytest.raises(HookFailed, match="thread"):
            await host.call("advise", BAD, {}, trial=1)
        return
    assert await host.call("advise", BAD, {}, trial=1) == "fine"
    assert host._process is not None
    wire = host._process.wire
    await until(lambda: wire.fault is not None)
    with pytest.raises(Violation, match="no call had asked for"):
        await host.call("advise", GOOD, {}, trial=1)
    assert await host.call("advise", GOOD, {}, trial=1) == "fine"


async def test_a_reply_sent_while_loading_does_not_pass_for_the_hosts(host_of: HostMaker) -> None:
    forged = FORGE + 'send(b\'{"id": "0", "ok": {}}\')\n'
    with pytest.raises(Violation):
        await host_of(doing("return None", top=forged)).start()


async def test_printing_is_kept_in_part_and_a_flood_is_ended(host_of: HostMaker) -> None:
    host = host_of(doing("print('x' * 1_000_000 + 'end', flush=True)", "return 'fine'"))
    await host.start()
    assert await host.call("advise", GOOD, {}, trial=1) == "fine"
    failure = await fails(host_of, Violation, "while True: print('y' * 100_000)")
    assert "printed more than 8 MB" in str(failure)
    assert 0 < len(failure.detail) <= 2000


async def test_what_it_printed_last_stands_beside_its_death(host_of: HostMaker) -> None:
    failure = await fails(host_of, HostDied, "print('last \\x1b[31mwords', flush=True); os._exit(1)", top="import os")
    assert failure.detail == "last  [31mwords"


async def test_a_host_that_never_answers_is_not_started_for_ever(host_of: HostMaker) -> None:
    host = host_of(doing("os._exit(1)", top="import os"))
    await host.start()
    for _ in range(3):
        with pytest.raises(HostDied, match="exited with code 1"):
            await host.call("advise", GOOD, {}, trial=1)
    with pytest.raises(HostDied, match="started 6 times without one new answer"):
        await host.call("advise", GOOD, {}, trial=1)


async def test_an_observation_that_kills_the_host_fails_at_every_replay(host_of: HostMaker) -> None:
    host = host_of(doing("if trial.number == 1: os._exit(1)", hook="observe(self, view, trial)", top="import os"))
    await host.start()
    await host.observe(trial(0), 0)
    for number in (1, 2):
        with pytest.raises(HostDied, match="observe"):
            await host.observe(trial(number), 0)


async def test_state_that_cannot_be_copied_is_named(host_of: HostMaker) -> None:
    source = doing("return 'x'").replace(
        "    def advise", "    def __init__(self): self.g = (x for x in ())\n    def advise"
    )
    host = host_of(source)
    await host.start()
    with pytest.raises(HookFailed, match="cannot be copied"):
        await host.call("advise", GOOD, {}, trial=1)


async def test_a_class_that_appears_or_hides_at_run_time_is_refused(host_of: HostMaker) -> None:
    with pytest.raises(LoadFailed, match="KeyError"):
        await host_of(asking("1") + "\ndel Mechanism\n").start()


ENGINE = """
import asyncio, sys
from pathlib import Path
from mechanism_hosts import SPACE, doing, state
from engine.mechanism.client import MechanismHost
from engine.search.parameters import space_to_json

async def main():
    source = doing("while True: pass")
    space = space_to_json(SPACE)
    host = MechanismHost(source, session="s", space=space, direction="minimize", folder=Path(sys.argv[1]))
    await host.start()
    print(host.pid, flush=True)
    await host.call("advise", state(incumbent=None), {}, trial=1)

asyncio.run(main())
"""


async def test_a_host_in_an_endless_loop_dies_with_its_engine(tmp_path: Path) -> None:
    paths = os.pathsep.join(path for path in sys.path if path)
    engine = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ENGINE, str(tmp_path)),
        env={**os.environ, "PYTHONPATH": paths},
        stdout=asyncio.subprocess.PIPE,
    )
    assert engine.stdout is not None
    pid = int(await engine.stdout.readline())
    family = {pid, *descendants(pid)}
    engine.kill()
    await engine.wait()
    await until(lambda: not any(running(member) for member in family))


def descendants(pid: int) -> set[int]:
    """The processes below one: within bubblewrap the host is a grandchild."""
    below: set[int] = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            number, _, rest = stat.read_text().partition(" ")
            if int(rest.rpartition(")")[2].split()[1]) == pid:
                below |= {int(number), *descendants(int(number))}
    return below


def running(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
