"""The fixed half of the baseline: splits, rows, evaluation, and the data of a person's own."""

import importlib.util
import math
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from baseline_files import copy_baseline, load_module

CPU = torch.device("cpu")
needs_tokenizers = pytest.mark.skipif(
    importlib.util.find_spec("tokenizers") is None, reason="a BPE vocabulary needs the tokenizers package"
)
needs_pyarrow = pytest.mark.skipif(
    importlib.util.find_spec("pyarrow") is None, reason="parquet shards need the pyarrow package"
)


@pytest.fixture
def prepare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.delenv("BILEVEL_DATA", raising=False)
    return load_module("prepare", copy_baseline(tmp_path / "code", VOCAB_SIZE=400), monkeypatch)


def texts(count: int) -> list[str]:
    """Documents that differ, in words that repeat, some of them outside ASCII."""
    random = np.random.default_rng(5)
    words = [f"wort{i}é" for i in range(60)]
    return [f"{i} " + " ".join(random.choice(words, 120)) for i in range(count)]


# ---------------------------------------------------------------------- splits


def test_the_split_of_a_document_is_settled_by_its_content(prepare: ModuleType) -> None:
    documents = [b"document %d" % i for i in range(4000)]
    splits = [prepare.split_of(document) for document in documents]
    shares = [splits.count(split) / len(splits) for split in prepare.SPLITS]
    assert shares == pytest.approx([0.90, 0.05, 0.05], abs=0.015)
    # Fixed for ever: another rule would move validation text into the training of an older session's successors.
    assert splits[:40].count("train") == 34
    assert [i for i, split in enumerate(splits[:60]) if split == "held_out"] == [29, 32, 39, 58]


def test_no_document_of_the_standard_library_lies_in_two_splits(prepare: ModuleType) -> None:
    corpus = prepare.load_corpus()
    assert corpus.vocab_size == 257
    documents = {split: set(separated(tokens)) for split, tokens in corpus.tokens.items()}
    assert all(len(found) > 10 for found in documents.values())
    assert not documents["train"] & documents["validation"]
    assert not documents["train"] & documents["held_out"]
    assert not documents["validation"] & documents["held_out"]


def separated(tokens: np.ndarray) -> list[bytes]:
    pieces = np.split(tokens, np.flatnonzero(tokens == 256))[1:]
    return [piece[1:].astype(np.uint8).tobytes() for piece in pieces]


def test_the_default_corpus_is_the_same_each_time_and_stays_under_its_limit(prepare: ModuleType) -> None:
    first, second = prepare.load_corpus(), prepare.load_corpus()
    assert all(np.array_equal(first.tokens[split], second.tokens[split]) for split in prepare.SPLITS)
    prepare.DATA_BYTES = 2**21
    assert sum(len(tokens) for tokens in prepare.load_corpus().tokens.values()) < 2**21 + 2**14


# ---------------------------------------------------------------------- rows


def test_targets_are_the_next_tokens(prepare: ModuleType) -> None:
    inputs, targets, epoch = next(prepare.rows(counting(prepare), 4, 1, CPU))
    assert inputs.shape == targets.shape == (4, 128)
    assert inputs.dtype == targets.dtype == torch.int64
    assert torch.equal(inputs + 1, targets)
    assert epoch == 1


def test_a_larger_batch_takes_the_same_rows_more_at_a_time(prepare: ModuleType) -> None:
    corpus = counting(prepare)
    small, large = prepare.rows(corpus, 2, 1, CPU), prepare.rows(corpus, 4, 1, CPU)
    assert torch.equal(torch.cat([next(small)[0], next(small)[0]]), next(large)[0])


def test_the_seed_settles_the_order(prepare: ModuleType) -> None:
    def starts(seed: int) -> list[int]:
        source = prepare.rows(counting(prepare), 1, seed, CPU)
        return [int(next(source)[0][0, 0]) for _ in range(20)]

    assert starts(1) == starts(1) != starts(2)


def test_an_epoch_has_each_row_once(prepare: ModuleType) -> None:
    order = prepare.shuffled_rows(10_000, seed=1)
    drawn = [next(order) for _ in range(160)]
    first = [start for start, epoch in drawn if epoch == 1]
    assert 76 <= len(first) <= 78
    assert len(set(first)) == len(first)
    assert max(first) + 128 < 10_000
    assert {epoch for _, epoch in drawn} >= {1, 2}


def counting(prepare: ModuleType) -> object:
    """A corpus whose tokens count upward."""
    tokens = {split: np.arange(10_000, dtype=np.uint16) for split in prepare.SPLITS}
    return prepare.Corpus(tokens, np.ones(10_000, dtype=np.int64))


# ---------------------------------------------------------------------- evaluation


