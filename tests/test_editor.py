"""The person's editor: any line of a shell, as for git; what cannot be run is told apart from what failed."""

from pathlib import Path

import pytest

from engine.errors import InputError
from tui.editor import edited


@pytest.mark.parametrize("editor", ["{0}", "FOO=1 {0}", '"$WHERE/editor"', "cd / && {0}", "sh -c '{0} \"$1\"' sh"])
def test_an_editor_is_a_line_of_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, editor: str) -> None:
    program, path = tmp_path / "editor", tmp_path / 'it\'s $HOME; a "file".py'
    program.write_text('#!/bin/sh\necho more >> "$1"\n')
    program.chmod(0o700)
    monkeypatch.setenv("WHERE", str(tmp_path))
    assert edited(editor.format(program), str(path)) == 0
    assert path.read_text() == "more\n"


@pytest.mark.parametrize(("editor", "code"), [("false", 1), ("exit 5;", 5), ("kill -9 $$;", -9)])
def test_an_editor_that_fails_tells_its_code(tmp_path: Path, editor: str, code: int) -> None:
    assert edited(editor, str(tmp_path / "a")) == code


@pytest.mark.parametrize(
    ("editor", "why"),
    [
        ("no-such-editor -n", "the shell finds no such program"),
        ("FOO=1 no-such-editor", "the shell finds no such program"),
        ("/", "it is no program, or you may not execute it"),
        ('vi "', "it is no line that a shell understands"),
        ("vi \0", "embedded null byte"),
    ],
)
def test_an_editor_that_cannot_be_run_tells_why(tmp_path: Path, editor: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        edited(editor, str(tmp_path / "a"))
