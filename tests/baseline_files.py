"""A copy of the baseline with the CPU profile and constants of one's own written into it: what its tests run."""

import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

BASELINE = Path(__file__).parent.parent / "baseline"


def target() -> dict:
    return tomllib.loads((BASELINE / "target.toml").read_text())


def set_constant(path: Path, name: str, value: object) -> None:
    """Rewrites `NAME = ...` in the file, its comment kept; fails when there is no such line."""
    source, count = re.subn(rf"^{name} = .*?(?=  #|$)", f"{name} = {value!r}", path.read_text(), flags=re.MULTILINE)
    assert count == 1, f"{path.name} has {count} lines that assign {name}"
    path.write_text(source)


def copy_baseline(folder: Path, **constants: object) -> Path:
    """The two scripts with the CPU profile; `constants` go where they are assigned. A short evaluation by default."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("train.py", "prepare.py"):
        (folder / name).write_text((BASELINE / name).read_text())
    profile = target()["profile"]["cpu"]
    for name, value in profile["initial"].items():
        set_constant(folder / "train.py", name, value)
    for name, value in {**profile["constants"], "prepare.py:EVAL_TOKENS": 8192}.items():
        file, constant = name.split(":")
        set_constant(folder / file, constant, value)
    for name, value in constants.items():
        home = "prepare.py" if f"\n{name} = " in (folder / "prepare.py").read_text() else "train.py"
        set_constant(folder / home, name, value)
    return folder


def load_module(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """`train` or `prepare` of a copy, imported afresh; `import prepare` in it finds the copy beside it."""
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "prepare", raising=False)
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module
