"""What a session runs with: defaults, below bilevel.toml, below the environment, below flags.

bilevel.toml lies in the current directory, or where --config says. Its keys are the settings by their names; prices of
models stand in tables of their own, in money for a million tokens:

    model = "deepseek-chat"
    trials = 50

    [prices."deepseek-chat"]
    in = 0.27
    out = 1.10

Paths in it are meant from the file's directory. Errors name the file and the key. Keys of models are no settings: they
come from the environment alone, so that none is ever written down.
"""

import importlib.resources
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import msgspec

from engine.errors import InputError
from engine.record.settings import Settings

FILE = "bilevel.toml"
VARIABLES = {
    "BILEVEL_MODEL": "model",
    "BILEVEL_BASE_URL": "base_url",
    "BILEVEL_TARGET": "target",
    "BILEVEL_PROFILE": "profile",
    "BILEVEL_NOTIFY": "notify",
}
"""Environment variables that set something, and what."""
LEVELS = ("1", "1.5", "2")
_NOT_IN_FILE = ("parent",)
_AT_LEAST = {
    "trials": 1,
    "baseline_runs": 1,
    "confirm_runs": 1,
    "grace": 0,
    "hours": 0,
    "max_cost": 0,
    "max_tokens": 1,
    "seconds": 0,
    "flops": 0,
    "price_in": 0,
    "price_out": 0,
    "model_timeout": 0,
}
_MAY_BE_ZERO = ("grace", "price_in", "price_out")
MOST_TRIALS = 1_000_000
_AT_MOST = {
    "trials": MOST_TRIALS,
    "baseline_runs": 1000,
    "confirm_runs": 1000,
    "grace": 30 * 86400,
    "hours": 24 * 365,
    "max_cost": 10**9,
    "max_tokens": 10**15,
    "seconds": 30 * 86400,
    "flops": 1e30,
    "price_in": 10**9,
    "price_out": 10**9,
    "model_timeout": 86400,
    "seed": 2**63 - 1,
}
"""Far above what anybody means: a slip of the keyboard is told at once, not when something overflows."""


def packaged_target() -> Path:
    """The directory of the training target that ships with bilevel."""
    return Path(str(importlib.resources.files("baseline")))


def merge(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    config: Path | None = None,
    directory: Path | None = None,
    find: bool = True,
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """The settings of a new session. `flags`: by name, None where not given; `defaults`: in place of the built-in ones.

    `config`: a settings file; without one the directory's bilevel.toml is read if it is there (`find`). Raises
    InputError naming the file, variable or flag and the key. `target` is an absolute directory; `profile` is empty
    when nobody chose one.
    """
    directory = directory or Path.cwd()
    values: dict[str, Any] = {"target": str(packaged_target()), "profile": "", **(defaults or {})}
    sources = dict.fromkeys(values, "the defaults")
    prices: dict[str, Any] = {}
    path = config or directory / FILE
    if config is not None or (find and path.exists()):
        found = _read(path)
        prices = _prices(path, found.pop("prices", {}))
        _take(values, sources, _from_file(path, found), str(path))
    for variable, name in VARIABLES.items():
        if environ.get(variable):
            value = environ[variable]
            _take(values, sources, {name: str(directory / value) if name == "target" else value}, variable)
    given = {name: value for name, value in flags.items() if value is not None}
    if "target" in given:
        given["target"] = str(directory / Path(given["target"]).expanduser())
    for name, value in given.items():
        _take(values, sources, {name: value}, f"--{name.replace('_', '-')}")
    if values.get("model") in prices:
        for name, value in prices[values["model"]].items():
            values.setdefault(name, value)
            sources.setdefault(name, str(path))
    return _checked(values, sources)


def _take(values: dict[str, Any], sources: dict[str, str], more: Mapping[str, Any], source: str) -> None:
    for name, other in (("seconds", "flops"), ("flops", "seconds")):  # one budget: the nearer source decides
        if name in more and other not in more:
            values.pop(other, None)
    values.update(more)
    sources.update(dict.fromkeys(more, source))


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"there is no configuration at {path}: name one that exists with --config") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is no TOML: {error}") from None
    except RecursionError:
        raise InputError(f"{path} is nested too deeply to be read: a setting is a value or a list of values") from None
    except ValueError as error:  # an integer of thousands of digits
        raise InputError(f"{path} cannot be read: {str(error).partition(';')[0]}") from None


