"""What this machine can train on, found out without importing torch here: that happens in a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TORCH_SECONDS = 90.0
"""Importing torch takes seconds on a cold disk."""
_SMI_SECONDS = 10.0
_PROBE = """
import json, torch
cuda = torch.cuda.is_available()
told = {"version": torch.__version__, "cuda": cuda}
if cuda:
    told["device"] = torch.cuda.get_device_name(0)
    told["memory_gb"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Torch:
    """The torch that a training script would get: `error` says why there is none, in one line."""

    version: str = ""
    cuda: bool = False
    device: str = ""
    memory_gb: float = 0.0
    error: str = ""


def has_nvidia_device() -> bool:
    """Whether there is an NVIDIA device at all, which costs no import: its device file, or what nvidia-smi lists."""
    if Path("/dev/nvidiactl").exists():
        return True
    if shutil.which("nvidia-smi") is None:
        return False
    try:
        found = subprocess.run(
            ["nvidia-smi", "-L"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SMI_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return found.returncode == 0 and "GPU" in found.stdout


def probe_torch(python: str = sys.executable, timeout: float = TORCH_SECONDS) -> Torch:
    """Import torch in a process of its own and see what it can do."""
    kept_back = ("API_KEY", "PYTHONIOENCODING")  # a secret; what would have it answer in another encoding
    environment = {name: value for name, value in os.environ.items() if not name.endswith(kept_back)}
    try:
        found = subprocess.run(
            [python, "-P", "-c", _PROBE],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return Torch(error=f"importing torch took more than {timeout:.0f} s")
    except OSError as error:
        return Torch(error=f"{python} cannot be run: {error.strerror}")
    if found.returncode != 0:
        lines = found.stderr.strip().splitlines()
        return Torch(error=lines[-1][:200] if lines else f"exit code {found.returncode}")
    return Torch(**json.loads(found.stdout.splitlines()[-1]))
