"""What a trainer printed: progress, the metric and its fakes, the curve, the last lines."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_runs import run, run_spec

from engine.training.output import (
    LONGEST_LINE,
    LineSplitter,
    default_pattern,
    failure_reason,
    last_lines,
    loss_curve,
    parse_final,
    parse_progress,
    read_log,
    split_lines,
)

LINE = (
    "step 00012 (4.0%) | loss: 5.123456 | lrm: 1.00 | dt: 310ms | tok/sec: 1,690,000 "
    "| mfu: 39.8% | epoch: 1 | remaining: 288s"
)
BLOCK = """---
val_bpb:          0.997900
training_seconds: 300.1
total_seconds:    325.9
peak_vram_mb:     45060.2
mfu_percent:      39.80
total_tokens_M:   499.6
num_steps:        953
num_params_M:     50.3
depth:            8
"""


def test_a_progress_line_gives_its_numbers() -> None:
    progress = parse_progress(LINE)
    assert progress is not None
    assert (progress.step, progress.fraction, progress.loss) == (12, 0.04, 5.123456)
    assert (progress.tokens_per_second, progress.remaining) == (1_690_000, 288)
    assert progress.fields["dt"] == 310 and progress.fields["mfu"] == 39.8 and len(progress.fields) == 7


@pytest.mark.parametrize(
    ("line", "step", "fraction", "loss"),
    [
        ("step 5", 5, None, None),
        ("step 10/40 loss=2.5", 10, 0.25, 2.5),
        ("iter 7: loss 2.5, time 3ms", 7, None, None),
        ("  step: 3 | loss: nan | lr: 1e-3", 3, None, None),
        ("step 1 (250.0%) | loss: -1.5e-3", 1, 1.0, -0.0015),
    ],
)
def test_any_part_of_a_progress_line_will_do(line: str, step: int, fraction: float | None, loss: float | None) -> None:
    progress = parse_progress(line)
    assert progress is not None
    assert (progress.step, progress.fraction, progress.loss) == (step, fraction, loss)


@pytest.mark.parametrize("line", ["", "stepping 5", "loss: 5", "val_bpb: 1.0", "step one", "the step 5"])
def test_other_lines_are_no_progress(line: str) -> None:
    assert parse_progress(line) is None


@given(st.lists(st.sampled_from([b"a", b"step 1", b"\r", b"\n", b"\r\n", "é".encode(), b"\xff"])), st.data())
def test_lines_do_not_depend_on_how_the_chunks_fall(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts) + b"\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    splitter = LineSplitter()
    found = [line for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True) for line in splitter.feed(whole[a:b])]
    expected = [line for line in whole.replace(b"\r", b"\n").split(b"\n") if line]
    assert found == [line.decode(errors="replace") for line in expected]


def test_a_line_without_end_is_cut_and_the_next_one_is_whole() -> None:
    splitter = LineSplitter()
    for _ in range(40):
        assert splitter.feed(b"x" * 10_000) == []
    assert splitter.feed(b"yy\rstep 7\r") == ["x" * LONGEST_LINE, "step 7"]


def test_the_final_block_is_read_whole() -> None:
    final = parse_final(f"{LINE}\r{LINE}\r\n{BLOCK}", "val_bpb", min_training_seconds=150, seconds=326)
    assert (final.metric, final.problem) == (0.9979, None)
    assert final.values["num_steps"] == 953 and len(final.values) == 9
    assert final.curve == [(0.04, 5.123456)] * 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "val_bpb was not printed"),
        (LINE + "\n---\nother: 1\n", "val_bpb was not printed"),
        ("val_bpb: 0.1\n" + BLOCK, "val_bpb was printed 2 times"),
        (BLOCK + BLOCK, "val_bpb was printed 2 times"),
        (BLOCK + "\rval_bpb: 0.9979\r", "val_bpb was printed 2 times"),
        ("val_bpb: 0.1\n", "outside the final block"),
        ("val_bpb: 0.1\n---\ndepth: 8\n", "outside the final block"),
        (BLOCK + "---\n", "outside the final block"),
        ("---\nval_bpb: nan\n", "val_bpb is nan"),
        ("---\nval_bpb: -inf\n", "val_bpb is -inf"),
        ("---\nval_bpb: 1e999\n", "val_bpb is inf"),
        ("---\nval_bpb: \x1b[31mFAIL\n", "val_bpb is not a number: 'FAIL'"),
        ("---\nval_bpb: 1_0\n", "val_bpb is not a number"),
        ("---\nval_bpb:\n0.1\n", "val_bpb was not printed"),
        ("---\nval_bpb: 0.1 0.2\n", "val_bpb was not printed"),
        ("---\nmy val_bpb: 0.1\n", "val_bpb was not printed"),
        (BLOCK.replace("300.1", "0.3"), "ended early: trained 0.3 s of at least 150 s"),
    ],
)
def test_a_metric_that_cannot_be_trusted_is_refused_with_the_reason(text: str, problem: str) -> None:
    final = parse_final(text, "val_bpb", min_training_seconds=150)
    assert final.metric is None
    assert final.problem is not None and problem in final.problem


def test_a_script_that_claims_to_have_trained_is_held_to_the_clock() -> None:
    final = parse_final(BLOCK, "val_bpb", min_training_seconds=150, seconds=0.4)
    assert final.problem == "ended early: trained 0.4 s of at least 150 s"


def test_an_own_pattern_may_match_anywhere_but_once() -> None:
    pattern = r"final accuracy = ([\d.]+)%"
    assert parse_final("epoch 3, final accuracy = 91.5% (best)\n", "accuracy", pattern).metric == 91.5
    assert parse_final("final accuracy = 1% final accuracy = 2%", "accuracy", pattern).metric is None
    stated = parse_final("val_bpb: 1.0\n", "val_bpb", default_pattern("val_bpb"))
    assert stated.problem is not None and "outside" in stated.problem


def test_a_value_printed_twice_or_not_finite_is_left_out() -> None:
    final = parse_final("---\nval_bpb: 1.0\nheld_out_bpb: 2\nheld_out_bpb: 0.1\nmfu: nan\nwhole: 1e999\n", "val_bpb")
    assert final.values == {"val_bpb": 1.0}


@given(st.text(max_size=300))
def test_no_output_breaks_the_parser(text: str) -> None:
    final = parse_final(text, "val_bpb")
    assert (final.metric is None) == (final.problem is not None)
    assert all(character.isprintable() for line in last_lines(text) for character in line)


async def test_a_faked_metric_of_a_real_run_is_refused(tmp_path: Path) -> None:
    fake = "print('---\\nval_bpb: 0.000001\\ntraining_seconds: 300.0', flush=True)\nos._exit(0)\n"
    spec = run_spec(tmp_path, fake)
    outcome = await run(spec)
    assert outcome.status == "ended"
    final = parse_final(read_log(spec.log), "val_bpb", min_training_seconds=30, seconds=outcome.seconds)
    assert final.metric is None and final.problem is not None and final.problem.startswith("ended early")


def test_the_curve_is_thinned_and_keeps_its_ends() -> None:
    lines = [f"step {n} ({n / 10:.1f}%) | loss: {10 - n / 200}" for n in range(1001)]
    curve = loss_curve(lines)
    assert len(curve) == 64 and curve[0] == (0.0, 10.0) and curve[-1] == (1.0, 5.0)
    assert curve == sorted(curve)
    assert loss_curve(["step 5 loss=3", "step 10 loss=2", "step 11 loss=nan"]) == [(0.5, 3.0), (1.0, 2.0)]


def test_the_last_lines_are_harmless_and_short() -> None:
    hostile = "\x1b]0;title\x07ok\x1b[2J\x1b[31mred\x1b[0m\x9b5n \u202eleft\ttab\x00\n"
    shown = last_lines(hostile + "y" * 5000)
    assert shown[1] == "y" * 300
    assert shown[0] == "okred 5n  left tab"


def test_progress_does_not_push_a_traceback_out_of_the_last_lines() -> None:
    log = f"start\n{(LINE + chr(13)) * 500}\nTraceback (most recent call last):\nRuntimeError: bad\n"
    assert last_lines(log) == ["start", LINE, "Traceback (most recent call last):", "RuntimeError: bad"]


def test_a_failure_is_named_by_what_ended_it() -> None:
    lines = ["ValueError: first", "torch.OutOfMemoryError: CUDA out of memory", "leaked semaphore objects"]
    assert failure_reason(1, lines) == "exit code 1: torch.OutOfMemoryError: CUDA out of memory"
    assert failure_reason(1, ["step 3", "FAIL"]) == "exit code 1: FAIL"
    assert failure_reason(3, ["nothing"]) == "exit code 3"
    assert failure_reason(-9, lines) == "killed by SIGKILL, as the kernel does when memory runs out"
    assert failure_reason(-11, lines) == "killed by SIGSEGV"


def test_a_log_is_read_whatever_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "trainer.log"
    assert read_log(path) == ""
    path.write_bytes(b"a\xff\r" + os.urandom(1000))
    assert split_lines(read_log(path))[0] == "a\ufffd"
