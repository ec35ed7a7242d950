"""An engine whose waits are short, so that a test of a fault takes no minutes: `python engine_impatient.py --db PATH`.

What is shortened: Level 1's waits for its model, the waits between tries of a model, how long a write waits for another
process's lock, and how often it is looked whether a full disk has room again. Nothing else differs from the engine.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import engine.record.journal as journal
import engine.session.session as session
import engine.training.room as room
from engine.__main__ import main
from engine.model.client import OpenAIModel
from engine.record.store import Store

session.FIRST_WAIT, session.PATIENCE = 0.05, 0.2
journal.RETRY_SECONDS = 0.05
room.LOOK_SECONDS = 0.05
assert Store.open.__kwdefaults__ is not None and OpenAIModel.__init__.__kwdefaults__ is not None
Store.open.__kwdefaults__["patience"] = 0.3
OpenAIModel.__init__.__kwdefaults__["jitter"] = lambda: 0.005

if __name__ == "__main__":
    sys.exit(main())
