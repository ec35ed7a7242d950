"""What a hostile mechanism proposes never becomes more of the script than the values of its parameters."""

import ast

import pytest
from mechanism_hosts import SPACE, HostMaker, doing, host_of, state

from engine.mechanism.failures import WrongAnswer
from engine.search.script import changed_constants, write_values

__all__ = ["host_of"]
SCRIPT = "import os\n\n" + "".join(
    f"{name} = {tuple(value) if isinstance(value, list) else value!r}\n" for name, value in SPACE.initial.items()
)


async def script_after(host_of: HostMaker, suggestion: str) -> tuple[str, str]:
    """The script with what a host suggested, and why it was refused, where it was."""
    host = host_of(doing(f"return [{suggestion}]", hook="suggest(self, view)"))
    await host.start()
    try:
        (suggested,) = await host.call("suggest", state(incumbent=None), {}, trial=1)
        return write_values(SCRIPT, SPACE.clean(suggested["changes"], SPACE.initial, ("WARMUP_RATIO",))), ""
    except (WrongAnswer, ValueError) as error:
        return SCRIPT, str(error)


@pytest.mark.parametrize(
    ("suggestion", "said"),
    [
        ('{"changes": {"MATRIX_LR": "0.1"}, "why": "w"}', "MATRIX_LR"),
        ('{"changes": {"MATRIX_LR": True}, "why": "w"}', "MATRIX_LR"),
        ('{"changes": {"MATRIX_LR": 1e9}, "why": "w"}', "MATRIX_LR"),
        ('{"changes": {"MATRIX_LR": float("nan")}, "why": "w"}', "not finite"),
        ('{"changes": {"DEVICE_BATCH_SIZE": 2.5}, "why": "w"}', "DEVICE_BATCH_SIZE"),
        ('{"changes": {"DEVICE_BATCH_SIZE": 10**30}, "why": "w"}', "64 bits"),
        ('{"changes": {"MATRIX_LR": "__import__(\'os\').system(\'id\')"}, "why": "w"}', "MATRIX_LR"),
        ('{"changes": {"HEAD_DIM": "32)\\nimport os  #"}, "why": "w"}', "HEAD_DIM"),
        ('{"changes": {"ADAM_BETAS": [0.8, "exec(1)"]}, "why": "w"}', "ADAM_BETAS"),
        ('{"changes": {"ADAM_BETAS": [0.8, 0.95, 0.9]}, "why": "w"}', "ADAM_BETAS"),
        ('{"changes": {"ADAM_BETAS": [[0.8], 0.95]}, "why": "w"}', "ADAM_BETAS"),
        ('{"changes": {"DEPTH": 3}, "why": "w"}', "locked"),
        ('{"changes": {"WARMUP_RATIO": 0.1}, "why": "w"}', "frozen"),
        ('{"changes": {"os": 1}, "why": "w"}', "no parameter"),
        ('{"changes": {"MATRIX_LR = 1; os.abort()": 1}, "why": "w"}', "identifier"),
        ('{"changes": {"MATRIX_LR": 0.1}, "why": "w", "code": "import os"}', "'code' is not a key"),
        ('{"changes": {"MATRIX_LR": 0.1}, "why": "w", "replicate": 0}', "either"),
        ('{"changes": "MATRIX_LR", "why": "w"}', '"changes" is a dict'),
        ('"import os"', "each suggestion is a dict"),
        ('{"changes": {"MATRIX_LR": lambda: 1}, "why": "w"}', "holds a function"),
    ],
)
async def test_what_may_not_be_is_refused_and_the_script_is_the_same(
    host_of: HostMaker, suggestion: str, said: str
) -> None:
    script, reason = await script_after(host_of, suggestion)
    assert said in reason
    assert ast.dump(ast.parse(script)) == ast.dump(ast.parse(SCRIPT))


async def test_what_may_be_changes_the_constant_it_names_alone(host_of: HostMaker) -> None:
    script, reason = await script_after(host_of, '{"changes": {"MATRIX_LR": 0.1}, "why": "w"}')
    assert (reason, changed_constants(SCRIPT, script)) == ("", {"MATRIX_LR"})
