"""Trains a small GPT for a fixed budget and prints what it reached in bits per byte (val_bpb, lower is better).

One file for CUDA (bf16, compiled) and for a CPU (fp32). The constants below are what a search changes; data, budget and
evaluation are fixed in prepare.py. The environment gives BILEVEL_SEED (default 42) and BILEVEL_HELD_OUT=1, which scores
the held-out split as well. Exit code 1 and the line FAIL when the loss is no number or exceeds 100.
"""

import math
import os
import sys
import time
from typing import NoReturn

import torch
import torch.nn.functional as F  # noqa: N812  (the usual name)
from prepare import FLOP_BUDGET, MAX_SEQ_LEN, TIME_BUDGET, evaluate_bpb, load_corpus, peak_flops, rows
from torch import Tensor, nn

# ---------------------------------------------------------------------- constants: what the search changes

# The model. Its width is DEPTH * ASPECT_RATIO.
DEPTH = 8  # transformer layers
ASPECT_RATIO = 64  # width of the model per layer of depth
HEAD_DIM = 128  # width of one attention head; divides the model's width
WINDOW_PATTERN = "SSSL"  # attention by layer, repeated: S sees half the sequence, L all of it; the last layer is L

# Batches.
TOTAL_BATCH_SIZE = 2**19  # tokens per optimizer step; a smaller one makes more steps in the same budget
DEVICE_BATCH_SIZE = 128  # rows in one pass; passes add up their gradients until TOTAL_BATCH_SIZE tokens are seen

# Optimizers. Each rate is the peak of its schedule.
EMBEDDING_LR = 0.6  # AdamW's rate for token and value embeddings; times sqrt(768 / width)
UNEMBEDDING_LR = 0.004  # AdamW's rate for the matrix from the last layer to the logits; times sqrt(768 / width)
MATRIX_LR = 0.04  # Muon's rate for every matrix inside the layers
SCALAR_LR = 0.5  # AdamW's rate for the per-layer scalars: x0_lambdas; resid_lambdas at a hundredth of it
WEIGHT_DECAY = 0.2  # pull of Muon's matrices towards zero, times their rate; itself falls to 0 over the run
ADAM_BETAS = (0.8, 0.95)  # AdamW's decay of its mean gradient and of its mean squared gradient

# Schedule of all learning rates, in fractions of the budget.
WARMUP_RATIO = 0.0  # first part of the run, in which the rates rise from 0
WARMDOWN_RATIO = 0.5  # last part of the run, in which the rates fall
FINAL_LR_FRAC = 0.0  # where the rates end, as a fraction of their peak

# ---------------------------------------------------------------------- model


def rms_norm(x: Tensor) -> Tensor:
    return F.rms_norm(x, (x.size(-1),))


