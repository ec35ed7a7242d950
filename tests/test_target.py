"""target.toml: what a target becomes, its way through the record, and the sentence for each mistake."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from target_files import PREPARE, TARGET, TRAIN, write_target

from engine.errors import InputError
from engine.search.parameters import Value
from engine.training.target import Budget, Limits, describe, load_target, profiles, target_from_description

BASELINE = Path(__file__).parent.parent / "baseline"


def test_a_profile_is_applied_to_the_scripts(tmp_path: Path) -> None:
    target = load_target(write_target(tmp_path), "cpu")
    assert target.command == (sys.executable, "-u", "train.py")
    assert (target.name, target.searched, target.fixed) == ("small", "train.py", ("prepare.py",))
    assert (target.metric.direction, target.metric.pattern) == ("minimize", r"^val_bpb:\s+(\S+)\s*$")
    assert (target.seed_env, target.held_out_env) == ("BILEVEL_SEED", None)
    assert target.budget == Budget("seconds", 8)
    assert target.limits == Limits(startup=30, stall=300, log_bytes=2**24, deadline=38)
    assert target.environment == {"BOTH": "1", "OMP_NUM_THREADS": "1"}
    assert target.space.constants["LENGTH"] == 128
    assert target.space.initial == {
        "DEPTH": 1, "BATCH": 16384, "RATE": 0.5, "BETAS": [0.8, 0.95], "PATTERN": "SL", "FUSED": True,
    }  # fmt: skip
    batch = target.space.parameters["BATCH"]
    assert (batch.low, batch.high, batch.log, batch.meaning) == (256, 65536, True, "tokens in a step")
    assert target.space.parameters["FUSED"].choices == (True, False)
    assert target.space.parameters["DEPTH"].locked
    assert target.file_edits == {
        "prepare.py": {"TIME_BUDGET": 8, "FLOP_BUDGET": None, "LENGTH": 128},
        "train.py": target.space.initial,
    }


def test_constants_that_the_profile_leaves_alone_come_from_the_files(tmp_path: Path) -> None:
    target = load_target(write_target(tmp_path), "cuda")
    assert target.space.constants == {"LENGTH": 2048}
    assert target.space.parameters["BATCH"].low == 512


def test_a_budget_in_flops(tmp_path: Path) -> None:
    write_target(tmp_path)
    exact = load_target(tmp_path, "exact")
    assert exact.budget == Budget("flops", 1e9)
    assert exact.file_edits["prepare.py"] == {"FLOP_BUDGET": 1000000000}
    assert exact.limits.deadline == 3630
    assert load_target(tmp_path, "cpu", flops=5e8).budget == Budget("flops", 5e8)
    assert load_target(tmp_path, "exact", seconds=2.5).file_edits["prepare.py"]["TIME_BUDGET"] == 2.5


def test_a_budget_by_the_environment(tmp_path: Path) -> None:
    text = TARGET.replace(
        'seconds = "prepare.py:TIME_BUDGET"\nflops = "prepare.py:FLOP_BUDGET"', 'seconds_env = "BUDGET"'
    )
    assert load_target(write_target(tmp_path, text), "cpu").environment["BUDGET"] == "8"


def test_a_fork_brings_its_own_initial_values(tmp_path: Path) -> None:
    write_target(tmp_path)
    target = load_target(tmp_path, "cpu", initial={"DEPTH": 3, "RATE": 1})
    assert target.space.initial["DEPTH"] == 3
    assert target.file_edits["train.py"]["RATE"] == 1.0
    with pytest.raises(InputError, match="the initial value given for RATE: RATE lies between"):
        load_target(tmp_path, "cpu", initial={"RATE": 50.0})


@pytest.mark.parametrize("profile", ["cpu", "cuda", "exact"])
def test_a_target_comes_back_from_its_description(tmp_path: Path, profile: str) -> None:
    target = load_target(write_target(tmp_path), profile)
    text = json.dumps(describe(target))
    (tmp_path / "target.toml").unlink()
    assert target_from_description(json.loads(text)) == target


def test_the_baseline_loads_in_every_profile() -> None:
    for profile in profiles(BASELINE):
        target = load_target(BASELINE, profile)
        assert target.space.parameters["DEPTH"].locked
        assert target.space.parameters["ASPECT_RATIO"].locked
        assert target.space.check({"TOTAL_BATCH_SIZE": target.space.parameters["TOTAL_BATCH_SIZE"].high}) is None


def replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


MISTAKES = [
    ('name = "small"', "name = small", r"^target\.toml:1:8: invalid value"),
    ('name = "small"', 'name = ""', "name is empty"),
    ('name = "small"', "name = " + "[" * 20_000, "is nested too deeply"),
    ('name = "small"', "name = " + "9" * 5000, "cannot be read"),
    ("startup = 30", "startup = 0x" + "f" * 5000, r"limits\.startup is too large a number"),
    ('name = "small"', "name = 0x" + "f" * 5000, "name is a text, not a number of thousands"),
    ('searched = "train.py"', "", "searched is missing: give a text"),
    ('searched = "train.py"', 'serched = "train.py"', "searched is missing"),
    ('fixed = ["prepare.py"]', 'fixed = ["prepare.py"]\nfixd = 1', r"fixd is not known: did you mean fixed\?"),
    ('fixed = ["prepare.py"]', 'fixed = ["train.py"]', "names train.py, which is searched"),
    ('fixed = ["prepare.py"]', 'fixed = ["gone.py"]', "names 'gone.py', which is no file in"),
    ('searched = "train.py"', 'searched = "../train.py"', "no plain path"),
    ('searched = "train.py"', 'searched = "/etc/passwd"', "no plain path"),
    ('searched = "train.py"', 'searched = "./train.py"', "no plain path"),
    ('command = ["{python}", "-u", "train.py"]', 'command = "python train.py"', "command is a list, not 'python"),
    ('command = ["{python}", "-u", "train.py"]', "command = []", "command is empty"),
    ('direction = "minimize"', 'direction = "min"', r"metric\.direction is 'min': did you mean minimize\?"),
    ('direction = "minimize"', 'direction = "minimize"\npattern = "a"', "pattern has 0 groups"),
    ('direction = "minimize"', 'direction = "minimize"\npattern = "("', "pattern is no regular expression"),
    ('direction = "minimize"', "direction = 'minimize'\npattern = '((?:a+)+)'", "can take for ever"),
    ('name = "val_bpb"', 'name = "val bpb"', r"metric\.name is 'val bpb'"),
    ('env = "BILEVEL_SEED"', "", r"seed\.env is missing"),
    ('env = "BILEVEL_SEED"', 'env = "A=B"', "an environment variable has letters"),
    ('BOTH = "1"', "BOTH = 1", r"environment\.BOTH is a text, not 1"),
    ('BOTH = "1"', 'API_KEY = "x"', "secrets are not handed to a trainer"),
    ("startup = 30", "startup = 0", r"limits\.startup is 0: give a number above 0"),
    ("startup = 30", "startup = true", r"limits\.startup is a number, not true"),
    ("startup = 30", "startupp = 30", r"limits\.startupp is not known: did you mean startup\?"),
    ('"prepare.py:TIME_BUDGET"', '"prepare.py"', "write it as FILE:CONSTANT"),
    ('"prepare.py:TIME_BUDGET"', '"other.py:TIME_BUDGET"', "where FILE is one of prepare.py, train.py"),
    ('"prepare.py:TIME_BUDGET"', '"prepare.py:TIME_BUGDET"', r"no constant of prepare\.py: did you mean TIME_BUDGET\?"),
    ('seconds = "prepare.py:TIME_BUDGET"', "", r"budget\.seconds is missing: say where"),
    ("[parameters.DEPTH]", "[parameters.DPTH]", r"parameters\.DPTH is no constant of train\.py: did you mean DEPTH\?"),
    ('kind = "float"', 'kind = "flat"', r"parameters\.RATE\.kind is 'flat': did you mean float\?"),
    ('kind = "float"', 'kind = "tuple"', r"parameters\.RATE\.kind is 'tuple', but train\.py:6 says RATE = 0\.5"),
    ('kind = "float"\nlow = 0.01', 'kind = "int"\nlow = 0', r"train\.py:6: RATE is an integer, not 0\.5"),
    ("low = 0.01", "low = 9", r"parameters\.RATE\.low is 9, above high = 5: make low the smaller"),
    ("low = 0.01", "low = 1", r"train\.py:6: RATE lies between 1 and 5, not at 0\.5"),
    ("low = 0.01", "", r"parameters\.RATE\.low is missing: state the smallest"),
    ("low = 0.01", 'low = "a"', r"parameters\.RATE\.low is 'a': give a number"),
    ("low = 0.01", "low = nan", r"parameters\.RATE\.low is nan: give a number"),
    ("low = 0.01", "low = 0.01\nlow = 2", r"target\.toml:\d+:\d+: cannot overwrite a value"),
    ("low = 0.01", "low = 0\nlog = true", r"parameters\.RATE\.log needs bounds above 0"),
    ("low = 0.01", "low = 0.01\nchoices = [1]", "choices has no meaning for kind = "),
    ("high = 65536", "high = 65536.5", r"parameters\.BATCH\.high is 65536\.5: give an integer"),
    ("low = [0.5, 0.8]", "low = [0.5]", r"parameters\.BETAS\.low has 1 numbers, but BETAS has 2"),
    ("low = [0.5, 0.8]", "low = [0.5, 1.0]", r"parameters\.BETAS\.low is \[0\.5, 1\.0\], above high"),
    ('choices = ["SL", "L", "S"]', "", r"parameters\.PATTERN\.choices is missing: list the values"),
    ('choices = ["SL", "L", "S"]', 'choices = ["L", "S"]', r"train\.py:8: PATTERN is one of"),
    ('choices = ["SL", "L", "S"]', 'choices = ["SL", "SL"]', r"names 'SL' twice"),
    ('choices = ["SL", "L", "S"]', 'choices = ["SL"]\nlow = 1', "low has no meaning for a choice"),
    ("locked = true", "lockd = true", r"parameters\.DEPTH\.lockd is not known: did you mean locked\?"),
    ("BATCH % LENGTH == 0", "BATCH % LENGHT == 0", r"constraints\[0\]\.expr speaks of LENGHT.*did you mean LENGTH\?"),
    ("BATCH % LENGTH == 0", "open('x')", r"constraints\[0\]\.expr is no constraint: 'open\('x'\)' may not stand"),
    ("BATCH % LENGTH == 0", "BATCH %", r"constraints\[0\]\.expr is no constraint"),
    ("BATCH % LENGTH == 0", "BATCH < LENGTH", r"initial values of profile\.cpu break a constraint: a step holds"),
    ("[[constraints]]", "[constraints]", "constraints is a list, not a table"),
    ("seconds = 8", "", r"profile\.cpu\.seconds is missing"),
    ("seconds = 8", "seconds = -1", r"profile\.cpu\.seconds is -1: give a number above 0"),
    ("seconds = 8", "seconds = 8\nflops = 9", r"profile\.cpu\.flops stands beside seconds"),
    ("seconds = 8", "seconds = 8\nsecs = 9", r"profile\.cpu\.secs is not known: did you mean seconds\?"),
    ("DEPTH = 1\n", "DEPTH = 9\n", r"profile\.cpu\.initial\.DEPTH: DEPTH lies between 1 and 8, not at 9"),
    ("DEPTH = 1\n", "NOT_SEARCHED = 1\n", r"profile\.cpu\.initial\.NOT_SEARCHED is for no parameter"),
    ("DEPTH = 1\n", "DEPTH = 2020-01-01\n", r"profile\.cpu\.initial\.DEPTH is .*: give a number, a text"),
    (
        '"prepare.py:LENGTH" = 128',
        '"prepare.py:LEN" = 128',
        r'constants\."prepare\.py:LEN" names LEN, which is no constant',
    ),
    ('"prepare.py:LENGTH" = 128', '"prepare.py:TIME_BUDGET" = 128', "is the budget"),
    ('"prepare.py:LENGTH" = 128', '"train.py:BATCH" = 128', r"is a parameter: set it in profile\.cpu\.initial"),
    ("low = 256", "low = 70000", r"profile\.cpu\.parameters\.BATCH\.low is 70000, above high = 65536"),
    ("[profile.cpu.parameters.BATCH]", "[profile.cpu.parameters.BACH]", r"BACH is no parameter: did you mean BATCH\?"),
]


@pytest.mark.parametrize(("old", "new", "sentence"), MISTAKES)
def test_each_mistake_in_the_file_has_its_sentence(tmp_path: Path, old: str, new: str, sentence: str) -> None:
    write_target(tmp_path, replaced(old, new)(TARGET))
    with pytest.raises(InputError, match=sentence) as raised:
        load_target(tmp_path, "cpu")
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (replaced("DEPTH = 2", "DEPTH = (2"), r"^train\.py:\d+: the script is no valid Python"),
        (replaced("print(f", "RATE = 1\nprint(f"), r"train\.py: RATE is set in line 6 and again in line 14"),
        (replaced("DEPTH = 2", "# -*- coding: latin-1 -*-\nDEPTH = 2"), None),
    ],
)
def test_mistakes_in_the_script(tmp_path: Path, change: Callable[[str], str], sentence: str | None) -> None:
    write_target(tmp_path, train=change(TRAIN))
    if sentence is None:
        assert load_target(tmp_path, "cpu").name == "small"  # a declaration counts in the first two lines only
    else:
        with pytest.raises(InputError, match=sentence):
            load_target(tmp_path, "cpu")


def test_scripts_in_another_encoding_are_refused(tmp_path: Path) -> None:
    write_target(tmp_path, train="# coding: latin-1\n" + TRAIN)
    with pytest.raises(InputError, match="declares the encoding iso-8859-1"):
        load_target(tmp_path, "cpu")
    (tmp_path / "train.py").write_bytes(b"A = '\xff'\n")
    with pytest.raises(InputError, match=r"train\.py is not UTF-8"):
        load_target(tmp_path, "cpu")


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    write_target(tmp_path / "target")
    (tmp_path / "elsewhere.py").write_text(PREPARE)
    (tmp_path / "target" / "prepare.py").unlink()
    (tmp_path / "target" / "prepare.py").symlink_to(tmp_path / "elsewhere.py")
    with pytest.raises(InputError, match="leads out of the target's directory"):
        load_target(tmp_path / "target", "cpu")


def test_missing_file_and_missing_profile(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no .*target\.toml: .*bilevel init"):
        load_target(tmp_path, "cpu")
    write_target(tmp_path)
    with pytest.raises(InputError, match=r"there is no profile 'cdua': did you mean cuda\? there are cpu, cuda, exact"):
        load_target(tmp_path, "cdua")
    assert profiles(tmp_path) == ["cpu", "cuda", "exact"]


@pytest.mark.parametrize(
    ("seconds", "flops"), [(1.0, 1.0), (0.0, None), (-3.0, None), (float("nan"), None), (None, float("inf"))]
)
def test_a_callers_budget_is_checked(tmp_path: Path, seconds: float | None, flops: float | None) -> None:
    write_target(tmp_path)
    with pytest.raises(InputError, match="budget"):
        load_target(tmp_path, "cpu", seconds=seconds, flops=flops)


def test_unnamed_constants_are_not_searched(tmp_path: Path) -> None:
    space = load_target(write_target(tmp_path), "cpu").space
    changes: dict[str, Value] = {"NOT_SEARCHED": 4}
    assert "there is no parameter 'NOT_SEARCHED'" in (space.check(changes) or "")
