"""Errors that end in one sentence for a person.

    BilevelError            something failed; the sentence says what (exit code 1)
    └─ InputError           a person's input, file or setting is wrong; the sentence says what, where, what to do (exit
    code 2)

Packages derive their own from these; what is neither is a defect of the software and shows as a traceback.
"""


class BilevelError(Exception):
    """A failure that the program can name. Its text is one sentence for the person; `exit_code` is the process's."""

    exit_code = 1


class InputError(BilevelError):
    """Wrong input: nothing was changed, and the sentence says what to correct."""

    exit_code = 2
