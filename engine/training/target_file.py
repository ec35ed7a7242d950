"""Reading target.toml: tables that know their path, so that every complaint says where and what is allowed.

Syntax errors carry line and column, errors of meaning the key's path. A key that nobody asks for is an error that names
the nearest known one. This module knows TOML and types; what the keys mean is target.py's.
"""

import difflib
import re
import tokenize
import tomllib
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn, TypeGuard

from engine.errors import InputError
from engine.search.parameters import Scalar, Value
from engine.search.script import ScriptError

TARGET_FILE = "target.toml"
_PLAIN_PATH = re.compile(r"""[^\x00-\x1f\x7f"'\\]+""")
_NAMES = {str: "a text", bool: "true or false", int: "an integer", float: "a number", list: "a list", dict: "a table"}


class Table:
    """One table of the file. Each `take_*` marks a key as known; `close` complains about the keys that are left.

    Raises InputError with the key's path for a missing key or a wrong type. A default of None means: may be absent.
    """

    def __init__(self, data: dict[str, Any], path: str = "", file: str = TARGET_FILE) -> None:
        self.data, self.path, self.file = data, path, file
        self._known: list[str] = []
        self._origin: dict[str, str] = {}

    def overlaid(self, other: "Table") -> "Table":
        """This table with the keys of `other` in place of its own; a complaint names the table that the key is from."""
        merged = Table({**self.data, **other.data}, self.path, self.file)
        merged._origin = dict.fromkeys(other.data, other.path)
        return merged

    def where(self, key: str) -> str:
        """The path of a key, as a person would write it."""
        shown = key if re.fullmatch(r"[\w-]+", key) else f'"{key}"'
        path = self._origin.get(key, self.path)
        return f"{path}.{shown}" if path else shown

    def fail(self, key: str, sentence: str) -> NoReturn:
        """Raises InputError: the file, the key's path, and `sentence`, which goes on from there."""
        raise InputError(f"{self.file}: {self.where(key)} {sentence}")

    def __contains__(self, key: str) -> bool:
        return key in self.data

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def _take(self, key: str, kind: type, required: bool) -> Any:
        self._known.append(key)
        if key not in self.data:
            if required:
                self.fail(key, f"is missing: give {_NAMES[kind]}")
            return None
        value = self.data[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            self.fail(key, f"is {_NAMES[kind]}, not {show(value)}")
        return value

    def text(self, key: str) -> str:
        """A text that is not empty."""
        return self.optional_text(key, required=True) or ""

    def optional_text(self, key: str, required: bool = False) -> str | None:
        """A text that is not empty, or None where the key is absent."""
        value: str | None = self._take(key, str, required)
        if value == "":
            self.fail(key, "is empty: give a text" + ("" if required else " or leave the key out"))
        return value

    def texts(self, key: str, required: bool = True) -> list[str]:
        """A list of texts, none of them empty."""
        items: list[Any] = self._take(key, list, required) or []
        for item in items:
            if not isinstance(item, str) or not item:
                self.fail(key, f"is a list of texts, and {show(item)} is none")
        return items

    def number(self, key: str, default: float | None = None) -> float | None:
        """A finite number above 0, or the default where the key is absent."""
        value: float | None = self._take(key, float, False)
        if value is None:
            return default
        if not 0 < value < float("inf"):
            self.fail(key, f"is {show(self.data[key])}: give a number above 0")
        return value

    def flag(self, key: str, default: bool = False) -> bool:
        """true or false."""
        value: bool | None = self._take(key, bool, False)
        return default if value is None else value

    def value(self, key: str) -> Value:
        """A value that a constant may have: true or false, a finite number, a text, a list of these."""
        self._known.append(key)
        value = as_value(self.data[key])
        if value is None:
            self.fail(key, f"is {show(self.data[key])}: give a number, a text, true, false or a list of these")
        return value

    def raw(self, key: str) -> Any:
        """Whatever stands there, None where the key is absent; for the caller to check."""
        self._known.append(key)
        return self.data.get(key)

    def table(self, key: str, required: bool = False) -> "Table":
        """A table inside this one; an empty one where it is absent and not required."""
        return Table(self._take(key, dict, required) or {}, self.where(key), self.file)

    def tables(self, key: str) -> "list[Table]":
        """A list of tables, written [[key]]."""
        found = []
        for number, item in enumerate(self._take(key, list, False) or []):
            place = f"{self.where(key)}[{number}]"
            if not isinstance(item, dict):
                raise InputError(f"{self.file}: {place} is a table, not {show(item)}: write it as [[{key}]]")
            found.append(Table(item, place, self.file))
        return found

    def close(self) -> None:
        """Raises InputError when a key is there that nobody asked for."""
        for key in self.data:
            if key not in self._known:
                self.fail(key, f"is not known: {nearest(key, self._known)}")


def read_target_file(directory: Path) -> Table:
    """The target.toml of a directory as a table. Raises InputError when it cannot be read or is no TOML."""
    path = directory / TARGET_FILE
    try:
        return Table(tomllib.loads(path.read_bytes().decode().replace("\r\n", "\n")))
    except FileNotFoundError:
        raise InputError(
            f"there is no {path}: name a directory that holds one, or write it with `bilevel init`"
        ) from None
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    except RecursionError:
        raise InputError(f"{TARGET_FILE} is nested too deeply to be read: flatten its lists and tables") from None
    except tomllib.TOMLDecodeError as error:
        found = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), re.DOTALL)
        place, what = (f":{found[2]}:{found[3]}", found[1]) if found else ("", str(error))
        raise InputError(f"{TARGET_FILE}{place}: {what[:1].lower()}{what[1:]}") from None


def read_source(root: Path, file: str) -> str:
    """A script's text with its line ends and byte order mark as they are. Raises InputError unless it is UTF-8."""
    try:
        data = (root / file).read_bytes()
        encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
        if encoding not in ("utf-8", "utf-8-sig"):
            raise InputError(f"{file} declares the encoding {encoding}: save it as UTF-8")
        return data.decode()
    except OSError as error:
        raise InputError(f"{root / file} cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, SyntaxError):
        raise InputError(f"{file} is not UTF-8: save it as UTF-8") from None


def inside(root: Path, file: str) -> str | None:
    """None when `file` names a file inside `root`, else what is wrong with it."""
    path = PurePosixPath(file)
    if not _PLAIN_PATH.fullmatch(file) or path.is_absolute() or ".." in path.parts or str(path) != file:
        return "is no plain path relative to the target's directory"
    if not (root / file).is_file():
        return f"is no file in {root}"
    if not (root / file).resolve().is_relative_to(root.resolve()):
        return "leads out of the target's directory"
    return None


def blame(file: str, error: ScriptError) -> InputError:
    """The error of a script as one sentence that begins with file and line."""
    return InputError(f"{file}:{error.line}: {error}" if error.line else f"{file}: {error}")


def as_value(raw: object) -> Value | None:
    """`raw` when it is a value that a constant may have, else None (dates, tables, nested lists, infinity)."""
    if isinstance(raw, list):
        items = [item for item in raw if _is_scalar(item)]
        return items if len(items) == len(raw) else None
    return raw if _is_scalar(raw) else None


def _is_scalar(raw: object) -> TypeGuard[Scalar]:
    return isinstance(raw, bool | str) or (isinstance(raw, int | float) and abs(raw) < float("inf"))


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known: the nearest known one, and what there is."""
    names = sorted(set(known))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}{'there are ' + ', '.join(names) if names else 'nothing may stand here'}"


def show(value: object) -> str:
    """A value of the file as a person wrote it, shortened."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
