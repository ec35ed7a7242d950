"""Data, tokenizer, loader and evaluation of the baseline: the fixed half, which a search never changes.

Promises: documents are split by their content into train (90 %), validation and held-out (5 % each), the same way on
every run; `rows` yields training rows in an order that the seed alone decides; `evaluate_bpb` scores the same tokens
whatever the training batch is. It does not know the model and holds nothing that a search may tune.

Where the text comes from:
- BILEVEL_DATA unset: the source files of the running Python's standard library, as bytes. No download, no preparation.
- BILEVEL_DATA=DIR: parquet shards with a `text` column (needs pyarrow), or .txt and .md files if there is no shard. A
  BPE vocabulary is trained once on the training documents (needs tokenizers) and the encoded splits are kept in
  $XDG_CACHE_HOME/bilevel or ~/.cache/bilevel. `python prepare.py` does that ahead of the first trial, with progress.
"""

import contextlib
import fcntl
import hashlib
import itertools
import json
import math
import os
import shutil
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:  # imported where it is needed: training on bytes does without
    from tokenizers import Tokenizer

MAX_SEQ_LEN = 2048  # tokens in one row, in training and in evaluation
TIME_BUDGET = 300  # seconds of training
FLOP_BUDGET = None  # a number: training stops after that many estimated FLOPs, whatever TIME_BUDGET says
EVAL_TOKENS = 40 * 2**19  # tokens that an evaluation scores (all of the split where it is shorter)
EVAL_BATCH_TOKENS = 2**16  # tokens in one forward pass of the evaluation
DATA_BYTES = 2**32  # at most this many bytes of text are read, over all splits
VOCAB_SIZE = 8192  # tokens of the BPE vocabulary, the document separator among them

SPLITS = ("train", "validation", "held_out")
FORMAT = 1  # raise it when the split rule or the files of the cache change: older caches are then left alone
TOKENIZER_BYTES = 2**28  # the BPE vocabulary is learned from at most this many bytes of training text
TEXT_PIECE_BYTES = 2**16  # a text file is cut into documents of about this size, at line ends


@dataclass(frozen=True)
class Corpus:
    """The encoded splits: `tokens[split]` is one long uint16 array of documents, each after a separator token.

    `token_bytes[i]` is how many bytes of text token i stands for; 0 for the separator, which no evaluation counts.
    """

    tokens: Mapping[str, np.ndarray]
    token_bytes: np.ndarray

    @property
    def vocab_size(self) -> int:
        return len(self.token_bytes)


def load_corpus() -> Corpus:
    """The corpus that BILEVEL_DATA names, else the standard library's. Prepares and caches it first where needed."""
    directory = os.environ.get("BILEVEL_DATA")
    return load_encoded(Path(directory)) if directory else byte_corpus(standard_library())


def split_of(document: bytes) -> str:
    """The split of a document, by its content: equal documents never lie on both sides of a split."""
    share = int.from_bytes(hashlib.blake2b(document, digest_size=8).digest(), "big") / 2**64
    return "train" if share < 0.90 else "validation" if share < 0.95 else "held_out"


# ---------------------------------------------------------------------- the default: source files as bytes


def standard_library() -> Iterator[bytes]:
    """The standard library's modules in a fixed order, without its tests and without what was installed beside it."""
    root = Path(sysconfig.get_path("stdlib"))
    skipped = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test"}
    paths = []
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if name not in skipped]
        paths += [Path(folder, file) for file in files if file.endswith(".py")]
    # Links lead out of the library on some systems.
    for path in sorted(path for path in paths if not path.is_symlink()):
        yield path.read_bytes()


def byte_corpus(documents: Iterable[bytes]) -> Corpus:
    """Every byte a token (0 to 255), token 256 the separator."""
    separator = np.array([256], dtype=np.uint16)
    pieces: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
    for document in take_bytes(documents):
        pieces[split_of(document)] += [separator, np.frombuffer(document, dtype=np.uint8).astype(np.uint16)]
    tokens = {split: np.concatenate(parts) for split, parts in pieces.items() if parts}
    require_rows({split: len(tokens.get(split, ())) for split in SPLITS}, "the standard library")
    return Corpus(tokens, np.array([1] * 256 + [0]))


def take_bytes(documents: Iterable[bytes]) -> Iterator[bytes]:
    """Documents that hold anything, until DATA_BYTES are reached."""
    left = DATA_BYTES
    for document in documents:
        if len(document) > left:
            return
        left -= len(document)
        if document:
            yield document


def require_rows(lengths: dict[str, int], source: str) -> None:
    """Ends the run with a sentence when a split is too short for a single row."""
    for split, length in lengths.items():
        if length <= MAX_SEQ_LEN:
            sys.exit(
                f"The {split} split of {source} holds {length} tokens, too few for a row of {MAX_SEQ_LEN} and its last "
                "target: give more text (BILEVEL_DATA) or a smaller MAX_SEQ_LEN."
            )


