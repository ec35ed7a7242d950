"""`bilevel init`: a script with a block of constants becomes a target that loads, with nothing overwritten."""

import tomllib
from pathlib import Path

import pytest
from target_files import PREPARE, TARGET, TRAIN, write_target

from engine.errors import InputError
from engine.search.script import read_block
from engine.tools.guess import find_metric, parameter_table
from engine.tools.initialise import initialise
from engine.training.target import load_target, profiles

BASELINE = Path(__file__).parent.parent / "baseline"

# The shape of Karpathy's checkout: no seed, no held-out split, no FLOP budget; constants outside the block.
KARPATHY_TRAIN = '''\
"""
Autoresearch pretraining script. Single-GPU, single-file.
"""
from prepare import MAX_SEQ_LEN, TIME_BUDGET

ASPECT_RATIO = 64       # model_dim = depth * ASPECT_RATIO
HEAD_DIM = 128          # target head dimension for attention
WINDOW_PATTERN = "SSSL" # sliding window pattern: L=full, S=half context
TOTAL_BATCH_SIZE = 2**19 # ~524K tokens per optimizer step
EMBEDDING_LR = 0.6      # learning rate for token embeddings (Adam)
UNEMBEDDING_LR = 0.004  # learning rate for lm_head (Adam)
WEIGHT_DECAY = 0.2      # cautious weight decay for Muon
ADAM_BETAS = (0.8, 0.95) # Adam beta1, beta2
WARMUP_RATIO = 0.0      # fraction of time budget for LR warmup
WARMDOWN_RATIO = 0.5    # fraction of time budget for LR warmdown
FINAL_LR_FRAC = 0.0     # final LR as fraction of initial
DEPTH = 8               # number of transformer layers
DEVICE_BATCH_SIZE = 128  # per-device batch size (reduce if OOM)
H100_BF16_PEAK_FLOPS = 989.5e12
USE_COMPILE = True

val_bpb = 1.0
print("---")
print(f"val_bpb:          {val_bpb:.6f}")
print(f"num_steps:        {5}")
'''
KARPATHY_PREPARE = """\
MAX_SEQ_LEN = 2048       # context length
TIME_BUDGET = 300        # training time budget in seconds (5 minutes)
EVAL_TOKENS = 40 * 524288  # number of tokens for val eval
"""


def checkout(folder: Path, train: str = KARPATHY_TRAIN, prepare: str | None = KARPATHY_PREPARE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_bytes(train.encode())
    if prepare is not None:
        (folder / "prepare.py").write_text(prepare)
    return folder


def test_karpathys_checkout_works_as_it_is(tmp_path: Path) -> None:
    root = checkout(tmp_path)
    assert initialise(root) == root / "target.toml"
    assert profiles(root) == ["cpu", "cuda"]
    target = load_target(root, "cuda")
    assert (target.searched, target.fixed) == ("train.py", ("prepare.py",))
    assert (target.metric.name, target.metric.direction) == ("val_bpb", "minimize")
    assert (target.seed_env, target.held_out_env) == (None, None)
    assert target.budget.value == 300
    assert load_target(root, "cpu").budget.value == 30
    parameters = target.space.parameters
    assert {name for name, parameter in parameters.items() if parameter.locked} == {
        "DEPTH", "ASPECT_RATIO", "WINDOW_PATTERN", "H100_BF16_PEAK_FLOPS",
    }  # fmt: skip
    assert target.space.check({"TOTAL_BATCH_SIZE": 2**19 + 1}) is not None
    assert target.space.check({"TOTAL_BATCH_SIZE": 2**20, "EMBEDDING_LR": 1.2}) is None
    assert parameters["EMBEDDING_LR"].log
    assert parameters["USE_COMPILE"].choices == (True, False)
    assert target.space.constants["MAX_SEQ_LEN"] == 2048


def test_the_file_explains_itself(tmp_path: Path) -> None:
    text = initialise(checkout(tmp_path)).read_text()
    assert "[parameters.HEAD_DIM]  # target head dimension for attention" in text
    assert text.count("#") > 20
    tomllib.loads(text)


def test_the_baseline_can_be_initialised(tmp_path: Path) -> None:
    root = checkout(tmp_path, (BASELINE / "train.py").read_text(), (BASELINE / "prepare.py").read_text())
    initialise(root)
    target = load_target(root, "cpu")
    assert target.seed_env == "BILEVEL_SEED"
    assert target.held_out_env == "BILEVEL_HELD_OUT"
    assert load_target(root, "cpu", flops=1e9).budget.kind == "flops"
    assert target.space.parameters.keys() == read_block((BASELINE / "train.py").read_text()).keys()


def test_a_target_that_is_there_is_overwritten_on_request_only(tmp_path: Path) -> None:
    root = write_target(tmp_path)
    with pytest.raises(InputError, match="exists: edit it, or replace it with --force"):
        initialise(root)
    assert (root / "target.toml").read_text() == TARGET
    initialise(root, force=True)
    assert load_target(root, "cpu").name == root.name
    assert sorted(path.name for path in root.iterdir()) == ["prepare.py", "target.toml", "train.py"]
    assert (root / "train.py").read_text() == TRAIN
    assert (root / "prepare.py").read_text() == PREPARE


def test_a_script_that_holds_its_own_budget(tmp_path: Path) -> None:
    script = 'MAX_SECONDS = 20\nWIDTH = 64\nprint(f"test_accuracy: {WIDTH}")\n'
    root = checkout(tmp_path, script, None)
    (root / "train.py").rename(root / "fit.py")
    initialise(root, "fit.py")
    target = load_target(root, "cpu")
    assert (target.metric.name, target.metric.direction) == ("test_accuracy", "maximize")
    assert target.fixed == ()
    assert target.file_edits["fit.py"] == {"MAX_SECONDS": 20, "WIDTH": 64}
    assert list(target.space.parameters) == ["WIDTH"]


@pytest.mark.parametrize(
    ("train", "prepare", "sentence"),
    [
        ("print(1)\n", "TIME_BUDGET = 5\n", "has no constant to search"),
        ("A = 1\n", "B = 2\n", "no budget was found in train.py or prepare.py: write TIME_BUDGET = 300"),
        ("A = (\n", "TIME_BUDGET = 5\n", r"^train\.py:\d+: the script is no valid Python"),
        ("A = 1\n", "A = (\n", r"^prepare\.py:\d+: the script is no valid Python"),
    ],
)
def test_what_cannot_become_a_target_is_said(tmp_path: Path, train: str, prepare: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        initialise(checkout(tmp_path, train, prepare))
    assert not (tmp_path / "target.toml").exists()


def test_a_wrong_directory_or_script_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no directory"):
        initialise(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"train\.py is no file in"):
        initialise(tmp_path)


@pytest.mark.parametrize(
    ("line", "low", "high", "log"),
    [
        ("BATCH = 64", 8, 512, True),
        ("LAYERS = 3", 1, 24, True),
        ("OFFSET = 0", 0, 8, False),
        ("SHIFT = -16", -128, -2, False),
        ("MATRIX_LR = 0.04", 0.005, 0.32, True),
        ("DROPOUT = 0.1", 0.0, 1.0, False),
        ("NOISE = 0.0", 0.0, 1.0, False),
        ("BIAS = -0.5", -4.0, -0.0625, False),
        ("BETA2 = 0.95", 0.6, 0.99375, False),
        ("BETAS = (0.8, 0.95)", [0.0, 0.6], [0.975, 0.99375], False),
        ("HUGE = 2**62", 2**59, 2**62, True),
    ],
)
def test_ranges_are_guessed_from_names_and_values(line: str, low: object, high: object, log: bool) -> None:
    (constant,) = read_block(line).values()
    table = tomllib.loads(parameter_table(constant))["parameters"][constant.name]
    assert (table["low"], table["high"], table.get("log", False)) == (low, high, log)


def test_odd_constants_become_tables_that_load(tmp_path: Path) -> None:
    train = (
        "NAME = 'größe \"x\" \\\\'  # tab\tand ☃\nSHAPES = [True, 'a']\nEMPTY = ()\nTINY = 1e-12\nMIXED = (1, 0.5)\n"
        "HUGE = 2**62\nTWICE = 1\nTWICE = 2\nDEPTH = 'deep'\nSEED = 5\nEVAL_MODE = 'fast'\n"
    )
    initialise(checkout(tmp_path, train, "TIME_BUDGET = None\n"))
    target = load_target(tmp_path, "cuda")
    assert target.budget.value == 300
    assert "TWICE" not in target.space.parameters
    assert target.space.parameters["SEED"].locked
    assert target.space.initial["NAME"] == 'größe "x" \\'


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('print("nothing")', ("val_bpb", "minimize")),
        ('print(f"train_loss: {1}")\nprint(f"val_loss: {2}")', ("val_loss", "minimize")),
        ('print(f"steps: {1}")\nprint(f"accuracy: {2}")', ("accuracy", "maximize")),
        ('print(f"val_loss: {2}")\nval_bpb = 3', ("val_bpb", "minimize")),
        ('print("reward:", 1)', ("reward", "maximize")),
    ],
)
def test_the_metric_is_found_among_the_prints(source: str, found: tuple[str, str]) -> None:
    assert find_metric(source) == found
