"""What sandbox this machine gives a mechanism: a real host is started, and every layer of it tried.

For the checks of a machine, and for what a session says at its start. The level of a mechanism that runs is its own
host's (see client.Hello).
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

from engine.mechanism.cage import Finding
from engine.mechanism.client import MechanismHost

_TRIVIAL = """
class Mechanism:
    name = "probe"
    purpose = "shows what a host is kept in"
    source = "own"

    def suggest(self, view):
        return None
"""


class Sandbox(NamedTuple):
    """The level reached, and a finding for each layer: what was tried, or why it is missing and what would give it."""

    level: str
    findings: tuple[Finding, ...]


async def probe_sandbox() -> Sandbox:
    """Start a host, have it try its layers, end it; some 100 ms. Raises MechanismError when none can be started."""
    space: dict[str, object] = {"parameters": {}, "constraints": [], "constants": {}}
    with tempfile.TemporaryDirectory() as folder:
        host = MechanismHost(_TRIVIAL, session="probe", space=space, direction="minimize", folder=Path(folder))
        try:
            hello = await host.start()
        finally:
            await host.close()
    return Sandbox(hello.level, hello.findings)
