"""The checks of a machine, each of which tries what it speaks of."""

import asyncio
import json
import os
import sqlite3
from pathlib import Path

import pytest
from loopback import Loopback

from engine.mechanism import sandbox
from engine.record.settings import Settings
from engine.tools import doctor
from engine.tools.doctor import CHECKS, Check, Surroundings, safe_sqlite
from engine.tools.machine import Torch, probe_torch
from tui.cli import main


def about(
    tmp_path: Path, online: bool = False, environ: dict[str, str] | None = None, **settings: object
) -> Surroundings:
    chosen = Settings(target="", profile="", **settings)  # type: ignore[arg-type]
    return Surroundings(tmp_path / "sessions.db", chosen, environ or {}, online)


def test_the_command_prints_every_check_as_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("BILEVEL_MODEL", "BILEVEL_DB"):
        monkeypatch.delenv(name, raising=False)
    code = main(["doctor", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in told] == list(CHECKS)
    assert all(list(check) == ["name", "ok", "detail", "fix"] for check in told)
    assert code == (0 if all(check["ok"] for check in told) else 1)
    found = {check["name"]: check for check in told}
    assert found["torch"]["ok"], found["torch"]
    assert found["sandbox"]["detail"].startswith("level ")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_part_makes_the_exit_code_1_and_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "CHECKS", {"git": lambda _: Check("git", False, "gone", "install git")})
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out == "MISSING  git       gone\n                   install git\n"


@pytest.mark.parametrize(
    ("version", "safe"),
    [
        ((3, 40, 1), False),
        ((3, 44, 5), False),
        ((3, 44, 6), True),
        ((3, 45, 0), False),
        ((3, 50, 6), False),
        ((3, 50, 7), True),
        ((3, 51, 2), False),
        ((3, 51, 3), True),
        ((3, 52, 0), True),
    ],
)
def test_an_sqlite_that_can_lose_writes_is_known(version: tuple[int, ...], safe: bool) -> None:
    assert safe_sqlite(version) is safe


def test_an_old_sqlite_is_a_warning_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 40, 1))
    check = CHECKS["sqlite"](about(tmp_path))
    assert check.ok
    assert "older than 3.51.3" in check.detail
    assert check.fix


def test_a_directory_that_is_not_there_is_no_place_for_a_database(tmp_path: Path) -> None:
    there = about(tmp_path / "none")
    assert not CHECKS["database"](there).ok
    assert "--db" in CHECKS["database"](there).fix
    assert not CHECKS["disk"](there).ok
    assert CHECKS["database"](about(tmp_path)).ok


def test_git_that_cannot_be_run_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert CHECKS["git"](about(tmp_path)).detail.startswith("git version")
    monkeypatch.setenv("PATH", str(tmp_path))
    check = CHECKS["git"](about(tmp_path))
    assert not check.ok
    assert "install git" in check.fix


def test_a_model_without_a_key_is_found_without_a_call(tmp_path: Path) -> None:
    assert CHECKS["model"](about(tmp_path)).ok
    check = CHECKS["model"](about(tmp_path, model="some-model"))
    assert not check.ok
    assert "no key" in check.detail


async def test_the_model_is_called_only_when_asked(tmp_path: Path) -> None:
    async with Loopback(lambda request: "yes") as server:
        offline = about(tmp_path, model="m", base_url=server.base_url)
        check = await asyncio.to_thread(CHECKS["model"], offline)
        assert check.ok
        assert "not called" in check.detail
        assert server.requests == []
        check = await asyncio.to_thread(CHECKS["model"], about(tmp_path, True, model="m", base_url=server.base_url))
        assert check.ok
        assert "answered in" in check.detail
        assert len(server.requests) == 1


async def test_a_model_that_refuses_is_told_with_the_reason(tmp_path: Path) -> None:
    async with Loopback(lambda request: "yes", faults=["401"]) as server:
        environ = {"BILEVEL_API_KEY": "a-secret-key"}
        there = about(tmp_path, True, environ, model="m", base_url=server.base_url)
        check = await asyncio.to_thread(CHECKS["model"], there)
    assert not check.ok
    assert "401" in check.detail
    assert "a-secret-key" not in check.detail


def test_the_sandbox_level_is_that_of_a_host_that_was_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "reached by a host that was started" in CHECKS["sandbox"](about(tmp_path)).detail
    monkeypatch.setattr(sandbox, "_TRIVIAL", "class Other: ...")
    check = CHECKS["sandbox"](about(tmp_path))
    assert not check.ok
    assert "cannot be started" in check.detail


def test_a_python_without_torch_and_one_that_hangs_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\necho 'ModuleNotFoundError: No module named torch' >&2\nexit 1\n")
    (tmp_path / "slow").write_text("#!/bin/sh\nexec sleep 60\n")
    for name in ("python", "slow"):
        (tmp_path / name).chmod(0o755)
    assert probe_torch(str(tmp_path / "python")) == Torch(error="ModuleNotFoundError: No module named torch")
    assert "took more than" in probe_torch(str(tmp_path / "slow"), timeout=0.2).error
    assert "cannot be run" in probe_torch(str(tmp_path / "none")).error


def test_the_probe_of_torch_is_given_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nenv > {tmp_path}/environment\necho \'{{"version": "1"}}\'\n')
    script.chmod(0o755)
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret-key")
    assert probe_torch(str(script)) == Torch(version="1")
    assert "a-secret-key" not in (tmp_path / "environment").read_text()
    assert os.environ["OPENAI_API_KEY"] == "a-secret-key"


def test_what_python_is_told_of_its_streams_does_not_garble_the_answer_of_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "utf-16")
    assert probe_torch().version
