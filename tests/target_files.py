"""A small target for tests: a script with a block of constants, a fixed file, and a target.toml to vary."""

from pathlib import Path

TRAIN = '''\
"""A script that trains nothing."""
from prepare import LENGTH, TIME_BUDGET

DEPTH = 2  # layers
BATCH = 2**14  # tokens in a step
RATE = 0.5  # of learning
BETAS = (0.8, 0.95)  # decays
PATTERN = "SL"  # windows
FUSED = True
WARMUP = 0.1
NOT_SEARCHED = 3

print("---")
print(f"val_bpb:          {RATE * BATCH:.6f}")
'''

PREPARE = """\
TIME_BUDGET = 300  # seconds
FLOP_BUDGET = None
LENGTH = 2048  # tokens in a row
"""

TARGET = """\
name = "small"
command = ["{python}", "-u", "train.py"]
searched = "train.py"
fixed = ["prepare.py"]
[metric]
name = "val_bpb"
direction = "minimize"
[seed]
env = "BILEVEL_SEED"
[budget]
seconds = "prepare.py:TIME_BUDGET"
flops = "prepare.py:FLOP_BUDGET"
[limits]
startup = 30
[environment]
BOTH = "1"
[parameters.DEPTH]
kind = "int"
low = 1
high = 8
locked = true
[parameters.BATCH]
kind = "int"
low = 512
high = 65536
log = true
[parameters.RATE]
kind = "float"
low = 0.01
high = 5
[parameters.BETAS]
kind = "tuple"
low = [0.5, 0.8]
high = [0.99, 0.999]
[parameters.PATTERN]
kind = "choice"
choices = ["SL", "L", "S"]
[parameters.FUSED]
kind = "choice"
[[constraints]]
expr = "BATCH % LENGTH == 0"
why = "a step holds whole rows"
[profile.cpu]
seconds = 8
[profile.cpu.initial]
DEPTH = 1
[profile.cpu.constants]
"prepare.py:LENGTH" = 128
[profile.cpu.parameters.BATCH]
low = 256
[profile.cpu.environment]
OMP_NUM_THREADS = "1"
[profile.cuda]
seconds = 300
[profile.exact]
flops = 1e9
"""


def write_target(folder: Path, target: str = TARGET, train: str = TRAIN, prepare: str = PREPARE) -> Path:
    """The three files in `folder`, which is made."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("target.toml", target), ("train.py", train), ("prepare.py", prepare)):
        (folder / name).write_bytes(text.encode())
    return folder
