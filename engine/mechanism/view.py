"""What a mechanism sees: the search as plain, read-only records, built inside the host from what the engine told.

The engine sends each completed trial once; `Memory` keeps them, and a `View` is one moment of it. Read-only keeps
honest code honest (an assignment raises and says so); the engine's own state lies in another process, out of reach.
Standard library and engine.search alone; numpy is imported at the first use of `view.rng`.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from engine.mechanism.contract import ViewState
from engine.search.parameters import Parameter, Space, config_key


class FrozenDict(dict[str, Any]):
    """A dict that cannot be changed; `dict(it)` gives one that can."""

    def _refuse(self, *args: object, **kwargs: object) -> NoReturn:
        raise TypeError("the view is read-only; take dict(...) of it")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __deepcopy__(self, memo: object) -> "FrozenDict":
        return self


class Record:
    """Named values, read as `record.field` or `record["field"]`, that cannot be changed."""

    __slots__ = ("_fields", "_noun")
    _fields: Mapping[str, Any]
    _noun: str

    def __init__(self, noun: str, fields: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_noun", noun)
        object.__setattr__(self, "_fields", {key: freeze(value) for key, value in fields.items()})

    def __getattr__(self, name: str) -> Any:
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(f"a {self._noun} has no '{name}'; it has {', '.join(self._fields)}") from None

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"the view is read-only: '{name}' of a {self._noun} cannot be set")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"the view is read-only: '{name}' of a {self._noun} cannot be deleted")

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The field, or `default` where there is none."""
        return self._fields.get(name, default)

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def keys(self) -> list[str]:
        """The names of the fields, so that `dict(record)` works."""
        return list(self._fields)

    def __repr__(self) -> str:
        return f"<{self._noun} {dict(self._fields)!r}>"

    def __deepcopy__(self, memo: object) -> "Record":
        return self


def freeze(value: Any) -> Any:
    """The value with dicts as FrozenDict and lists as tuples, all the way down."""
    if isinstance(value, Record | FrozenDict):
        return value
    if isinstance(value, Mapping):
        return FrozenDict({key: freeze(item) for key, item in value.items()})
    if isinstance(value, list | tuple):
        return tuple(freeze(item) for item in value)
    return value


_OWN = (type(None), bool, int, float, str)


def plain(value: Any) -> Any:
    """The value as JSON data: records and mappings as dicts, tuples as lists, numpy scalars and arrays as Python's own.

    What has no such form is returned as it is, for the frame's check to name.
    """
    if type(value) in _OWN:  # exactly: numpy's own text is a `str` as well, and reads otherwise
        return value
    if isinstance(value, Mapping | Record):
        return {str(key): plain(value[key]) for key in value}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return value.tolist()
    return value


