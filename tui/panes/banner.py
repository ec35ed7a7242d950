"""What may not be missed: a mechanism that waits for a decision, and an engine that is lost."""

from rich.text import Text

from engine.record.view import ENDED
from engine.record.wording import clean
from tui.moment import Moment
from tui.widgets.block import Block


class Banner(Block):
    """A bar a trouble; without any it is not there. The bell rings once for each mechanism to be judged."""

    DEFAULT_CSS = """
    Banner { padding: 0 1; background: $warning-muted; }
    Banner:ansi { background: ansi_default; }
    Banner.-lost { background: $panel; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._rung: set[str] = set()

    def show(self, moment: Moment) -> None:
        """Bring it to the moment."""
        lost = _lost(moment)
        takes = moment.engine.state != "gone" and self.screen.check_action("approve", ())
        waits = _waits(moment, decides=bool(takes))
        self.set_class(moment.stale and lost is not None, "-lost")
        width = max(20, (self.size.width or self.app.size.width - 2))
        told = [line for line in (lost, _trouble(moment)) if line is not None]
        lines = [part for line in told for part in line.wrap(self.app.console, width, tab_size=1)]
        self.show_lines([*lines, waits] if waits is not None else lines)
        self._ring(moment)

    def _ring(self, moment: Moment) -> None:
        """Once for each hash, and only where the person can decide: not in a replay, not for one who only looks."""
        waiting = moment.view.waiting
        if waiting is None or waiting.hash in self._rung or not self.screen.check_action("approve", ()):
            return
        self._rung.add(waiting.hash)
        self.app.bell()


def _lost(moment: Moment) -> Text | None:
    """What is the matter with the engine of a session that has not ended, and what to do."""
    if moment.replay or moment.view.status in ENDED or not moment.engine.says:
        return None
    sign = {"gone": "✗ ENGINE GONE", "silent": "! ENGINE SILENT"}.get(moment.engine.state, "! ENGINE")
    return Text.assemble((f" {sign} ", "alert"), f" {clean(moment.engine.says, 300)}")


def _trouble(moment: Moment) -> Text | None:
    """What is the matter with the record."""
    trouble = moment.feed.trouble
    return Text.assemble((" ! RECORD ", "alert"), f" {clean(trouble, 300)}") if trouble else None


def _waits(moment: Moment, decides: bool) -> Text | None:
    waiting = moment.view.waiting
    if waiting is None:
        return None
    # The keys come before the name, which may be long.
    line = Text.assemble((" ! INJECTION ", "alert"), " ")
    keys = (("i", "look"), ("a", "approve"), ("v", "veto")) if decides else (("i", "look"),)
    for key, word in keys if not moment.replay else ():
        line.append(key, "strong").append(f" {word}  ")
    line.append(until(moment), "strong")
    line.append(f"  {clean(waiting.name, 40)}", "accent")
    reason = clean(waiting.reason, 120)
    return line.append(f" ({waiting.hash[:12]})" + (f": {reason}" if reason else ""))


def until(moment: Moment) -> str:
    """The time that is left, and who decides then."""
    waiting = moment.view.waiting
    assert waiting is not None
    if moment.engine.state == "gone" and not moment.replay:
        return "waits until the session is resumed"
    if waiting.deadline is None:
        return "waits for you" if not moment.replay else "waits for a person"
    does = "lets it in" if waiting.trusted else "turns it away"
    left = round(waiting.deadline - moment.now)
    return f"clock {does}: " + (f"{left // 60}:{left % 60:02}" if left > 0 else "now")
