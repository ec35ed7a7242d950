"""A mechanism host on a machine that lacks a layer, or that accepts one and does not enforce it: `WEAK` names what.

Started in place of host.py, it takes layers away from the very code of the cage, as a kernel would, and then runs it.
"""

import errno
import os
import resource
import sys
from typing import Any

sys.path.append(os.environ["WEAK_ROOT"])

from engine.mechanism import host, landlock, seccomp, syscalls


def fails(number: int) -> Any:
    def fail(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def accepts(*arguments: Any) -> int:
    return 6


def weaken(what: str) -> None:
    """Take one layer away, or have it accepted and not enforced."""
    if what == "no Landlock":
        landlock.version = fails(errno.EOPNOTSUPP)
    elif what == "Landlock not enforced":
        landlock.allow_reading = accepts
    elif what == "no seccomp":
        seccomp.install = fails(errno.EINVAL)
    elif what == "seccomp not enforced":
        seccomp.install = accepts  # type: ignore[assignment]
    elif what == "unknown processor":
        syscalls.PROCESSORS.clear()
    elif what == "limits not enforced":
        resource.setrlimit = accepts  # type: ignore[assignment]
    else:
        raise ValueError(what)


for layer in os.environ["WEAK"].split(", "):
    weaken(layer)
sys.path.remove(os.environ["WEAK_ROOT"])
host.main(int(sys.argv[1]))