class Memory:
    """The trials so far with their standings, and the incumbent as of the last one."""

    def __init__(self, space: Space, direction: str, session: str, source_hash: str) -> None:
        self.space = space
        self.direction = direction
        self.trials: dict[int, Record] = {}
        self.incumbent: int | None = None
        self.best: Record | None = None
        self._runs: dict[str, list[float]] = {}
        self._identity = f"{session}\n{source_hash}"

    def add(self, trial: Mapping[str, Any], incumbent: int | None) -> Record:
        """Keep a completed trial, and the number of the incumbent that it left."""
        record = Record("trial", trial)
        self.trials[record.number] = record
        self.incumbent = incumbent
        metric = record.metric
        if metric is not None:
            runs = record.get("runs") or (metric,)
            self._runs.setdefault(config_key(plain(record.config)), []).extend(runs)
            if self.best is None or (
                metric < self.best.metric if self.direction == "minimize" else metric > self.best.metric
            ):
                self.best = record
        return record

    def state(self) -> ViewState:
        """The state that follows from the trials alone: what `observe` sees, the same at every replay."""
        return ViewState(
            incumbent=self.incumbent,
            frozen={},
            noise=None,
            trials_left=None,
            strategy="",
            guidance="",
            refused=[],
            others=[],
        )

    def config(self, number: int | None) -> dict[str, Any]:
        """A trial's configuration; the baseline's for None. Raises ValueError for a trial that does not exist."""
        if number is None:
            return dict(self.space.initial)
        if number not in self.trials:
            raise ValueError(f"there is no completed trial {number!r}")
        return dict(plain(self.trials[number].config))

    def standing(self, config: Mapping[str, Any]) -> tuple[float | None, int]:
        """Mean over the valid runs of a configuration, and their number."""
        runs = self._runs.get(config_key(plain(config)), [])
        return (sum(runs) / len(runs), len(runs)) if runs else (None, 0)

    def seed(self, *moment: object) -> int:
        """The seed of `view.rng` at a moment: (trial, hook, attempt) of this session and source."""
        text = "\n".join((self._identity, *map(str, moment)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big")


class View(Record):
    """One moment of the search as a hook sees it; the fields are those of contract.INTERFACE."""

    __slots__ = ("_config", "_memory", "_person", "_rng", "_seed")
    _memory: Memory
    _config: dict[str, Any]
    _person: frozenset[str]
    _seed: int

    def __init__(self, memory: Memory, state: ViewState, seed: int) -> None:
        config = memory.config(state["incumbent"])
        frozen = state["frozen"]
        parameters = memory.space.parameters
        super().__init__(
            "view",
            {
                "parameters": {
                    n: _parameter(p, config.get(n, p.value), frozen.get(n, "")) for n, p in parameters.items()
                },
                "constraints": [constraint.expr for constraint in memory.space.constraints],
                "trials": list(memory.trials.values()),
                "incumbent": None if state["incumbent"] is None else memory.trials[state["incumbent"]],
                "best": memory.best,
                "direction": memory.direction,
                "noise": state["noise"],
                "trials_left": state["trials_left"],
                "strategy": state["strategy"],
                "guidance": state["guidance"],
                "refused": [Record("refusal", item) for item in state["refused"]],
                "others": [Record("mechanism", item) for item in state["others"]],
            },
        )
        object.__setattr__(self, "_memory", memory)
        object.__setattr__(self, "_config", config)
        object.__setattr__(self, "_person", frozenset(name for name, who in frozen.items() if who == "person"))
        object.__setattr__(self, "_seed", seed)

    @property
    def rng(self) -> Any:
        """A numpy.random.Generator seeded from (session, source hash, trial, hook, attempt), one for the whole call."""
        try:
            return object.__getattribute__(self, "_rng")
        except AttributeError:
            import numpy as np

            generator = np.random.default_rng(self._seed)
            object.__setattr__(self, "_rng", generator)
            return generator

    def check(self, changes: Mapping[str, Any], base: int | None = None) -> str | None:
        """None when the changes may be tried, else the reason; `base`: a trial number, None for the incumbent."""
        if not isinstance(changes, Mapping):
            return f"changes is a dict {{NAME: value}}, not a {type(changes).__name__}"
        try:
            config = self._config if base is None else self._memory.config(base)
        except ValueError as error:
            return str(error)
        return self._memory.space.check(plain(changes), config, self._person)

    def standing(self, config: Mapping[str, Any]) -> tuple[float | None, int]:
        """Mean and number of the valid runs of a whole configuration; (None, 0) if it never ran."""
        return self._memory.standing(config)


def _parameter(parameter: Parameter, value: Any, frozen: str) -> Record:
    return Record(
        "parameter",
        {
            "name": parameter.name,
            "kind": parameter.kind,
            "value": value,
            "low": parameter.low,
            "high": parameter.high,
            "choices": parameter.choices,
            "log": parameter.log,
            "locked": parameter.locked,
            "frozen": frozen,
            "meaning": parameter.meaning,
        },
    )
