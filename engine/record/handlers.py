"""The functions that fold events into a view, by the class of the event that each is for."""

from collections.abc import Callable
from typing import Any, TypeVar

from engine.record.events import Event
from engine.record.view import View

_E = TypeVar("_E", bound=Event)


class Handlers(dict[type[Event], Callable[[View, Any], None]]):
    """At most one function a kind of event; a kind without one changes no state."""

    def on(self, kind: type[_E]) -> Callable[[Callable[[View, _E], None]], Callable[[View, _E], None]]:
        """Take the function below as the one for this kind."""

        def register(handler: Callable[[View, _E], None]) -> Callable[[View, _E], None]:
            self[kind] = handler
            return handler

        return register
