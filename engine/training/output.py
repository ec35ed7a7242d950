"""What a trainer printed: progress lines, the final block, the loss curve, the last lines.

The lines that are understood are those of Karpathy's train.py; scripts that print other ones lose the progress display
and the curve, nothing else:

    step 00012 (4.0%) | loss: 5.123456 | lrm: 1.00 | dt: 310ms | tok/sec: 1,690,000 | epoch: 1 | remaining: 288s
    ---
    val_bpb:          0.997900
    training_seconds: 300.1

Everything here is text that a changed script printed: it is bounded, stripped of control characters before a person
sees it, and a metric counts only when it is printed once, in its place, as a finite number. Nothing here calls a run a
crash because of what it printed; that is for the exit code. A line ends at "\\r" or "\\n" and nowhere else.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from engine.training.outcome import say_exit

LONGEST_LINE = 65_536  # bytes of a line that are kept
LONGEST_LOG = 256 << 20  # bytes of a log that are read at most; its end, which holds the final block
LONGEST_PROGRESS = 2_048  # characters of a line that are searched for fields
MOST_FIELDS = 64
SEPARATOR = "---"

_NUMBER = r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d{1,30})(?:\.\d{0,30})?(?:[eE][-+]?\d{1,4})?"
_STEP = re.compile(
    r"\s*(?:step|iter|iteration)\s*[:=]?\s*(\d{1,15})(?:\s*/\s*(\d{1,15}))?(?:\s*\(\s*(\d{1,3}(?:\.\d{1,9})?)\s*%\))?"
)
_FIELD = re.compile(rf"([A-Za-z_][\w/. -]{{0,39}})\s*[:=]\s*({_NUMBER})")
_VALUE = re.compile(rf"([A-Za-z_][\w./-]{{0,63}})\s*:\s+({_NUMBER})")
_FLOAT = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf|infinity)", re.IGNORECASE)
# Terminal sequences go as a whole, so that no "[31m" stays: CSI, strings such as titles and links, two-character ones.
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]")


@dataclass(frozen=True, slots=True)
class Progress:
    """One progress line. `fraction` is 0 to 1, `remaining` in seconds; None for what the line does not state.

    `fields` holds every finite `name: number` of the line as printed, without units.
    """

    step: int
    fraction: float | None = None
    loss: float | None = None
    tokens_per_second: float | None = None
    remaining: float | None = None
    fields: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FinalBlock:
    """What a finished run reported. `metric` is None exactly when `problem` is a sentence that says why.

    `values` holds every `name: number` after the last separator that is finite and printed once there.
    `curve` holds at most 64 points (fraction of the run 0 to 1, loss).
    """

    metric: float | None
    problem: str | None
    values: dict[str, float]
    curve: list[tuple[float, float]]


class LineSplitter:
    """Bytes in, whole lines out, however the chunks fall. Of a line longer than 64 KB the first 64 KB are kept."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def feed(self, chunk: bytes) -> list[str]:
        """The non-empty lines that `chunk` completes."""
        *ended, rest = chunk.replace(b"\r", b"\n").split(b"\n")
        lines = []
        for part in ended:
            self._extend(part)
            if self._pending:
                lines.append(self._pending.decode(errors="replace"))
                self._pending.clear()
        self._extend(rest)
        return lines

    def _extend(self, part: bytes) -> None:
        self._pending += part[: LONGEST_LINE - len(self._pending)]


def parse_progress(line: str) -> Progress | None:
    """The progress that a line states; None for every other line."""
    line = line[:LONGEST_PROGRESS]
    found = _STEP.match(line)
    if found is None:
        return None
    step, total, percent = int(found[1]), found[2], found[3]
    fraction = float(percent) / 100 if percent else None
    if fraction is None and total and int(total) > 0:
        fraction = step / int(total)
    fields: dict[str, float] = {}
    for name, text in _FIELD.findall(line, found.end())[:MOST_FIELDS]:
        number = float(text.replace(",", ""))
        if math.isfinite(number):
            fields[name.strip()] = number
    return Progress(
        step=step,
        fraction=None if fraction is None else min(fraction, 1.0),
        loss=fields.get("loss", fields.get("train loss", fields.get("train_loss"))),
        tokens_per_second=fields.get("tok/sec", fields.get("tokens/sec", fields.get("tok/s"))),
        remaining=fields.get("remaining"),
        fields=fields,
    )


def default_pattern(metric_name: str) -> str:
    """The pattern of a metric for which a target states none: `NAME: NUMBER` on a line of its own."""
    return rf"^{re.escape(metric_name)}:\s+(\S+)\s*$"