# ---------------------------------------------------------------------- BILEVEL_DATA: a BPE vocabulary, cached


def data_files(directory: Path) -> list[Path]:
    """The parquet shards below the directory, else its text files, by name."""
    if not directory.is_dir():
        sys.exit(f"BILEVEL_DATA is {directory}, which is not a directory: name one with parquet shards or text files.")
    for suffixes in ({".parquet"}, {".txt", ".md"}):
        found = sorted(path for path in directory.rglob("*") if path.suffix in suffixes and path.is_file())
        if found:
            return found
    sys.exit(f"BILEVEL_DATA is {directory}, which holds no .parquet, .txt or .md file.")


def documents_in(files: list[Path]) -> Iterator[bytes]:
    """The documents of the files in order: a row of a shard is one, a text file gives one per TEXT_PIECE_BYTES."""
    for path in files:
        if path.suffix == ".parquet":
            yield from parquet_documents(path)
        else:
            with path.open("rb") as file:
                while piece := file.read(TEXT_PIECE_BYTES):
                    yield piece + file.readline(TEXT_PIECE_BYTES)


def parquet_documents(path: Path) -> Iterator[bytes]:
    """The `text` column of a shard, a few rows in memory at a time."""
    try:
        from pyarrow import parquet
    except ImportError:
        sys.exit("Reading parquet shards needs pyarrow: pip install pyarrow.")
    shard = parquet.ParquetFile(path)
    if "text" not in shard.schema_arrow.names:
        sys.exit(f"{path} has no column `text`; it has {', '.join(shard.schema_arrow.names)}.")
    for batch in shard.iter_batches(batch_size=1024, columns=["text"]):
        yield from (text.encode() for text in batch.column(0).to_pylist() if text)