def _from_file(path: Path, found: dict[str, Any]) -> dict[str, Any]:
    known = [name for name in Settings.__struct_fields__ if name not in _NOT_IN_FILE]
    for name in found:
        if name not in known:
            _unknown(path, name, [*known, "prices"])
    if isinstance(found.get("target"), str):
        found["target"] = str(path.absolute().parent / Path(found["target"]).expanduser())
    if "levels" in found and isinstance(found["levels"], list):
        found["levels"] = [f"{level:g}" if isinstance(level, int | float) else level for level in found["levels"]]
    return found


def _prices(path: Path, tables: object) -> dict[str, dict[str, float]]:
    if not isinstance(tables, dict):
        raise InputError(f'{path}: prices is a table of tables: [prices."model-name"] with in and out')
    prices: dict[str, dict[str, float]] = {}
    for model, table in tables.items():
        if not isinstance(table, dict):
            raise InputError(f'{path}: prices.{model} is a table: [prices."{model}"] with in and out')
        for key in table:
            if key not in ("in", "out"):
                _unknown(path, f"prices.{model}.{key}", ["in", "out"])
        for key in ("in", "out"):
            value = table.get(key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise InputError(f"{path}: prices.{model}.{key} is the price of a million tokens, a number from 0 up")
        prices[model] = {"price_in": float(table["in"]), "price_out": float(table["out"])}
    return prices


def _unknown(path: Path, key: str, known: list[str]) -> NoReturn:
    close = get_close_matches(key.rpartition(".")[2], known, n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(known)}"
    raise InputError(f"{path}: there is no setting {key}{hint}")


def _checked(values: dict[str, Any], sources: dict[str, str]) -> Settings:
    """The settings, typed and in range. Raises InputError naming where a wrong value came from."""
    for name, value in values.items():
        _check_value(name, value, sources[name])
    settings = msgspec.convert(values, Settings)
    _check_levels(settings, sources)
    if settings.seconds is not None and settings.flops is not None:
        raise InputError(f"{sources['flops']}: flops stands beside seconds: a budget is one or the other")
    if settings.base_url is not None:
        _check_url(settings.base_url, sources["base_url"])
        if "model" not in values:
            raise InputError(f"{sources['base_url']}: base_url names an endpoint, but no model is named: use --model")
    return settings


def _check_value(name: str, value: Any, source: str) -> None:
    """Refuse a value of the wrong type or out of range."""
    try:
        msgspec.convert({"target": "", "profile": "", name: value}, Settings)
    except msgspec.ValidationError as error:
        reason = str(error).partition(" - at")[0].replace("`", "")
        raise InputError(f"{source}: {name}: {reason[:1].lower() + reason[1:]}") from None
    if value is None:
        return
    least, most = _AT_LEAST.get(name), _AT_MOST.get(name)
    if (least is not None and not (value > 0 or (value == 0 and name in _MAY_BE_ZERO))) or value == float("inf"):
        what = f"{least} or more" if least or name in _MAY_BE_ZERO else "above 0"
        raise InputError(f"{source}: {name} is {value}: give a number that is {what}")
    if most is not None and abs(value) > most:
        # An integer of thousands of digits cannot even be written.
        shown = f"{value:g}" if isinstance(value, float) else f"{value:,}" if abs(value) < 10**30 else "too large"
        raise InputError(f"{source}: {name} is {shown}: give a number that is at most {most:,}")


def _check_levels(settings: Settings, sources: Mapping[str, str]) -> None:
    where = sources.get("levels", "the defaults")
    for level in settings.levels:
        if level not in LEVELS:
            raise InputError(f'{where}: levels: "{level}" is none; there are {", ".join(LEVELS)}')
    if "1" not in settings.levels:
        raise InputError(f"{where}: levels: 1 is missing, and without it nothing is searched")
    for level in settings.level_models:
        if level not in LEVELS:
            raise InputError(f'{sources["level_models"]}: level_models: "{level}" is no level')


def _check_url(url: str, source: str) -> None:
    """Refuse an address that would carry a secret into the record."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise InputError(f"{source}: base_url cannot be read: give one like http://127.0.0.1:8000/v1") from None
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(f"{source}: base_url holds more than host and path: put the key in BILEVEL_API_KEY instead")