def parse_final(
    text: str,
    metric_name: str,
    pattern: str | None = None,
    *,
    min_training_seconds: float | None = None,
    seconds: float | None = None,
) -> FinalBlock:
    """Judge the whole output of a run that ended with exit code 0.

    The metric must match `pattern` (group 1; applied line by line) exactly once in the whole output and be a finite
    number. With the default pattern it must also stand after the last line `---`, where the final block stands.
    With `min_training_seconds`, neither the printed `training_seconds` nor the measured `seconds` may be less.
    """
    lines = split_lines(text)
    separators = [number for number, line in enumerate(lines) if line.strip() == SEPARATOR]
    start = separators[-1] + 1 if separators else len(lines)
    values = _values_of(lines[start:])
    by_default = pattern is None or pattern == default_pattern(metric_name)
    expression = re.compile(pattern or default_pattern(metric_name))
    matches = [(number, found[1]) for number, line in enumerate(lines) for found in expression.finditer(line)]
    metric, problem = _one_metric(metric_name, matches, start if by_default else 0)
    if problem is None and min_training_seconds is not None:
        trained = min(value for value in (values.get("training_seconds"), seconds, math.inf) if value is not None)
        if trained < min_training_seconds:
            problem = f"ended early: trained {trained:.1f} s of at least {min_training_seconds:g} s"
    return FinalBlock(None if problem else metric, problem, values, loss_curve(lines))


def _one_metric(name: str, matches: list[tuple[int, str]], start: int) -> tuple[float | None, str | None]:
    """The metric, or the sentence why there is none that can be trusted."""
    if not matches:
        return None, f"{name} was not printed"
    if len(matches) > 1:
        return None, f"{name} was printed {len(matches)} times, so none of them can be trusted"
    line, printed = matches[0]
    if line < start:
        return None, f"{name} was printed outside the final block, which begins with a line '{SEPARATOR}'"
    if printed is None or not _FLOAT.fullmatch(printed):
        return None, f"{name} is not a number: {clean(printed or '', 40)!r}"
    metric = float(printed)
    return (metric, None) if math.isfinite(metric) else (None, f"{name} is {metric}")


def _values_of(lines: Iterable[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    doubled = set()
    for line in lines:
        found = _VALUE.fullmatch(line.strip()[:LONGEST_PROGRESS])
        if found is None or len(values) >= MOST_FIELDS:
            continue
        number = float(found[2].replace(",", ""))
        if found[1] in values:
            doubled.add(found[1])
        if math.isfinite(number):
            values[found[1]] = number
    return {name: number for name, number in values.items() if name not in doubled}


def loss_curve(lines: Iterable[str], points: int = 64) -> list[tuple[float, float]]:
    """(fraction of the run, loss) of the progress lines, evenly thinned; the first and the last stay.

    Where the lines state no fraction, it is the step over the last step.
    """
    steps = [found for line in lines if (found := parse_progress(line)) is not None and found.loss is not None]
    last = max((found.step for found in steps), default=0) or 1
    if len(steps) > points:
        steps = [steps[round(number * (len(steps) - 1) / (points - 1))] for number in range(points)]
    return [
        (round(found.step / last if found.fraction is None else found.fraction, 4), found.loss)
        for found in steps
        if found.loss is not None
    ]


def split_lines(text: str) -> list[str]:
    """The lines of a text; "\\r" ends one as well."""
    return [line[:LONGEST_LINE] for line in text.replace("\r", "\n").split("\n")]


def read_log(path: Path) -> str:
    """The text of a log, or of its last 256 MB; "" when there is none. What is not UTF-8 is replaced."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LONGEST_LOG))
            return file.read(LONGEST_LOG).decode(errors="replace")
    except FileNotFoundError:
        return ""


def clean(line: str, width: int) -> str:
    """A line that no terminal acts on: without escape sequences and control characters, at most `width` characters."""
    line = _ESCAPE.sub("", line[: 16 * width])
    return "".join(character if character.isprintable() else " " for character in line)[:width].rstrip()


def last_lines(text: str, count: int = 20, width: int = 300) -> list[str]:
    """The last lines that say something, clean. Of several progress lines in a row the last one stands."""
    chosen: list[str] = []
    after_progress = False
    for line in reversed(split_lines(text[-count * LONGEST_LINE :])):
        shown = clean(line, width)
        is_progress = parse_progress(shown) is not None
        if shown and not (is_progress and after_progress):
            chosen.append(shown)
            after_progress = is_progress
        if len(chosen) == count:
            break
    return chosen[::-1]


def failure_reason(exit_code: int | None, lines: list[str]) -> str:
    """A sentence for a run that failed, from its exit code and its last lines: the exception, if one ends them."""
    if exit_code is None or exit_code < 0:
        return say_exit(exit_code)
    for line in reversed(lines):
        if re.match(r"[\w.]*(Error|Exception|Interrupt|Exit)\b", line) or line.strip() in (
            "FAIL",
            "MemoryError",
        ):
            return f"exit code {exit_code}: {line}"
    return f"exit code {exit_code}"
