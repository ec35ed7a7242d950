"""`bilevel init`: write a first target.toml from a training script's block of constants.

Kinds, ranges and the metric are guesses, each a line that a person can read and correct. The file is loaded before it
gets its name, so that what was written can be used. The scripts are read, never run, never changed.
"""

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from engine.errors import InputError
from engine.search.constraints import Constraint
from engine.search.parameters import Value
from engine.search.script import Constant, ScriptError, has_constant, read_block
from engine.tools.guess import find_metric, parameter_table, toml
from engine.training.target import load_target, profiles
from engine.training.target_file import TARGET_FILE, blame, inside, read_source

FIXED = "prepare.py"
CPU_SECONDS = 30
_BUDGETS = {"seconds": ("TIME_BUDGET", "TIME_BUDGET_SECONDS", "MAX_SECONDS"), "flops": ("FLOP_BUDGET",)}
_DEFAULTS = {"seconds": 300, "flops": 10**15}
_CONSTRAINTS = (
    Constraint(
        "TOTAL_BATCH_SIZE % (DEVICE_BATCH_SIZE * MAX_SEQ_LEN) == 0",
        "the total batch must be a whole number of device batches",
    ),
    Constraint("WARMUP_RATIO + WARMDOWN_RATIO <= 1", "warm-up and warm-down must not overlap"),
)


def initialise(directory: Path, script: str = "train.py", *, force: bool = False) -> Path:
    """Write `directory`/target.toml for `script`, and return its path.

    Raises InputError when there is one already (unless `force`), when the script has no constants, or when no constant
    is found that holds the budget.
    """
    root = directory.resolve()
    path = root / TARGET_FILE
    if not root.is_dir():
        raise InputError(f"there is no directory {directory}")
    if path.exists() and not force:
        raise InputError(f"{path} exists: edit it, or replace it with --force")
    problem = inside(root, script)
    if problem:
        raise InputError(f"{script} {problem}: name the training script that lies there")
    _write_checked(path, _document(root, script), script)
    return path


