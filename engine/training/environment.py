"""What a trainer inherits from the engine: a short list, and no secret.

The engine's environment may hold the key of a model endpoint, and a training script is code that a search changes. So a
trainer gets the variables that a training run is known to need, and what its target states.
"""

import os
import re
from collections.abc import Mapping

from engine.errors import InputError

INHERITED = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|LD_LIBRARY_PATH|XDG_CACHE_HOME|VIRTUAL_ENV|CONDA_PREFIX"
    r"|(CUDA|NVIDIA|NCCL|HIP|ROCR|TORCH|TORCHINDUCTOR|PYTORCH|TRITON)_\w+|(OMP|MKL|OPENBLAS)_NUM_THREADS"
    r"|HF_HOME|HF_DATASETS_CACHE|BILEVEL_DATA"
)
# TOKENIZERS_PARALLELISM is common and no secret.
SECRET = re.compile(r"API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|TOKEN(?!IZ)|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)


def trainer_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The environment of a trainer: what it may inherit from this process, and `extra`, which wins.

    Raises InputError when `extra` holds a variable whose name is a secret's: a training script is given none.
    """
    for name in extra:
        if SECRET.search(name):
            raise InputError(f"the target's environment sets {name}: secrets are not handed to a trainer; remove it")
    inherited = {
        name: value for name, value in os.environ.items() if INHERITED.fullmatch(name) and not SECRET.search(name)
    }
    return inherited | dict(extra)
