"""Names of sessions: when it began, in UTC, and two words by which a person remembers it."""

import random
import time
from collections.abc import Collection

_HOW = """
amber brave brisk calm clear cosy crisp eager early fair fleet fond gentle glad grand green hardy hazy idle
keen kind late light lively lucky mellow merry mild misty neat noble pale plain proud quick quiet rapid ripe
rosy round rusty sharp shy silent silver sleek slow small smooth snowy soft solid spry stark steady still
stout sunny sure swift tall tame tidy tiny vivid warm wild wise young
"""
_WHO = """
adder alder aspen badger beaver beech birch bison cedar civet condor crane curlew dipper dove eagle egret
elder elk falcon fern ferret finch fox gannet gecko grouse gull hare hawk hazel heron hobby ibex ibis jackal
jay kestrel kite larch lark linnet lizard lynx maple marten merlin mink mole moose newt oak oriole osprey
otter owl petrel pine plover puffin quail raven robin rook rowan seal sedge shrew skua sorrel spruce stoat
stork swan swift tern thrush toad trout viper vole walrus weasel willow wren yew
"""


def new_session_name(taken: Collection[str], now: float | None = None, rng: random.Random | None = None) -> str:
    """A name such as 20261121-0310-quiet-otter that is not among `taken`; `now` is a Unix time."""
    stamp = time.strftime("%Y%m%d-%H%M", time.gmtime(now))
    draw = rng or random.SystemRandom()
    while True:
        name = f"{stamp}-{draw.choice(_HOW.split())}-{draw.choice(_WHO.split())}"
        if name not in taken:
            return name
