"""How a mechanism can fail, as its host process (see client) tells it.

    MechanismError            every failure of a mechanism; `kind` is for the record, `detail` for the repair
    ├─ LoadFailed             "load": the source cannot be loaded, or is not what the contract asks for
    ├─ HookFailed             "exception": a hook raised
    ├─ WrongAnswer            "answer": a hook answered what the contract does not allow
    ├─ DeadlineExceeded       "deadline": no answer in time; the host was killed
    ├─ HostDied               "died": the process ended twice in one call, or could not be started
    ├─ Violation              "violation": it broke the protocol or flooded its output; the host was killed
    └─ SandboxTooWeak         "sandbox": the level that was asked for is not reached; the source was not loaded

Members records each as an event, and takes out a mechanism that fails three times in a row.
"""

from engine.errors import BilevelError


class MechanismError(BilevelError):
    """A mechanism failed. `detail`: its own lines of the traceback or the last of its output, for the repair."""

    kind = "failed"

    def __init__(self, text: str, detail: str = "") -> None:
        super().__init__(text)
        self.detail = detail


class LoadFailed(MechanismError):
    kind = "load"


class HookFailed(MechanismError):
    kind = "exception"


class WrongAnswer(MechanismError):
    kind = "answer"


class DeadlineExceeded(MechanismError):
    kind = "deadline"


class HostDied(MechanismError):
    kind = "died"


class Violation(MechanismError):
    kind = "violation"


class SandboxTooWeak(MechanismError):
    kind = "sandbox"