def rotary_tables(length: int, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines [length, 1, head_dim / 2] of rotary position embeddings (RoFormer, arXiv 2104.09864)."""
    frequencies = 10000.0 ** (-torch.arange(0, head_dim, 2) / head_dim)
    angles = torch.outer(torch.arange(length).float(), frequencies)[:, None, :]
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns each pair (i, i + half) of a head's channels by its position's angle. x: [batch, time, heads, head_dim]."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos + second * sin, second * cos - first * sin), dim=-1).to(x.dtype)


def layer_windows(depth: int, pattern: str, length: int) -> list[int]:
    """How many tokens each layer's attention reaches, the token itself included."""
    reach = {"S": max(1, length // 2), "L": length}
    return [*(reach[pattern[layer % len(pattern)]] for layer in range(depth - 1)), length]


def window_mask(length: int, window: int) -> Tensor:
    """[length, length], true where a query (row) may see a key (column): not ahead of it, less than `window` behind."""
    distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    return (distance >= 0) & (distance < window)


class Attention(nn.Module):
    """Causal attention with rotary positions and normalised queries and keys, within a sliding window.

    In layers with value embeddings each token adds a vector of its own to the values, through a gate per head.
    """

    GATE_CHANNELS = 32  # the gate reads this many channels of the stream

    def __init__(self, width: int, window: int, with_value_embedding: bool) -> None:
        super().__init__()
        self.heads = width // HEAD_DIM
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(min(width, self.GATE_CHANNELS), self.heads, bias=False) if with_value_embedding else None
        # A full window needs no mask, and then the fastest kernels serve.
        self.register_buffer(
            "mask", window_mask(MAX_SEQ_LEN, window) if window < MAX_SEQ_LEN else None, persistent=False
        )

    def forward(self, x: Tensor, value_embedding: Tensor | None, cos: Tensor, sin: Tensor) -> Tensor:
        batch, length, width = x.shape
        heads = (batch, length, self.heads, HEAD_DIM)
        query, key, value = self.query(x).view(heads), self.key(x).view(heads), self.value(x).view(heads)
        if self.gate is not None:
            gate = 2 * torch.sigmoid(self.gate(x[..., : self.gate.in_features]))  # 1 at the start
            value = value + gate[..., None] * value_embedding.view(heads)
        query, key = rms_norm(rotate(query, cos, sin)), rms_norm(rotate(key, cos, sin))
        query, key, value = query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2)
        mask = None if self.mask is None else self.mask[:length, :length]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
        return self.out(mixed.transpose(1, 2).reshape(batch, length, width))


class Layer(nn.Module):
    """Attention, then an MLP with squared ReLU (Primer, arXiv 2109.08668); both read the normalised stream."""

    def __init__(self, width: int, window: int, with_value_embedding: bool) -> None:
        super().__init__()
        self.attention = Attention(width, window, with_value_embedding)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)

    def forward(self, x: Tensor, value_embedding: Tensor | None, cos: Tensor, sin: Tensor) -> Tensor:
        x = x + self.attention(rms_norm(x), value_embedding, cos, sin)
        return x + self.down(F.relu(self.up(rms_norm(x))).square())


class GPT(nn.Module):
    """Token embedding, DEPTH layers, logits capped softly at ±15.

    Before each layer the stream x becomes resid_lambda * x + x0_lambda * x0, x0 being the normalised token embedding.
    Every second layer has value embeddings, the last one always.
    """

    def __init__(self, vocab_size: int) -> None:
        super().__init__()
        width = DEPTH * ASPECT_RATIO
        if width % HEAD_DIM or HEAD_DIM % 2:
            sys.exit(f"HEAD_DIM = {HEAD_DIM} must be even and divide the width, DEPTH * ASPECT_RATIO = {width}.")
        self.windows = layer_windows(DEPTH, WINDOW_PATTERN, MAX_SEQ_LEN)
        valued = [layer for layer in range(DEPTH) if (DEPTH - 1 - layer) % 2 == 0]
        self.embedding = nn.Embedding(vocab_size, width)
        self.value_embeddings = nn.ModuleDict({str(layer): nn.Embedding(vocab_size, width) for layer in valued})
        self.layers = nn.ModuleList(Layer(width, window, i in valued) for i, window in enumerate(self.windows))
        self.unembedding = nn.Linear(width, vocab_size, bias=False)
        self.resid_lambdas = nn.Parameter(torch.ones(DEPTH))
        self.x0_lambdas = nn.Parameter(torch.full((DEPTH,), 0.1))
        cos, sin = rotary_tables(MAX_SEQ_LEN, HEAD_DIM)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.init_weights(width)

    @torch.no_grad()
    def init_weights(self, width: int) -> None:
        """Each layer starts as the identity (its output matrices are zero) and the logits start near zero."""
        bound = math.sqrt(3 / width)  # a uniform distribution of standard deviation 1 / sqrt(width)
        nn.init.normal_(self.embedding.weight)
        nn.init.normal_(self.unembedding.weight, std=0.001)
        for table in self.value_embeddings.values():
            nn.init.uniform_(table.weight, -bound, bound)
        for layer in self.layers:
            attention = layer.attention
            for matrix in (attention.query, attention.key, attention.value, layer.up):
                nn.init.uniform_(matrix.weight, -bound, bound)
            for matrix in (attention.out, layer.down, attention.gate):
                if matrix is not None:
                    nn.init.zeros_(matrix.weight)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """The loss of every target in nats. tokens, targets: int64 [batch, time]; result: fp32 [batch, time]."""
        cos, sin = self.cos[: tokens.size(1)], self.sin[: tokens.size(1)]
        x = x0 = rms_norm(self.embedding(tokens))
        for i, layer in enumerate(self.layers):
            x = self.resid_lambdas[i] * x + self.x0_lambdas[i] * x0
            value_embedding = self.value_embeddings[str(i)](tokens) if str(i) in self.value_embeddings else None
            x = layer(x, value_embedding, cos, sin)
        logits = self.unembedding(rms_norm(x)).float()
        logits = 15 * torch.tanh(logits / 15)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view(targets.shape)

    def flops_per_token(self) -> float:
        """FLOPs of training on one token: 6 per weight that multiplies it, and 12 per channel and token attended to."""
        tables = [self.embedding, *self.value_embeddings.values()]
        weights = sum(p.numel() for p in self.parameters() if p.dim() == 2) - sum(t.weight.numel() for t in tables)
        return 6 * weights + 12 * self.embedding.embedding_dim * sum(self.windows)


# ---------------------------------------------------------------------- optimizers


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """The nearest (semi-)orthogonal matrices, roughly, by Newton-Schulz iteration. matrices: [count, rows, columns]."""
    a, b, c = 3.4445, -4.7750, 2.0315  # the quintic's coefficients, chosen for a steep slope at 0 (Jordan 2024, Muon)
    x = matrices.bfloat16() if matrices.is_cuda else matrices
    tall = x.size(-2) > x.size(-1)
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum whose step is orthogonalized, for matrices (Jordan 2024, https://kellerjordan.github.io/posts/muon).

    Matrices of one shape form a group and are stepped together. Weight decay is decoupled, as in AdamW.
    """

    def __init__(self, matrices: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        shapes = sorted({matrix.shape for matrix in matrices})
        groups = [{"params": [matrix for matrix in matrices if matrix.shape == shape]} for shape in shapes]
        super().__init__(groups, {"lr": lr, "weight_decay": weight_decay, "momentum": 0.95})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            matrices = group["params"]
            gradient = torch.stack([matrix.grad for matrix in matrices])
            state = self.state[matrices[0]]
            if "mean" not in state:
                state["mean"] = torch.zeros_like(gradient)
            mean = state["mean"].lerp_(gradient, 1 - group["momentum"])
            update = orthogonalize(gradient.lerp(mean, group["momentum"]))  # Nesterov's look ahead
            rate = group["lr"] * max(1.0, update.size(-2) / update.size(-1)) ** 0.5
            torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(matrices, list(update.unbind()), alpha=-rate)


def make_optimizers(model: GPT) -> list[torch.optim.Optimizer]:
    """Muon for the matrices in the layers, AdamW for the rest. Each group keeps its peak rate as `peak_lr`."""
    scale = (model.embedding.embedding_dim / 768) ** -0.5
    tables = [model.embedding.weight, *(table.weight for table in model.value_embeddings.values())]
    groups = [
        {"params": tables, "lr": EMBEDDING_LR * scale},
        {"params": [model.unembedding.weight], "lr": UNEMBEDDING_LR * scale},
        {"params": [model.resid_lambdas], "lr": SCALAR_LR * 0.01},
        {"params": [model.x0_lambdas], "lr": SCALAR_LR, "betas": (0.96, 0.95)},
    ]
    fused = model.embedding.weight.is_cuda
    adam = torch.optim.AdamW(groups, betas=ADAM_BETAS, eps=1e-10, weight_decay=0.0, fused=fused)
    muon = Muon(list(model.layers.parameters()), lr=MATRIX_LR, weight_decay=WEIGHT_DECAY)
    for optimizer in (adam, muon):
        for group in optimizer.param_groups:
            group["peak_lr"] = group["lr"]
    return [adam, muon]


# ---------------------------------------------------------------------- schedule


def lr_multiplier(progress: float) -> float:
    """The factor of every learning rate at a progress of 0 to 1: rises over WARMUP_RATIO, falls over WARMDOWN_RATIO."""
    if progress < WARMUP_RATIO:
        return progress / WARMUP_RATIO
    if progress <= 1 - WARMDOWN_RATIO:
        return 1.0
    left = (1 - min(progress, 1.0)) / WARMDOWN_RATIO
    return left + (1 - left) * FINAL_LR_FRAC


def set_schedule(optimizers: list[torch.optim.Optimizer], step: int, progress: float) -> float:
    """Sets the rates, Muon's momentum (0.85 to 0.95 in 300 steps) and weight decay (to 0). Returns the factor."""
    factor = lr_multiplier(progress)
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
            if isinstance(optimizer, Muon):
                group["momentum"] = 0.85 + 0.10 * min(1.0, step / 300)
                group["weight_decay"] = WEIGHT_DECAY * (1 - min(progress, 1.0))
    return factor


# ---------------------------------------------------------------------- loop


class Run:
    """One training run: the model, what it has used of its budget, and the loop."""

    def __init__(self, device: torch.device, seed: int) -> None:
        torch.manual_seed(seed)
        self.device = device
        self.corpus = load_corpus()
        self.model = GPT(self.corpus.vocab_size).to(device)
        self.optimizers = make_optimizers(self.model)
        self.nats = torch.compile(self.model, dynamic=False) if device.type == "cuda" else self.model
        self.batches = rows(self.corpus, DEVICE_BATCH_SIZE, seed, device)
        self.passes, rest = divmod(TOTAL_BATCH_SIZE, DEVICE_BATCH_SIZE * MAX_SEQ_LEN)
        if rest or not self.passes:
            sys.exit("TOTAL_BATCH_SIZE must be a multiple of DEVICE_BATCH_SIZE * MAX_SEQ_LEN.")
        self.step_flops = self.model.flops_per_token() * TOTAL_BATCH_SIZE
        self.free_steps = 10 if device.type == "cuda" else 0  # compilation is not charged to the budget
        self.steps = 0
        self.seconds = 0.0  # charged to the budget
        self.mean_loss = 0.0  # smoothed over steps, for the progress line

    def progress(self) -> float:
        """The part of the budget that is used, from 0."""
        if FLOP_BUDGET is not None:
            return self.steps * self.step_flops / FLOP_BUDGET
        return self.seconds / TIME_BUDGET

    def mfu(self, flops: float, seconds: float) -> float:
        """Percent of the device's stated peak; 0.0 where that is unknown."""
        peak = peak_flops(self.device)
        return 100 * flops / (seconds * peak) if peak and seconds else 0.0

    def train(self) -> None:
        """Steps until the budget is used."""
        while self.progress() < 1:
            start = time.perf_counter()
            factor = set_schedule(self.optimizers, self.steps, self.progress())
            loss, epoch = self.step()
            if not loss <= 100:  # true for NaN as well
                fail()
            seconds = time.perf_counter() - start
            self.steps += 1
            if self.steps > self.free_steps:
                self.seconds += seconds
            self.print_progress(loss, factor, seconds, epoch)

    def step(self) -> tuple[float, int]:
        """One optimizer step over TOTAL_BATCH_SIZE tokens. Returns the mean loss in nats and the epoch."""
        total = torch.zeros((), device=self.device)
        for _ in range(self.passes):
            inputs, targets, epoch = next(self.batches)
            with autocast(self.device):
                loss = self.nats(inputs, targets).mean() / self.passes
            loss.backward()
            total += loss.detach()
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad()
        return total.item(), epoch  # item() waits for the device, so the caller's clock is right

    def print_progress(self, loss: float, factor: float, seconds: float, epoch: int) -> None:
        self.mean_loss = 0.9 * self.mean_loss + 0.1 * loss
        smooth = self.mean_loss / (1 - 0.9**self.steps)
        done = min(1.0, self.progress())
        remaining = TIME_BUDGET - self.seconds if FLOP_BUDGET is None else self.seconds * (1 - done) / done
        print(
            f"step {self.steps:05d} ({100 * done:.1f}%) | loss: {smooth:.6f} | lrm: {factor:.2f} | "
            f"dt: {1000 * seconds:.0f}ms | tok/sec: {TOTAL_BATCH_SIZE / seconds:,.0f} | "
            f"mfu: {self.mfu(self.step_flops, seconds):.1f}% | epoch: {epoch} | remaining: {max(0.0, remaining):.0f}s ",
            end="\r",
            flush=True,
        )

    def evaluate(self, split: str) -> float:
        """Bits per byte of a split."""
        with autocast(self.device):
            bpb = evaluate_bpb(self.nats, self.corpus, split, self.device)
        if not math.isfinite(bpb):  # the last step diverged
            fail()
        return bpb


def fail() -> NoReturn:
    """Ends a run that diverged."""
    print("\nFAIL", flush=True)
    sys.exit(1)


def autocast(device: torch.device) -> torch.autocast:
    """bf16 on CUDA, plain fp32 on a CPU."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")


# ---------------------------------------------------------------------- final block


def main() -> None:
    start = time.perf_counter()
    threads = os.environ.get("OMP_NUM_THREADS")
    if threads:
        torch.set_num_threads(int(threads))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32 where autocast leaves fp32
    run = Run(device, seed=int(os.environ.get("BILEVEL_SEED", "42")))
    run.train()
    print()
    charged = max(0, run.steps - run.free_steps)
    result = {
        "val_bpb": f"{run.evaluate('validation'):.6f}",
        "training_seconds": f"{run.seconds:.1f}",
        "total_seconds": f"{time.perf_counter() - start:.1f}",
        "peak_vram_mb": f"{torch.cuda.max_memory_allocated() / 2**20 if device.type == 'cuda' else 0.0:.1f}",
        "mfu_percent": f"{run.mfu(charged * run.step_flops, run.seconds):.2f}",
        "total_tokens_M": f"{run.steps * TOTAL_BATCH_SIZE / 1e6:.3f}",
        "num_steps": f"{run.steps}",
        "num_params_M": f"{sum(p.numel() for p in run.model.parameters()) / 1e6:.3f}",
        "depth": f"{DEPTH}",
    }
    if os.environ.get("BILEVEL_HELD_OUT") == "1":
        result["held_out_bpb"] = f"{run.evaluate('held_out'):.6f}"
    print("---")
    for name, value in result.items():
        print(f"{name + ':':<18}{value}")


if __name__ == "__main__":
    main()
