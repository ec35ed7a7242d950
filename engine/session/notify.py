"""`--notify COMMAND`: run a person's command when they are awaited and at the end. It never holds a session up."""

import logging
import os
import shlex
import subprocess

from engine.errors import InputError

log = logging.getLogger(__name__)


class Notifier:
    """Runs the command with the sentence as its last argument and in BILEVEL_MESSAGE; None runs nothing."""

    def __init__(self, command: str | None, session: str) -> None:
        self.session = session
        try:
            self._words = shlex.split(command) if command else []
        except ValueError as error:
            raise InputError(f"--notify {command!r} is not a command line: {error}") from None
        self._running: list[subprocess.Popen[bytes]] = []

    def tell(self, sentence: str) -> None:
        """Start the command; a failure to do so is logged, nothing more."""
        self._running = [process for process in self._running if process.poll() is None]
        if not self._words:
            return
        environment = {**os.environ, "BILEVEL_SESSION": self.session, "BILEVEL_MESSAGE": sentence}
        for name in [name for name in environment if name.endswith("API_KEY")]:
            del environment[name]
        try:
            process = subprocess.Popen(
                [*self._words, f"bilevel {self.session}: {sentence}"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            log.warning("--notify could not be run: %s", error)
        else:
            self._running.append(process)