def load_encoded(directory: Path) -> Corpus:
    """The encoded splits of a directory from the cache, which is filled first by whoever comes first."""
    files = data_files(directory)
    listing = [[str(path.relative_to(directory)), path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    key = hashlib.sha256(json.dumps([FORMAT, DATA_BYTES, VOCAB_SIZE, TOKENIZER_BYTES, listing]).encode()).hexdigest()[
        :16
    ]
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bilevel"
    cache = home / key
    if not cache.is_dir():
        home.mkdir(parents=True, exist_ok=True)
        with locked(home / f"{key}.lock"):
            if not cache.is_dir():  # another process may have filled it while this one waited
                fill_cache(cache, files)
    encoded = {split: cache / f"{split}.bin" for split in SPLITS}
    require_rows({split: path.stat().st_size // 2 for split, path in encoded.items()}, str(directory))
    tokens = {split: np.memmap(path, dtype=np.uint16, mode="r") for split, path in encoded.items()}
    return Corpus(tokens, np.load(cache / "token_bytes.npy"))


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds an exclusive lock on the file; the kernel frees it when the process ends, however it ends."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("another process prepares this data; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def fill_cache(cache: Path, files: list[Path]) -> None:
    """Trains the vocabulary, encodes every document and puts the finished folder in place in one step."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{cache.name}-", dir=cache.parent))
    try:
        tokenizer = train_tokenizer(files)
        tokenizer.save(str(scratch / "tokenizer.json"))
        separator = tokenizer.get_vocab_size()
        # In a byte-level vocabulary a token is spelled with one character a byte.
        lengths = [len(tokenizer.id_to_token(token)) for token in range(separator)]
        np.save(scratch / "token_bytes.npy", np.array([*lengths, 0]))
        encode_splits(tokenizer, separator, files, scratch)
        scratch.rename(cache)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def train_tokenizer(files: list[Path]) -> "Tokenizer":
    """A byte-level BPE vocabulary of at most VOCAB_SIZE - 1 tokens. No text can spell the separator, which is none."""
    try:
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    except ImportError:
        sys.exit("Training a BPE vocabulary needs tokenizers: pip install tokenizers.")

    def training_texts() -> Iterator[str]:
        left = TOKENIZER_BYTES
        for document in report("learning the vocabulary", take_bytes(documents_in(files))):
            if split_of(document) == "train":
                left -= len(document)
                yield document.decode(errors="replace")
            if left <= 0:
                return

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE - 1, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False
    )
    tokenizer.train_from_iterator(training_texts(), trainer)
    return tokenizer


def encode_splits(tokenizer: "Tokenizer", separator: int, files: list[Path], folder: Path) -> None:
    """Writes train.bin, validation.bin and held_out.bin: uint16 as in memory, each document after a separator."""
    with contextlib.ExitStack() as stack:
        files_out = {split: stack.enter_context((folder / f"{split}.bin").open("wb")) for split in SPLITS}
        documents = report("encoding", take_bytes(documents_in(files)))
        while batch := list(itertools.islice(documents, 1024)):
            encoded = tokenizer.encode_batch_fast([document.decode(errors="replace") for document in batch])
            for document, encoding in zip(batch, encoded, strict=True):
                files_out[split_of(document)].write(np.array([separator, *encoding.ids], dtype=np.uint16).tobytes())


def report(label: str, documents: Iterable[bytes]) -> Iterator[bytes]:
    """Passes the documents on and says about once a second how far it is."""
    count = size = 0
    last = time.monotonic()
    for document in documents:
        yield document
        count, size = count + 1, size + len(document)
        if time.monotonic() - last >= 1:
            print(f"{label}: {count:,} documents, {size / 1e6:,.1f} MB", end="\r", flush=True)
            last = time.monotonic()
    print(f"{label}: {count:,} documents, {size / 1e6:,.1f} MB", flush=True)


# ---------------------------------------------------------------------- rows for training


def rows(
    corpus: Corpus, batch_size: int, seed: int, device: torch.device
) -> Iterator[tuple[torch.Tensor, torch.Tensor, int]]:
    """Endless (inputs, targets, epoch) from the training split: int64 [batch_size, MAX_SEQ_LEN] twice, epoch from 1.

    Each epoch cuts the split anew, at an offset of its own, and shuffles the rows. The order of the rows depends on
    the seed alone: a larger batch takes the same rows, more at a time.
    """
    tokens = corpus.tokens["train"]
    order = shuffled_rows(len(tokens), seed)
    while True:
        drawn = [next(order) for _ in range(batch_size)]
        window = np.stack([tokens[start : start + MAX_SEQ_LEN + 1] for start, _ in drawn]).astype(np.int64)
        inputs, targets = to_device(window, device)
        yield inputs, targets, drawn[-1][1]


def shuffled_rows(length: int, seed: int) -> Iterator[tuple[int, int]]:
    """Endless (start of a row, epoch)."""
    random = np.random.default_rng(seed)
    epoch = 1
    while True:
        offset = int(random.integers(min(MAX_SEQ_LEN, length - MAX_SEQ_LEN)))
        starts = np.arange(offset, length - MAX_SEQ_LEN, MAX_SEQ_LEN)
        for start in random.permutation(starts):
            yield int(start), epoch
        epoch += 1


def to_device(window: np.ndarray, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """[rows, MAX_SEQ_LEN + 1] tokens as inputs and next-token targets on the device, both [rows, MAX_SEQ_LEN]."""
    whole = torch.from_numpy(window)
    if device.type == "cuda":
        whole = whole.pin_memory().to(device, non_blocking=True)
    return whole[:, :-1].contiguous(), whole[:, 1:].contiguous()


# ---------------------------------------------------------------------- evaluation


@torch.no_grad()
def evaluate_bpb(
    nats: Callable[[torch.Tensor, torch.Tensor], torch.Tensor], corpus: Corpus, split: str, device: torch.device
) -> float:
    """Bits per byte of a split: the sum of the targets' nats over ln 2 and over the bytes that the targets stand for.

    `nats(inputs, targets)` gives the loss of every target: [rows, MAX_SEQ_LEN] in natural units. About EVAL_TOKENS
    targets are scored, in rows spread evenly over the split. Separators stand for no byte: neither sum counts them.
    """
    tokens = corpus.tokens[split]
    count = min(max(1, EVAL_TOKENS // MAX_SEQ_LEN), (len(tokens) - 1) // MAX_SEQ_LEN)
    size = max(1, EVAL_BATCH_TOKENS // MAX_SEQ_LEN)
    if count > size:
        count -= count % size  # whole batches only: a batch of another shape would be compiled anew
    starts = np.linspace(0, len(tokens) - MAX_SEQ_LEN - 1, count).astype(np.int64)
    token_bytes = torch.from_numpy(corpus.token_bytes).to(device)
    total_nats, total_bytes = 0.0, 0
    for first in range(0, count, size):
        window = np.stack([tokens[start : start + MAX_SEQ_LEN + 1] for start in starts[first : first + size]])
        inputs, targets = to_device(window.astype(np.int64), device)
        spelled = token_bytes[targets]
        total_nats += (nats(inputs, targets).double() * (spelled > 0)).sum().item()
        total_bytes += int(spelled.sum())
    return total_nats / (math.log(2) * total_bytes)


# ---------------------------------------------------------------------- the device


def peak_flops(device: torch.device) -> float:
    """Dense bf16 FLOPs a second that the maker states for the device; 0.0 where unknown, and on a CPU."""
    if device.type != "cuda":
        return 0.0
    # A name is matched by the first entry that it contains.
    stated = {
        "B200": 2.25e15,
        "H200": 989e12,
        "H100 PCIe": 756e12,
        "H100": 989e12,
        "A100": 312e12,
        "L40S": 362e12,
        "RTX 4090": 165e12,
    }
    name = torch.cuda.get_device_name(device)
    return next((value for part, value in stated.items() if part in name), 0.0)


if __name__ == "__main__":
    corpus = load_corpus()
    sizes = ", ".join(f"{split} {len(corpus.tokens[split]):,}" for split in SPLITS)
    print(f"vocabulary {corpus.vocab_size}; tokens: {sizes}")
