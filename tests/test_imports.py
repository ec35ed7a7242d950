"""What is not imported: the engine never loads torch or the terminal, and looking at a session starts quickly."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "textual", "rich", "openai", "pyarrow", "tokenizers", "sklearn", "scipy", "threadpoolctl")

ENGINE = "import engine.__main__, engine.session.startup"
COMMANDS = "import tui.cli"
HELP = """
import contextlib, io
from tui import cli
for name in cli.COMMANDS:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert cli.main([name, "--help"]) == 0, name
    assert f"bilevel {name}" in out.getvalue(), name
"""
APPLICATION = """
import importlib, pkgutil, tui
for module in pkgutil.walk_packages(tui.__path__, "tui."):
    importlib.import_module(module.name)
"""


def loaded(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after this code."""
    code += "\nimport json, sys; print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_the_engine_loads_neither_torch_nor_the_terminal_nor_openai_nor_scikit_learn() -> None:
    assert loaded(ENGINE).isdisjoint(HEAVY)


@pytest.mark.parametrize("code", [COMMANDS, HELP], ids=["the command line", "the help of each command"])
def test_the_command_line_loads_nothing_heavy(code: str) -> None:
    assert loaded(code).isdisjoint({*HEAVY, "numpy", "asyncio"})


def test_the_application_loads_neither_torch_nor_a_client_of_a_model() -> None:
    assert loaded(APPLICATION).isdisjoint({*HEAVY, "numpy", "aiosqlite"} - {"textual", "rich"})


@pytest.mark.parametrize("module", ["engine/training/supervisor.py", "engine/mechanism/host.py"])
def test_what_runs_alone_needs_the_standard_library_alone(module: str) -> None:
    """`python -I -S` sees no installed package, and `engine` itself is none either there."""
    code = f"import runpy, sys; sys.argv[0] = {module!r}; runpy.run_path({str(ROOT / module)!r}, run_name='looked_at')"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_imports_run_one_way() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    done = subprocess.run([*command, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout
