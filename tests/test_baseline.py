"""The training script: what it prints, that it repeats, how it fails, and what its attention may see."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from baseline_files import BASELINE, copy_baseline, load_module, target

from engine.search.constraints import Constraint

BATCH = 2048
FLOPS = 8 * 10**9  # a few steps, well under a second
FIELDS = (
    "val_bpb",
    "training_seconds",
    "total_seconds",
    "peak_vram_mb",
    "mfu_percent",
    "total_tokens_M",
    "num_steps",
    "num_params_M",
    "depth",
)
PROGRESS = re.compile(
    r"step \d{5} \(\d+\.\d%\) \| loss: \d+\.\d{6} \| lrm: \d\.\d\d \| dt: \d+ms \| tok/sec: [\d,]+ \| mfu: \d+\.\d% \| "
    r"epoch: \d+ \| remaining: \d+s *"
)


def train(folder: Path, seed: int = 42, held_out: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("BILEVEL_")}
    environment |= {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "BILEVEL_SEED": str(seed)}
    if held_out:
        environment["BILEVEL_HELD_OUT"] = "1"
    # Bytes first: text mode would turn the \r of the progress lines into line ends.
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=folder, env=environment, capture_output=True, timeout=120, check=False
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def final_block(output: str) -> dict[str, float]:
    lines = output.split("---\n")[1].splitlines()
    return {name: float(value) for name, value in (re.fullmatch(r"(\w+): +(\S+)", line).groups() for line in lines)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_baseline(tmp_path_factory.mktemp("run"), TOTAL_BATCH_SIZE=BATCH, FLOP_BUDGET=FLOPS)


@pytest.fixture(scope="module")
def finished(folder: Path) -> subprocess.CompletedProcess[str]:
    return train(folder, seed=42, held_out=True)


def test_the_final_block_has_every_field_once(finished: subprocess.CompletedProcess[str]) -> None:
    assert finished.returncode == 0, finished.stderr
    block = final_block(finished.stdout)
    assert tuple(block) == (*FIELDS, "held_out_bpb")
    assert 0 < block["val_bpb"] < 8.1
    assert 0 < block["held_out_bpb"] < 8.1
    assert block["peak_vram_mb"] == 0.0
    assert block["depth"] == 2
    assert block["training_seconds"] <= block["total_seconds"]


def test_each_step_prints_a_progress_line_that_ends_in_a_carriage_return(
    finished: subprocess.CompletedProcess[str],
) -> None:
    *lines, rest = finished.stdout.split("---\n")[0].split("\r")
    assert rest == "\n"
    assert len(lines) == final_block(finished.stdout)["num_steps"]
    assert all(PROGRESS.fullmatch(line) for line in lines), lines


def test_a_flop_budget_ends_the_run_at_the_first_step_that_reaches_it(
    folder: Path, finished: subprocess.CompletedProcess[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load_module("train", folder, monkeypatch)
    flops = module.GPT(vocab_size=257).flops_per_token() * BATCH
    block = final_block(finished.stdout)
    assert block["num_steps"] == math.ceil(FLOPS / flops) > 2
    assert block["total_tokens_M"] == pytest.approx(block["num_steps"] * BATCH / 1e6, abs=1e-3)


def test_the_same_seed_and_flop_budget_repeat_to_the_last_digit(
    folder: Path, finished: subprocess.CompletedProcess[str]
) -> None:
    again = train(folder, seed=42)
    assert "held_out_bpb" not in again.stdout
    assert val_bpb_text(again.stdout) == val_bpb_text(finished.stdout)


def test_another_seed_gives_other_weights_and_other_rows(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load_module("train", folder, monkeypatch)
    first, second = (module.Run(torch.device("cpu"), seed) for seed in (42, 7))
    assert not torch.equal(first.model.embedding.weight, second.model.embedding.weight)
    assert not torch.equal(next(first.batches)[0], next(second.batches)[0])
    assert first.step()[0] != second.step()[0]


def val_bpb_text(output: str) -> str:
    return re.search(r"^val_bpb: +(\d+\.\d{6})$", output, re.MULTILINE)[1]


def test_without_a_flop_budget_a_run_ends_with_the_step_that_uses_up_its_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copy_baseline(tmp_path, TOTAL_BATCH_SIZE=1024, TIME_BUDGET=0.3)
    run = load_module("train", folder, monkeypatch).Run(torch.device("cpu"), seed=1)
    before_step = []
    step = run.step
    monkeypatch.setattr(run, "step", lambda: (before_step.append(run.seconds), step())[1])
    run.train()
    assert run.seconds >= 0.3 > before_step[-1]
    assert run.steps == len(before_step)


def test_divergence_prints_fail_and_exits_1(tmp_path: Path) -> None:
    done = train(copy_baseline(tmp_path, TOTAL_BATCH_SIZE=1024, FLOP_BUDGET=10**12, EMBEDDING_LR=1e30, MATRIX_LR=1e30))
    assert done.returncode == 1
    assert "FAIL" in done.stdout.splitlines()
    assert "---" not in done.stdout


@pytest.mark.parametrize(
    ("constants", "said"),
    [({"HEAD_DIM": 48}, "HEAD_DIM = 48"), ({"TOTAL_BATCH_SIZE": 1000}, "TOTAL_BATCH_SIZE must be a multiple")],
)
def test_constants_that_cannot_work_end_the_run_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, constants: dict[str, int], said: str
) -> None:
    module = load_module("train", copy_baseline(tmp_path, **constants), monkeypatch)
    with pytest.raises(SystemExit, match=said):
        module.Run(torch.device("cpu"), seed=1)


def test_the_evaluation_does_not_depend_on_the_training_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = set()
    for total, rows in ((1024, 1), (16384, 128)):
        folder = copy_baseline(tmp_path / str(rows), TOTAL_BATCH_SIZE=total, DEVICE_BATCH_SIZE=rows)
        run = load_module("train", folder, monkeypatch).Run(torch.device("cpu"), seed=3)
        results.add(run.evaluate("validation"))
    assert len(results) == 1


@pytest.mark.parametrize(("window", "reach"), [(32, 32), (128, 128)])
def test_a_token_influences_only_what_comes_after_it_within_the_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, window: int, reach: int
) -> None:
    module = load_module("train", copy_baseline(tmp_path), monkeypatch)
    torch.manual_seed(0)
    attention = module.Attention(width=64, window=window, with_value_embedding=True)
    cos, sin = module.rotary_tables(128, module.HEAD_DIM)
    x, values = torch.randn(1, 128, 64), torch.randn(1, 128, 64)
    before = attention(x, values, cos, sin)
    at = 50
    x[0, at] += 1.0
    values[0, at] += 1.0
    changed = (attention(x, values, cos, sin) - before).abs().amax(dim=(0, 2)) > 1e-6
    assert changed.nonzero().flatten().tolist() == list(range(at, min(128, at + reach)))


def test_the_model_is_causal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load_module("train", copy_baseline(tmp_path), monkeypatch)
    torch.manual_seed(0)
    model = module.GPT(vocab_size=257)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)  # at the start the layers are the identity: nothing would leak
    tokens, targets = torch.randint(257, (1, 128)), torch.randint(257, (1, 128))
    before = model(tokens, targets)
    tokens[0, 100] = (tokens[0, 100] + 1) % 257
    changed = (model(tokens, targets) - before).abs()[0] > 1e-6
    assert not changed[:100].any()
    assert changed[100:].any()


def test_the_last_layer_always_sees_the_whole_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load_module("train", copy_baseline(tmp_path), monkeypatch)
    assert module.layer_windows(5, "SSL", 128) == [64, 64, 128, 64, 128]
    assert module.layer_windows(2, "S", 128) == [64, 128]


def test_rates_rise_hold_and_fall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = copy_baseline(tmp_path, WARMUP_RATIO=0.2, WARMDOWN_RATIO=0.5, FINAL_LR_FRAC=0.1)
    module = load_module("train", folder, monkeypatch)
    factors = [module.lr_multiplier(progress) for progress in (0.0, 0.1, 0.2, 0.5, 0.75, 1.0)]
    assert factors == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.55, 0.1])


def test_orthogonalize_brings_singular_values_near_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = load_module("train", copy_baseline(tmp_path), monkeypatch)
    torch.manual_seed(0)
    for shape in ((3, 64, 64), (2, 256, 64), (1, 2, 32)):
        values = torch.linalg.svdvals(module.orthogonalize(torch.randn(shape)))
        assert 0.2 < values.median() < 1.3
        assert values.max() < 1.3


@pytest.mark.parametrize("profile", ["cpu", "cuda"])
def test_target_toml_fits_the_script(profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = target()
    settings = described["profile"][profile]
    folder = copy_baseline(tmp_path) if profile == "cpu" else BASELINE
    module = load_module("train", folder, monkeypatch)
    values = {name: getattr(module, name) for name in described["parameters"]}
    for name, parameter in described["parameters"].items():
        ranges = {**parameter, **settings.get("parameters", {}).get(name, {})}
        if ranges["kind"] == "choice":
            assert values[name] in ranges["choices"]
        elif ranges["kind"] == "tuple":
            assert all(a <= b <= c for a, b, c in zip(ranges["low"], values[name], ranges["high"], strict=True))
        else:
            assert ranges["low"] <= values[name] <= ranges["high"]
    known = {**values, "MAX_SEQ_LEN": module.MAX_SEQ_LEN}
    for constraint in described["constraints"]:
        assert Constraint(constraint["expr"], constraint["why"]).broken_by(known) is None
