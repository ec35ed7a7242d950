"""The mechanism host: `python -s -P -S host.py DESCRIPTOR`, alone in its process, holds one mechanism, answers calls.

It confines itself (see cage) before it is sent the source, and tells which layers hold. It answers each frame of the
engine with exactly one (see protocol). Whatever the mechanism raises, `SystemExit` included, comes back as an error
with the mechanism's own lines. Deadlines, and what a dead or lying host leads to, are the engine's part (see client).

Only `observe` changes the mechanism: every other hook is called on a copy of it, so that its state follows from the
trials alone and a host that was started again and replayed decides the same.

Standard library and engine.search alone; numpy is the only other package that the mechanism can import. What takes long
to import is left out, importlib.abc for one: a session waits for a host to start.
"""

import copy
import importlib.machinery
import importlib.util
import os
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parents[2])
sys.path.append(ROOT)

from engine.mechanism import cage, protocol  # noqa: E402
from engine.mechanism.contract import HOOKS  # noqa: E402
from engine.mechanism.view import Memory, Record, View, plain  # noqa: E402
from engine.search.parameters import space_from_json  # noqa: E402

FILE = "<mechanism>"
LONGEST_MESSAGE = 1000
TRACE_LINES = 6


class Stream:
    """The descriptor to the engine, read and written in whole frames. Raises EOFError once the engine is gone."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self) -> Any:
        """The engine's next frame."""
        (size,) = protocol.HEADER.unpack(self._exactly(protocol.HEADER.size))
        return protocol.decode(self._exactly(size))

    def write(self, frame: bytes) -> None:
        """Send a whole frame."""
        rest = memoryview(frame)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def _exactly(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = os.read(self._descriptor, min(size - len(parts), 2**16))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)


class NumpyOnly:
    """Finds numpy in the engine's site-packages, a folder that may not be listed, and nothing else that lies there."""

    def __init__(self, folder: str) -> None:
        self._package = Path(folder, "numpy")

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The spec of numpy; its submodules are found through its own path."""
        if name != "numpy":
            return None
        start = self._package / "__init__.py"
        return importlib.util.spec_from_file_location(name, start, submodule_search_locations=[str(self._package)])


class Host:
    """One mechanism with what it has been told."""

    def __init__(self) -> None:
        self._mechanism: Any = None
        self._memory: Memory | None = None
        self._lines: list[str] = []

    def answer(self, frame: dict[str, Any]) -> dict[str, Any]:
        """What a frame asks for, as {"ok": value} or {"error": {kind, type, message, trace}}."""
        operations: dict[str, Callable[[dict[str, Any]], Any]] = {
            "load": self._load,
            "observe": self._observe,
            "call": self._call,
        }
        operation = str(frame["op"])
        try:
            return {"ok": plain(operations[operation](frame))}
        except BaseException as error:  # generated code may raise anything, and must not end the host by it
            kind = "load" if operation == "load" else "exception"
            return {"error": describe(kind, error, self._lines)}

    def _load(self, frame: dict[str, Any]) -> dict[str, Any]:
        source = frame["source"]
        self._lines = source.split("\n")
        space = space_from_json(frame["space"])
        self._memory = Memory(space, frame["direction"], frame["session"], frame["source_hash"])
        module = types.ModuleType("mechanism")
        sys.modules["mechanism"] = module
        exec(compile(source, FILE, "exec"), module.__dict__)
        self._mechanism = module.__dict__["Mechanism"]()
        hooks = [name for name in HOOKS if callable(getattr(self._mechanism, name, None))]
        texts = {key: str(getattr(self._mechanism, key)) for key in ("name", "purpose", "source")}
        return {**texts, "hooks": hooks}

    def _observe(self, frame: dict[str, Any]) -> None:
        assert self._memory is not None
        trial = self._memory.add(frame["trial"], frame["incumbent"])
        hook = getattr(self._mechanism, "observe", None)
        if hook is not None:
            hook(View(self._memory, self._memory.state(), self._memory.seed(trial.number, "observe", 0)), trial)

    def _call(self, frame: dict[str, Any]) -> Any:
        assert self._memory is not None
        name = frame["hook"]
        seed = self._memory.seed(frame["trial"], name, frame["attempt"])
        view = View(self._memory, frame["state"], seed)
        arguments = [_argument(key, frame["args"][key]) for key in HOOKS[name].arguments]
        return getattr(self._copy(), name)(view, *arguments)

    def _copy(self) -> Any:
        try:
            return copy.deepcopy(self._mechanism)
        except Exception as error:
            raise TypeError(f"what it keeps in self cannot be copied; keep plain data there ({error})") from None


def _argument(key: str, value: Any) -> Any:
    if isinstance(value, list):
        return [Record(key.removesuffix("s"), item) for item in value]
    return Record(key, value)


def describe(kind: str, error: BaseException, lines: Sequence[str] = ()) -> dict[str, str]:
    """An error as the engine is told it; `lines` are the mechanism's source, for the trace of its own frames."""
    try:
        message = str(error)
    except BaseException as worse:
        message = f"(its text raised {type(worse).__name__})"
    trace = []
    at = error.__traceback__
    while at is not None:
        if at.tb_frame.f_code.co_filename == FILE:
            text = lines[at.tb_lineno - 1].strip() if at.tb_lineno <= len(lines) else ""
            trace.append(f"line {at.tb_lineno}, in {at.tb_frame.f_code.co_name}: {text}")
        at = at.tb_next
    return {
        "kind": kind,
        "type": _sayable(type(error).__name__),
        "message": _sayable(message),
        "trace": _sayable("\n".join(trace[-TRACE_LINES:])),
    }


def _sayable(text: str) -> str:
    return text[:LONGEST_MESSAGE].encode("utf-8", "replace").decode()


def frame_of(call: str, reply: dict[str, Any]) -> bytes:
    """The reply as a frame; an answer that no frame may carry becomes an error that says so."""
    try:
        return protocol.encode({"id": call, **reply}, protocol.TO_ENGINE_LIMIT)
    except (protocol.FrameError, ValueError, RecursionError) as error:
        problem = describe("answer", error)
        return protocol.encode({"id": call, "error": problem}, protocol.TO_ENGINE_LIMIT)


def prepare(setup: dict[str, Any]) -> list[cage.Finding]:
    """Bring numpy within reach, take the project out of it, and put on the cage."""
    os.nice(setup["nice"])
    if setup["numpy"] is not None:
        sys.meta_path.append(NumpyOnly(setup["numpy"]))
        if setup["preload"]:
            import numpy
            import numpy.random  # noqa: F401
    sys.path.remove(ROOT)
    for name in [name for name in sys.modules if name.partition(".")[0] == "engine"]:
        del sys.modules[name]
    return cage.confine(setup["cage"])


def main(descriptor: int) -> None:
    """Serve the engine until it closes the other end."""
    os.set_inheritable(descriptor, False)
    stream = Stream(descriptor)
    setup = stream.read()
    stream.write(frame_of(setup["id"], {"ok": prepare(setup)}))
    host = Host()
    while True:
        try:
            frame = stream.read()
        except EOFError:
            return
        stream.write(frame_of(frame["id"], host.answer(frame)))


if __name__ == "__main__":
    main(int(sys.argv[1]))