def _document(root: Path, script: str) -> str:
    source = read_source(root, script)
    blocks = {file: _block(root, file) for file in (script, *_fixed(root, script))}
    budgets = _find_budgets(root, list(blocks), script)
    parameters = {
        name: constant
        for name, constant in blocks[script].items()
        if not constant.rebound and f"{script}:{name}" not in budgets.values()
    }
    if not parameters:
        raise InputError(f"{script} has no constant to search: write NAME = value, in capitals, at its top level")
    sections = [
        _head(root, script),
        _metric(source),
        _variables("".join(read_source(root, file) for file in blocks)),
        _budget(budgets),
        "# One table for each constant of the script; the comment that stands there is what the model is told.\n"
        "# Bounds are inclusive. locked = true: nobody changes it.",
        *(parameter_table(constant) for constant in parameters.values()),
        _constraints(blocks, parameters),
        _profiles(budgets, blocks, parameters),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _block(root: Path, file: str) -> dict[str, Constant]:
    try:
        return read_block(read_source(root, file))
    except ScriptError as error:
        raise blame(file, error) from None


def _fixed(root: Path, script: str) -> list[str]:
    return [FIXED] if script != FIXED and inside(root, FIXED) is None else []


def _find_budgets(root: Path, files: list[str], script: str) -> dict[str, str]:
    """Where the budgets are written, by kind, as FILE:CONSTANT."""
    found: dict[str, str] = {}
    for file in files:
        source = read_source(root, file)
        for kind, names in _BUDGETS.items():
            for name in names:
                if kind not in found and has_constant(source, name):
                    found[kind] = f"{file}:{name}"
    if not found:
        raise InputError(
            f"no budget was found in {' or '.join(files)}: write TIME_BUDGET = 300 (seconds of training) into "
            f"{FIXED} or {script}, and let the script stop by it"
        )
    return found


def _head(root: Path, script: str) -> str:
    name = re.sub(r"[^\w .-]", "-", root.name)[:60].lstrip(" .-") or "target"
    return f"""\
# What bilevel needs to know of {script}. These are guesses from its constants: read each line before the first session.

name = {toml(name)}
command = ["{{python}}", {toml(script)}]  # {{python}} is the interpreter that bilevel runs under
searched = {toml(script)}  # the search changes constants in it, and nothing else
fixed = {toml([*_fixed(root, script)])}  # must stay as they are: hashed before and after each trial"""


def _metric(source: str) -> str:
    name, direction = find_metric(source)
    return f"""\
# The script prints `{name}: number` once, on a line of its own after a line `---`, and exits with 0.
[metric]
name = {toml(name)}
direction = {toml(direction)}  # or "{"maximize" if direction == "minimize" else "minimize"}"
# pattern = '^{name}:\\s+(\\S+)\\s*$'  # for a script that prints it otherwise, anywhere: one group, the number
# held_out = "held_out_bpb"  # the same on data that the search never sees, printed when asked for it"""


def _variables(sources: str) -> str:
    """[seed] and [held_out], in force when the scripts speak of the variables."""
    lines = ["# Environment variables that tell a run its seed, and to score the held-out data as well (1)."]
    for section, variable in (("seed", "BILEVEL_SEED"), ("held_out", "BILEVEL_HELD_OUT")):
        mark = "" if variable in sources else "# "
        lines += [f"{mark}[{section}]", f'{mark}env = "{variable}"']
    return "\n".join(lines)


def _budget(budgets: Mapping[str, str]) -> str:
    places = "\n".join(f"{kind} = {toml(place)}" for kind, place in budgets.items())
    return f"""\
# Where the budget of a run is written: FILE:CONSTANT. Or seconds_env = "NAME", for a script that reads the environment.
[budget]
{places}

[limits]
startup = 300  # seconds for import, data, compilation and evaluation together, beyond the budget
stall = 300  # seconds without output
log_bytes = 16777216"""


def _constraints(blocks: Mapping[str, Mapping[str, Constant]], parameters: Mapping[str, Constant]) -> str:
    """The relations that hold for the present values, where the scripts have all constants of them."""
    values: dict[str, Value] = {name: constant.value for block in blocks.values() for name, constant in block.items()}
    found = [
        f"[[constraints]]\nexpr = {toml(constraint.expr)}\nwhy = {toml(constraint.why)}"
        for constraint in _CONSTRAINTS
        if constraint.names() <= values.keys()
        and constraint.names() & parameters.keys()
        and constraint.broken_by(values) is None
    ]
    return "\n\n".join(
        ["# A configuration that breaks one of these is refused before it costs a trial.", *found]
    ) * bool(found)


def _profiles(
    budgets: Mapping[str, str], blocks: Mapping[str, Mapping[str, Constant]], parameters: Mapping[str, Constant]
) -> str:
    """[profile.cpu], short, and [profile.cuda], as the script is."""
    kind = next(iter(budgets))
    file, _, name = budgets[kind].partition(":")
    constant = blocks[file].get(name)
    present = constant.value if constant is not None else _DEFAULTS[kind]
    shorter = (
        CPU_SECONDS if kind == "seconds" and isinstance(present, int | float) and present > CPU_SECONDS else present
    )
    first = next(iter(parameters.values()))
    has_length = "MAX_SEQ_LEN" in blocks.get(FIXED, {})
    example = f'\n# [profile.cpu.constants]\n# "{FIXED}:MAX_SEQ_LEN" = 256' if has_length else ""
    return f"""\
# What differs by machine. initial: values for the script; constants: for the fixed files; parameters: ranges.
[profile.cpu]
{kind} = {toml(shorter)}
# [profile.cpu.initial]
# {first.name} = {toml(first.value)}{example}

[profile.cuda]
{kind} = {toml(present)}"""


def _write_checked(path: Path, text: str, script: str) -> None:
    """Give the text its name once it has been loaded beside copies of the scripts."""
    root = path.parent
    with tempfile.TemporaryDirectory() as scratch:
        trial = Path(scratch)
        for file in (script, *_fixed(root, script)):
            (trial / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / file, trial / file)
        (trial / TARGET_FILE).write_text(text, encoding="utf-8")
        for profile in profiles(trial):
            load_target(trial, profile)
    staged = path.with_name(f".{path.name}.new")
    staged.write_text(text, encoding="utf-8")
    staged.replace(path)
