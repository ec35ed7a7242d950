"""`python -m engine --db PATH [--status FD]`: run one session from the plan on standard input.

Normally started by `bilevel`, detached from the terminal: a hang-up is ignored, so that a lost connection ends nothing.
SIGTERM leaves: a trial that trains goes on under its supervisor, and `bilevel resume` takes the session up again. Once
the session runs, one JSON line goes to the status descriptor: {"ready": true, "session": ...}, or {"error",
"exit_code"}.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from engine.errors import BilevelError
from engine.session.startup import Opened, Startup


def main() -> int:
    """Exit code 0 when the session ended or was left, 1 when it failed, 2 for a plan that cannot run."""
    parser = argparse.ArgumentParser(prog="python -m engine", description="Run one session from a plan on stdin.")
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--status", type=int, default=None, help="descriptor that is told when the session runs")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    told = _teller(args.status)
    try:
        plan = json.loads(sys.stdin.buffer.read())
        return asyncio.run(_run(args.db, plan, told))
    except BilevelError as error:
        logging.error("%s", error)
        told({"error": str(error), "exit_code": error.exit_code})
        return error.exit_code
    except Exception as error:
        logging.exception("the engine failed")
        told({"error": f"the engine failed: {type(error).__name__}: {error}", "exit_code": 1})
        return 1


async def _run(db: Path, plan: dict[str, Any], told: Callable[[dict[str, Any]], None]) -> int:
    async with contextlib.AsyncExitStack() as stack:
        opened = await Startup(db, plan, os.environ, stack).open()
        told({"ready": True, "session": opened.journal.view.session})
        task = asyncio.ensure_future(opened.session.run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, _leave, opened, task)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return 1 if opened.journal.view.status == "failed" else 0


def _leave(opened: Opened, task: "asyncio.Future[None]") -> None:
    """Go without a trace in the record: the session is interrupted, and the next engine takes it up."""
    logging.info("leaving; `bilevel resume %s` takes the session up again", opened.journal.view.session)
    opened.journal.closed = True
    opened.runs.trainer.leave()
    task.cancel()


def _teller(descriptor: int | None) -> Callable[[dict[str, Any]], None]:
    def told(message: dict[str, Any]) -> None:
        if descriptor is not None:
            with contextlib.suppress(OSError):  # told once, and the launcher may be gone
                os.write(descriptor, json.dumps(message).encode() + b"\n")
                os.close(descriptor)

    return told


if __name__ == "__main__":
    sys.exit(main())
