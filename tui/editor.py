"""A file in the person's editor, run as git runs it: by the shell, so that EDITOR may be any line of one."""

import subprocess

from engine.errors import InputError

NO_EXECUTABLE, NO_PROGRAM = 126, 127
"""What a shell ends with where it finds no program to run."""


def edited(editor: str, path: str) -> int:
    """Run the editor on the file, and wait; its exit code. Raises InputError telling why it cannot be run."""
    line = f'{editor} "$@"'
    try:
        told = subprocess.run(["sh", "-n", "-c", line, "sh"], capture_output=True, errors="replace")
        code = told.returncode or subprocess.run(["sh", "-c", line, editor, path]).returncode
    except (OSError, ValueError) as error:  # a zero byte, or no shell
        raise InputError(str(error)) from None
    if told.returncode:
        raise InputError("it is no line that a shell understands")
    if code == NO_PROGRAM:
        raise InputError("the shell finds no such program")
    if code == NO_EXECUTABLE:
        raise InputError("it is no program, or you may not execute it")
    return code
