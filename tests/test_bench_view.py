"""`bilevel bench --view` measures the real application; what it measures is never tested, only that it can."""

import json
import math
from pathlib import Path

import pytest

from engine.errors import InputError
from tui.bench_screen import Terminal
from tui.cli import main


@pytest.mark.long
def test_the_short_form_gives_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--view", "--quick", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    asked = {figure["name"].partition(",")[0]: figure["goal"] for figure in told if figure["goal"] is not None}
    assert list(asked.values()) == [400.0, 30.0, 100.0, 2.0, 2.0, 150.0, 50.0, 0.2], asked
    assert all(math.isfinite(figure["value"]) and figure["value"] >= 0 for figure in told)
    assert {figure["unit"] for figure in told} == {"ms", "KiB/s", "%", "MB"}


def test_an_application_that_ends_is_no_measurement(tmp_path: Path) -> None:
    with Terminal(tmp_path, "attach", "last") as terminal, pytest.raises(TimeoutError, match="has ended"):
        terminal.wait_for("Trials")


def test_the_short_form_belongs_to_the_view(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--quick"]) == InputError.exit_code
    assert "--quick belongs to --view" in capsys.readouterr().err