def uniform(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return torch.full(targets.shape, math.log(257))


def test_a_uniform_model_over_bytes_and_separator_needs_log2_of_257_bits_a_byte(prepare: ModuleType) -> None:
    corpus = prepare.load_corpus()
    for split in ("validation", "held_out"):
        assert prepare.evaluate_bpb(uniform, corpus, split, CPU) == pytest.approx(math.log2(257))


def test_separators_count_neither_as_bytes_nor_as_nats(prepare: ModuleType) -> None:
    def clumsy_at_separators(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return uniform(inputs, targets) + 1000 * (targets == 256)

    corpus = prepare.load_corpus()
    prepare.EVAL_TOKENS = 2**17
    assert any((corpus.tokens["validation"] == 256).tolist())
    assert prepare.evaluate_bpb(clumsy_at_separators, corpus, "validation", CPU) == pytest.approx(math.log2(257))


def test_a_token_of_several_bytes_spreads_its_nats_over_them(prepare: ModuleType) -> None:
    tokens = np.tile(np.array([0, 1], dtype=np.uint16), 1000)
    corpus = prepare.Corpus({"validation": tokens}, np.array([1, 3]))

    def nats(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return torch.full(targets.shape, 4 * math.log(2))

    assert prepare.evaluate_bpb(nats, corpus, "validation", CPU) == pytest.approx(2.0)  # 8 bits for 4 bytes


def test_the_evaluation_scores_the_tokens_it_promises(prepare: ModuleType) -> None:
    seen = []

    def nats(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        seen.append(targets.numel())
        return uniform(inputs, targets)

    prepare.evaluate_bpb(nats, prepare.load_corpus(), "validation", CPU)
    assert sum(seen) == prepare.EVAL_TOKENS == 8192
    assert set(seen) == {prepare.EVAL_BATCH_TOKENS}


# ---------------------------------------------------------------------- a person's own data


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    monkeypatch.setenv("BILEVEL_DATA", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder


def set_limits(module: ModuleType) -> None:
    module.TEXT_PIECE_BYTES = 2**10


@needs_tokenizers
@needs_pyarrow
def test_a_parquet_shard_is_encoded_and_kept(prepare: ModuleType, data: Path, tmp_path: Path) -> None:
    import pyarrow
    from pyarrow import parquet

    documents = [*texts(400), "", None]
    parquet.write_table(pyarrow.table({"text": documents, "id": range(402)}), data / "shard_00000.parquet")
    (data / "notes.txt").write_text("ignored beside a shard")
    corpus = prepare.load_corpus()
    assert corpus.vocab_size <= 400
    encoded = np.concatenate([corpus.tokens[split] for split in prepare.SPLITS])
    assert corpus.token_bytes[encoded].sum() == sum(len(text.encode()) for text in documents if text)
    assert (encoded == corpus.vocab_size - 1).sum() == 400
    assert len(encoded) < corpus.token_bytes[encoded].sum() / 1.5, "the vocabulary learned nothing"

    [cache] = [path for path in (tmp_path / "cache" / "bilevel").iterdir() if path.is_dir()]
    made = cache.stat().st_mtime_ns
    again = prepare.load_corpus()
    assert cache.stat().st_mtime_ns == made
    assert np.array_equal(again.tokens["train"], corpus.tokens["train"])


@needs_tokenizers
def test_text_files_are_cut_into_documents(prepare: ModuleType, data: Path) -> None:
    lines = texts(600)
    for part in range(3):
        (data / f"part{part}.txt").write_text("\n".join(lines[200 * part : 200 * (part + 1)]) + "\n")
    set_limits(prepare)
    corpus = prepare.load_corpus()
    encoded = np.concatenate([corpus.tokens[split] for split in prepare.SPLITS])
    assert corpus.token_bytes[encoded].sum() == sum(path.stat().st_size for path in data.iterdir())
    assert (encoded == corpus.vocab_size - 1).sum() > 100
    inputs, targets, _ = next(prepare.rows(corpus, 2, 1, CPU))
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


@needs_tokenizers
def test_changed_data_is_prepared_anew(prepare: ModuleType, data: Path) -> None:
    set_limits(prepare)
    (data / "a.txt").write_text("\n".join(texts(300)))
    before = len(prepare.load_corpus().tokens["train"])
    (data / "b.txt").write_text("\n".join(texts(400)[300:]))
    assert len(prepare.load_corpus().tokens["train"]) > before


@needs_tokenizers
def test_two_processes_prepare_the_same_data_once(data: Path, tmp_path: Path) -> None:
    folder = copy_baseline(tmp_path / "code", VOCAB_SIZE=400, TEXT_PIECE_BYTES=1024)
    (data / "a.txt").write_text("\n".join(texts(400)))
    processes = [
        subprocess.Popen([sys.executable, "prepare.py"], cwd=folder, env=dict(os.environ), stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert sum("encoding: " in output for output in outputs) == 1
    assert outputs[0].splitlines()[-1] == outputs[1].splitlines()[-1]
    home = tmp_path / "cache" / "bilevel"
    assert sorted(path.suffix for path in home.iterdir()) == ["", ".lock"]


@pytest.mark.parametrize(
    ("content", "said"), [(None, "holds no .parquet"), ("short", "too few for a row")], ids=["empty", "too little"]
)
@needs_tokenizers
def test_data_that_will_not_do_ends_the_run_with_a_sentence(
    prepare: ModuleType, data: Path, content: str | None, said: str
) -> None:
    if content:
        (data / "a.txt").write_text(content)
    with pytest.raises(SystemExit, match=said):
        prepare.load_corpus()


def test_a_directory_that_is_none_is_named(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILEVEL_DATA", "/nowhere/at/all")
    with pytest.raises(SystemExit, match="/nowhere/at/all, which is not a directory"):
        prepare.load_corpus()
