"""The wheel holds what the program needs at run time, and runs from where it is installed."""

import importlib.util
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from fast_sessions import write_target

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built anew."""
    folder = tmp_path_factory.mktemp("wheel")
    if importlib.util.find_spec("hatchling"):
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    else:
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 and "hatchling" in done.stdout + done.stderr:
        pytest.skip("hatchling is neither installed nor to be had, so no wheel can be built")
    assert done.returncode == 0, done.stderr
    return next(folder.glob("bilevel-*.whl"))


def test_the_wheel_holds_code_target_mechanisms_and_prompts_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = [
        *(ROOT / "engine").rglob("*.py"),
        *(ROOT / "tui").rglob("*.py"),
        *(ROOT / "mechanisms").glob("*.py"),
        *(ROOT / "engine/model/prompts").glob("*.md"),
        *(ROOT / "baseline" / name for name in ("target.toml", "train.py", "prepare.py")),
    ]
    assert {str(path.relative_to(ROOT)) for path in wanted} <= names
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "engine",
        "tui",
        "mechanisms",
        "baseline",
    }
    assert not [name for name in names if "__pycache__" in name or name.endswith((".pyc", ".db", ".log", ".npy"))]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` of a fresh environment with the wheel in it; what it depends on is this environment's."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder), "platbase": str(folder)}))
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    python = folder / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*command, "--ignore-installed", str(wheel)], check=True)
    return folder / "bin"


def run(installed: Path, where: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    program = str(installed / command[0])
    return subprocess.run([program, *command[1:]], cwd=where, env=environ, capture_output=True, text=True, timeout=120)


def test_what_is_installed_is_what_runs(installed: Path, tmp_path: Path) -> None:
    code = "import baseline, engine, mechanisms, tui; print(*(m.__file__ for m in (baseline, engine, mechanisms, tui)))"
    done = run(installed, tmp_path, "python", "-c", code)
    assert done.returncode == 0, done.stderr
    assert all(path.startswith(str(installed.parent)) for path in done.stdout.split())


def test_the_installed_program_runs_a_session_in_another_directory(installed: Path, tmp_path: Path) -> None:
    assert run(installed, tmp_path, "bilevel", "--version").stdout == "bilevel 0.1.0\n"
    nothing = run(installed, tmp_path, "bilevel", "show")
    assert nothing.returncode == 2 and "bilevel run" in nothing.stderr
    target = write_target(tmp_path / "target")
    settings = ["--profile", "cpu", "--approval", "auto", "--trials", "14", "--no-confirm", "--model", "offline"]
    done = run(installed, tmp_path, "bilevel", "run", "--headless", "--target", str(target), *settings)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = run(installed, tmp_path, "bilevel", "show")
    assert shown.returncode == 0 and "finished" in shown.stdout, shown.stderr
    # Prompts and shipped mechanisms were found where they are installed.
    assert list((tmp_path / "mechanisms").glob("*/*.py"))
