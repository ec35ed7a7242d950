"""A part of the screen whose defects stay its own: what fails in it is told as a message, and everything else goes on.

Textual ends the application where a handler, a timer or a callback of any widget raises. For a person who supervises a
session over a slow link that is the wrong answer to a fault in one pane.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from textual import events
from textual._callback import invoke
from textual.message import Message
from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget


class Contained:
    """For a widget or a screen, before its other bases: it posts `Failed` instead of raising.

    Only what it cannot begin without, its parts and `on_mount`, still raises.
    """

    class Failed(Message):
        """Something in the widget failed. `drawing`: what it shows is not what it was to show."""

        def __init__(self, widget: Widget, error: Exception, *, drawing: bool = False) -> None:
            super().__init__()
            self.set_sender(widget)  # what is drawn is drawn in the screen's task, and goes no further than its sender
            self.widget, self.error, self.drawing = widget, error, drawing

    class Recovered(Message):
        """What could not be drawn was drawn again."""

        def __init__(self, widget: Widget) -> None:
            super().__init__()
            self.set_sender(widget)
            self.widget = widget

    def contained(self, callback: Callable[..., Any]) -> Callable[..., Any]:
        """The callback, plain or asynchronous, that tells where it fails instead of raising."""

        async def do(*args: Any, **kwargs: Any) -> None:
            try:
                await invoke(partial(callback, *args, **kwargs))
            except Exception as error:
                self._tell(error)

        return do

    def _tell(self, error: Exception) -> None:
        if not self.post_message(Contained.Failed(self, error)):  # it is being removed, and takes no message any more
            self.app.failed(self, error, drawing=False)

    async def _dispatch_message(self, message: Message) -> None:
        if isinstance(message, events.Resize) and isinstance(self, Screen) and message.size != self.app.size:
            return  # of a size that is past: two such, each brought about by the other's layout, would never end
        try:
            await super()._dispatch_message(message)
        except Exception as error:
            if isinstance(message, events.Compose | events.Mount):
                raise
            self._tell(error)

    # Textual runs these beside the handlers of messages, and gives what they raise to the application.
    def call_after_refresh(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> bool:
        return super().call_after_refresh(self.contained(callback), *args, **kwargs)

    def call_next(self, callback: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        super().call_next(self.contained(callback), *args, **kwargs)

    def set_interval(self, interval: float, callback: Callable[..., Any] | None = None, **how: Any) -> Timer:
        return super().set_interval(interval, callback and self.contained(callback), **how)

    def set_timer(self, delay: float, callback: Callable[..., Any] | None = None, **how: Any) -> Timer:
        return super().set_timer(delay, callback and self.contained(callback), **how)
