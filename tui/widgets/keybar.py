"""The last line of a screen: the keys that matter here and now, as many as there is room for, and where a search is."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from rich.text import Text
from textual import events

from tui.actions import Action
from tui.widgets.block import Block

GAP = 2
"""Columns between two offers."""


class Offer(NamedTuple):
    """Keys with what they do, each as (the key as a person reads it, the action), and a word for all of them.

    `rank`: where it is narrow, the highest go first and those of 0 never.
    """

    rank: int
    keys: tuple[tuple[str, str], ...]
    word: str

    @property
    def width(self) -> int:
        """Columns that it takes."""
        return Text(" ".join(key for key, _ in self.keys) + f" {self.word}").cell_len


def offers(actions: Iterable[Action], words: Mapping[str, str] | None = None) -> list[Offer]:
    """What is offered of these actions; those that belong together in one. `words`: what one is called just now."""
    told = words or {}
    found = []
    for _, alike in groupby((each for each in actions if each.footer is not None), key=lambda each: each.pair or each):
        several = list(alike)
        first = several[0]
        assert first.footer is not None
        keys = tuple((action.keys, action.id) for action in several)
        found.append(Offer(first.footer, keys, told.get(first.id) or first.pair or first.label))
    return found


class KeyBar(Block):
    """One line of offers. A click does what a key of it does."""

    DEFAULT_CSS = "KeyBar { padding: 0 1; background: $footer-background; }"

    def __init__(self) -> None:
        super().__init__(id="keys")
        self._offers: Sequence[Offer] = ()
        self._said = ""
        self._shown: tuple[object, ...] = ()
        self._ends: list[tuple[int, str]] = []
        """The column behind each key, the last one of an offer with its word, and the action."""

    def on_mount(self) -> None:
        super().on_mount()
        own = getattr(self.screen, "actions", None)
        if own is not None:
            self.offer(offers(own))

    def offer(self, offers: Sequence[Offer]) -> None:
        """Offer these from now on."""
        self._offers = offers
        self._draw()

    def say(self, words: str) -> None:
        """Say something at the right end, which offers give way to; nothing takes it away."""
        self._said = words
        self._draw()

    def _draw(self) -> None:
        width = self.size.width or self.app.size.width - 2
        if (self._offers, self._said, width) == self._shown:
            return
        self._shown = (self._offers, self._said, width)
        line, self._ends = Text(), []
        for offer in fitting(self._offers, width - (len(self._said) + GAP if self._said else 0)):
            if line:
                line.append(" " * GAP)
            for key, action in offer.keys:
                line.append(key, "key").append(" ")
                self._ends.append((line.cell_len, action))
            line.append(offer.word)
            self._ends[-1] = (line.cell_len + GAP, offer.keys[-1][1])
        if self._said:
            line.append(" " * max(GAP, width - line.cell_len - len(self._said))).append(self._said, "strong")
        self.show_lines([line])

    def on_resize(self, event: events.Resize) -> None:
        self.call_after_refresh(self._draw)

    async def on_click(self, event: events.Click) -> None:
        inset = self.styles.padding.left
        action = next((action for end, action in self._ends if event.x - inset < end), None)
        if action is not None:
            await self.screen.run_action(action)


def fitting(offers: Sequence[Offer], width: int) -> list[Offer]:
    """Those that there is room for, in their order."""
    left = list(offers)
    while sum(offer.width + GAP for offer in left) - GAP > width and any(offer.rank for offer in left):
        left.remove(max(reversed(left), key=lambda offer: offer.rank))
    return left
