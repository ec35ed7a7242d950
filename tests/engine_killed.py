"""An engine that kills itself with SIGKILL right before or after its n-th write: `python engine_killed.py --db PATH`.

BILEVEL_DIE_AT names the write, counted from 1; with a minus the process dies before the write reaches the disk.
"""

import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from engine.__main__ import main
from engine.record.store import Store

_append = Store.append
_writes = 0


async def append(self, session, events, blobs=()):
    global _writes
    _writes += 1
    at = int(os.environ["BILEVEL_DIE_AT"])
    if at == -_writes:
        os.kill(os.getpid(), signal.SIGKILL)
    stamps = await _append(self, session, events, blobs)
    if at == _writes:
        os.kill(os.getpid(), signal.SIGKILL)
    return stamps


Store.append = append
sys.exit(main())
