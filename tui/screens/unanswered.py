"""What was asked of the engine and is not answered yet: one quiet note for all of it, until the answers are there."""

from itertools import count

from textual.notifications import Notification
from textual.screen import Screen

QUIET_SECONDS = 0.5
"""An answer that comes sooner needs no announcement."""
LONGEST_SECONDS = 60.0
"""The note goes by then, should nobody take it away."""


class Unanswered:
    """The commands of one screen that wait for their answers, by number."""

    def __init__(self) -> None:
        self._numbers = count()
        self._waiting: dict[int, str] = {}
        self._told: list[int] = []
        self._note: Notification | None = None

    def sent(self, screen: Screen[object], command: str) -> int:
        """A command was sent: it is told of where its answer takes long. Its number, for `answered`."""
        number = next(self._numbers)
        self._waiting[number] = command
        screen.set_timer(QUIET_SECONDS, lambda: self._tell(screen, number))
        return number

    def answered(self, screen: Screen[object], number: int) -> None:
        """Its answer is there."""
        del self._waiting[number]
        if number in self._told:
            self._told.remove(number)
            self._renew(screen)

    def _tell(self, screen: Screen[object], number: int) -> None:
        if number in self._waiting:
            self._told.append(number)
            self._renew(screen)

    def _renew(self, screen: Screen[object]) -> None:
        # Textual has no public way to take a note away; and one that is sent as a message might come after its end.
        app = screen.app
        if self._note is not None:
            app._unnotify(self._note)
            self._note = None
        if self._told:
            commands = ", ".join(dict.fromkeys(self._waiting[number] for number in self._told))
            self._note = Notification(f"{commands}: sent, no answer yet", timeout=LONGEST_SECONDS)
            app._notifications.add(self._note)
            app._refresh_notifications()
