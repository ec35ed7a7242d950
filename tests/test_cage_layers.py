"""A layer that is missing, or accepted and not enforced, is said with its fix, and the level is lower or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cage_runs import ROOT, best, sandbox
from mechanism_hosts import HostMaker, asking, doing, host_of, module, state

from engine.mechanism import bubblewrap, cage, client, process
from engine.mechanism.bubblewrap import Bubblewrap, probe
from engine.mechanism.client import Hello
from engine.mechanism.failures import SandboxTooWeak

__all__ = ["host_of"]
Weaken = Callable[..., None]
NOW: Any = state(incumbent=None)


@pytest.fixture
def weaken(monkeypatch: pytest.MonkeyPatch) -> Weaken:
    """Takes layers from the hosts that are started from now on: those of weak_host, and `outside`."""

    def take(*what: str, outside: bool = False) -> None:
        if what:
            monkeypatch.setattr(process, "HOST", Path(__file__).with_name("weak_host.py"))
            more = {"WEAK": ", ".join(what), "WEAK_ROOT": str(ROOT)}
            monkeypatch.setattr(process, "ENVIRONMENT", {**process.ENVIRONMENT, **more})
        if outside:
            monkeypatch.setattr(bubblewrap, "_found", Bubblewrap(None, "not there", "install it"))

    return take


def why(hello: Hello, layer: str) -> str:
    return next((line for line in hello.missing if line.startswith(layer)), "")


@pytest.mark.parametrize(
    ("lacking", "layer", "said", "fix"),
    [
        ("no Landlock", "Landlock", "Operation not supported", "Linux 5.13"),
        ("Landlock not enforced", "Landlock", "accepted, and a forbidden file can be read", "lsm=landlock"),
        ("no seccomp", "seccomp", "Invalid argument", "CONFIG_SECCOMP_FILTER"),
        ("seccomp not enforced", "seccomp", "accepted, and does not refuse to open a socket", "prctl(2)"),
        ("unknown processor", "seccomp", "no table of system calls", "x86-64 or aarch64"),
        ("limits not enforced", "64 descriptors", "the limit was set and is another", "kernel"),
    ],
)
async def test_a_layer_that_is_missing_is_named_with_its_fix_and_the_level_is_c(
    host_of: HostMaker, weaken: Weaken, lacking: str, layer: str, said: str, fix: str
) -> None:
    weaken(lacking, outside=True)
    hello = await host_of(module("")).start()
    assert hello.level == "C"
    assert said in why(hello, layer) and fix in why(hello, layer)
    assert layer not in hello.layers


@pytest.mark.parametrize("lacking", ["no Landlock", "Landlock not enforced"])
async def test_without_landlock_bubblewrap_and_seccomp_make_level_b(
    host_of: HostMaker, weaken: Weaken, lacking: str
) -> None:
    if best() != "A+":
        pytest.skip(f"level {best()}: " + "; ".join(cage.missing(sandbox().findings)))
    weaken(lacking)
    hello = await host_of(module("")).start()
    assert (hello.level, "bubblewrap" in hello.layers) == ("B", True)
    assert why(hello, "Landlock")


async def test_without_bubblewrap_landlock_and_seccomp_make_level_a(host_of: HostMaker, weaken: Weaken) -> None:
    if best() not in ("A+", "A"):
        pytest.skip(f"level {best()}: " + "; ".join(cage.missing(sandbox().findings)))
    weaken(outside=True)
    hello = await host_of(module("")).start()
    assert (hello.level, hello.missing) == ("A", ("bubblewrap: not there (install it)",))


async def test_less_than_is_asked_for_is_refused_before_the_source_is_loaded(
    host_of: HostMaker, weaken: Weaken, tmp_path: Path
) -> None:
    weaken("no Landlock", outside=True)
    host = host_of(module("", top=f"open({str(tmp_path / 'loaded')!r}, 'w')"), require="A")
    with pytest.raises(SandboxTooWeak, match=r"level C, and A is asked for: Landlock: .* \(use Linux 5.13"):
        await host.start()
    assert host.pid is None
    assert not (tmp_path / "loaded").exists()


async def test_a_host_that_is_started_again_is_confined_no_less(host_of: HostMaker, weaken: Weaken) -> None:
    level = best()
    host = host_of(doing("os._exit(0)", top="import os"))
    await host.start()
    weaken("no Landlock", "no seccomp")
    with pytest.raises(SandboxTooWeak, match=f"level C, and {level.replace('+', '[+]')} is asked for"):
        await host.call("advise", NOW, {}, trial=1)


async def test_a_bubblewrap_that_isolates_nothing_is_found_out(
    host_of: HostMaker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake = program(tmp_path, 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"')
    monkeypatch.setattr(bubblewrap, "_found", Bubblewrap(str(fake)))
    monkeypatch.setattr(process, "ENVIRONMENT", {**process.ENVIRONMENT, "PATH": "/usr/bin:/bin"})
    hello = await host_of(module("")).start()
    assert "a file outside can be read" in why(hello, "bubblewrap")
    assert hello.level != "A+"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "echo 'bwrap: No permissions to create a new namespace' >&2; exit 1",
            "No permissions to create a new namespace",
        ),
        ("exit 0", "it ended with code 0"),
        ("exec sleep 60", "it did not answer within"),
    ],
)
async def test_a_bubblewrap_that_does_not_work_is_reported_in_its_own_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, why: str
) -> None:
    monkeypatch.setattr(bubblewrap, "PROBE_LIMIT", 0.3)
    found = await probe(str(program(tmp_path, text)))
    assert found.program is None
    assert why in found.why and "user.max_user_namespaces" in found.fix


async def test_a_bubblewrap_that_is_not_there_is_reported_with_how_to_install_it() -> None:
    found = await probe("no-such-program")
    assert (found.program, found.why) == (None, "it is not installed")
    assert "apt install bubblewrap" in found.fix


async def test_a_library_that_lies_around_private_files_is_not_let_read(
    host_of: HostMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    within = str(cage.STANDARD_LIBRARY / "json")
    monkeypatch.setattr(client, "private_folders", lambda session: [within])
    hello = await host_of(module("")).start()
    assert f"{within} lies within" in why(hello, "Landlock")


def test_the_probe_tells_every_layer_and_the_level() -> None:
    found = sandbox()
    layers = {finding["layer"] for finding in found.findings}
    assert {"dies with the engine", "no capabilities", "Landlock", "seccomp", "bubblewrap"} <= layers
    assert cage.level_of(found.findings) == found.level
    assert all(finding["detail"] and (finding["ok"] or finding["fix"]) for finding in found.findings)


@pytest.mark.parametrize(
    ("held", "level"),
    [
        ("limits Landlock seccomp bubblewrap", "A+"),
        ("limits Landlock seccomp", "A"),
        ("limits seccomp bubblewrap", "B"),
        ("limits Landlock bubblewrap", "C"),
        ("limits seccomp", "C"),
        ("limits", "C"),
        ("Landlock seccomp bubblewrap", "C"),
    ],
)
def test_the_level_follows_from_the_layers(held: str, level: str) -> None:
    layers = ("limits", "Landlock", "seccomp", "bubblewrap")
    findings = [cage.Finding(layer=layer, ok=layer in held.split(), detail="", fix="") for layer in layers]
    assert cage.level_of(findings) == level
    assert [asked for asked in cage.LEVELS if cage.reaches(level, asked)] == list(cage.LEVELS)[
        : cage.LEVELS.index(level) + 1
    ]


async def test_numpy_and_its_generator_work_within(host_of: HostMaker) -> None:
    top = "import numpy as np"
    host = host_of(asking("float(np.linalg.solve(np.eye(3) * 2, np.ones(3))[0]), view.rng.normal(size=2).shape", top))
    await host.start()
    assert await host.call("advise", NOW, {}, trial=1) == "(0.5, (2,))"


async def test_the_standard_library_can_be_imported_within(host_of: HostMaker) -> None:
    names = "bisect collections csv dataclasses decimal fractions heapq itertools random sqlite3 ssl statistics zlib"
    lines = (f"for name in {names.split()}:", "    __import__(name)", "return 'all'")
    host = host_of(doing(*lines))
    await host.start()
    assert await host.call("advise", NOW, {}, trial=1) == "all"


def program(folder: Path, text: str) -> Path:
    path = folder / "bwrap"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path
