"""Guesses for a first target.toml: kind and range of a constant from its name and value, the metric from prints.

The factor of a range is 8 up and down, on a logarithmic scale where the value is above 0. Whatever cannot be guessed is
locked, with a line that says how to open it.
"""

import ast
import json
import re

from engine.search.parameters import LARGEST_INTEGER, Scalar, Value
from engine.search.script import Constant
from engine.training.target_space import guess_kind

LOCKED = ("DEPTH", "ASPECT_RATIO")
DEFAULT_METRIC = "val_bpb"
FACTOR = 8
_FRACTION = re.compile(r"(^|_)(RATIO|FRAC|FRACTION|DROPOUT|PROB|PROBABILITY)($|_)")
_DECAY = re.compile(r"(^|_)(BETAS?\d?|MOMENTUM|EMA)($|_)")
_NO_CHOICE = re.compile(r"(^|_)(SEED|PEAK|FLOPS|VERSION|EVAL|LOG|EXCLUDE|CHECKPOINT|SAVE|TIMEOUT)($|_)")
_PRINTED = re.compile(r"\n*([A-Za-z_]\w*):\s")
_LOSS = re.compile(r"bpb|loss|perplexity|ppl|error|nll|bits", re.IGNORECASE)
_SCORE = re.compile(r"acc|score|reward|auc|(^|_)f1", re.IGNORECASE)
_VALIDATION = re.compile(r"val|test|eval|dev", re.IGNORECASE)


def parameter_table(constant: Constant) -> str:
    """The [parameters.NAME] table of a constant, as the lines of a target.toml."""
    comment = printable(constant.comment)
    lines = [f"[parameters.{constant.name}]" + (f"  # {comment}" if comment else "")]
    kind = guess_kind(constant.value)
    lines.append(f'kind = "{kind}"')
    if constant.name in LOCKED and kind in ("int", "float"):
        lines.append("locked = true  # the size of the model: take this out, and give low and high, to search it")
    elif _NO_CHOICE.search(constant.name):
        lines += [f"choices = [{toml(constant.value)}]"] * (kind == "choice")
        lines.append("locked = true  # by its name no choice about training")
    elif isinstance(constant.value, bool):
        lines.append("choices = [true, false]")
    elif kind == "choice":
        lines.append(f"choices = [{toml(constant.value)}]")
        lines.append("locked = true  # list the values that the script understands, then take this line out")
    else:
        lines += _range(constant.name, constant.value)
    return "\n".join(lines)


def _range(name: str, value: Value) -> list[str]:
    if isinstance(value, list):
        pairs = [_bounds(name, item) for item in value]
        return [f"low = {toml([low for low, _ in pairs])}", f"high = {toml([high for _, high in pairs])}"]
    low, high = _bounds(name, value)
    wide = low > 0 and low * FACTOR <= high
    return [f"low = {toml(low)}", f"high = {toml(high)}"] + ["log = true  # steps are factors"] * wide


def _bounds(name: str, value: Scalar) -> tuple[float, float]:
    """Low and high for a number; integers for an integer."""
    assert isinstance(value, int | float)
    if isinstance(value, int):
        least, most = max(abs(value) // FACTOR, 1), min(abs(value) * FACTOR, LARGEST_INTEGER)
        return (0, FACTOR) if value == 0 else (least, most) if value > 0 else (-most, -least)
    if value == 0 or (_FRACTION.search(name) and 0 <= value <= 1):
        return 0.0, 1.0
    if _DECAY.search(name) and 0.5 <= value < 1:  # what counts is its distance from 1
        return _round(max(0.0, 1 - (1 - value) * FACTOR)), _round(1 - (1 - value) / FACTOR)
    small, large = _round(abs(value) / FACTOR), _round(abs(value) * FACTOR)
    return (small, large) if value > 0 else (-large, -small)


def _round(number: float) -> float:
    return float(f"{number:.6g}")


def find_metric(source: str) -> tuple[str, str]:
    """The metric that a script prints as `name: value`, and its direction.

    val_bpb where it occurs, else a validation loss, else what is named like a validation value, a loss, a score.
    """
    names = list(dict.fromkeys(_printed_names(source)))
    if not names or re.search(rf"\b{DEFAULT_METRIC}\b", source):
        return DEFAULT_METRIC, "minimize"
    ranks = [(bool(_VALIDATION.search(name)) * 2 + bool(_LOSS.search(name) or _SCORE.search(name))) for name in names]
    name = names[ranks.index(max(ranks))]
    return name, "maximize" if _SCORE.search(name) and not _LOSS.search(name) else "minimize"


def _printed_names(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source.removeprefix("\ufeff"))):
        match node:
            case ast.Call(
                func=ast.Name(id="print"), args=[ast.JoinedStr(values=[ast.Constant(value=str(text)), *_]), *_]
            ):
                found.append(_PRINTED.match(text))
            case ast.Call(func=ast.Name(id="print"), args=[ast.Constant(value=str(text)), *_]):
                found.append(_PRINTED.match(text + " "))
    return [match[1] for match in found if match]


def toml(value: Value) -> str:
    """A value as TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, bool | str) else repr(value)


def printable(text: str) -> str:
    """A text on one line, for a comment."""
    return "".join(character if character.isprintable() else " " for character in text)
