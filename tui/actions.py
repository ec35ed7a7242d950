"""Every action of the application, in one table: keys, footer, help and command palette are made from it.

An action is carried out by the screen's method `action_<id>`, by the application's where the id begins with `app.`.
`where` says when it exists: "live" and "replay" for the two ways of seeing a session, "command" for what asks the
engine for something: that exists neither in a replay nor for a viewer that was opened read-only.
"""

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding

Where = Literal["both", "live", "replay", "command"]


@dataclass(frozen=True)
class Action:
    """One thing that a person can do. `key` may name several, separated by commas.

    `footer`: it is offered on the last line; where that is narrow, the highest go first and 0 never. Those that follow
    each other with the same word in `pair` are offered as one. `pane`: only where that pane has the focus.
    """

    id: str
    key: str
    label: str
    help: str
    group: str
    where: Where = "both"
    footer: int | None = None
    key_display: str | None = None
    pair: str = ""
    pane: int | None = None

    @property
    def keys(self) -> str:
        """The keys as a person reads them."""
        return self.key_display or " ".join(_READ.get(key, key) for key in self.key.split(","))

    def binding(self) -> Binding:
        """The same for Textual."""
        return Binding(self.key, self.id, self.label, show=False)


_READ = {
    "space": "space",
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "comma": ",",
    "full_stop": ".",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
    "left_curly_bracket": "{",
    "right_curly_bracket": "}",
    "left_parenthesis": "(",
    "right_parenthesis": ")",
    "less_than_sign": "<",
    "greater_than_sign": ">",
    "ctrl+p": "^p",
    "ctrl+z": "^z",
    "enter": "⏎",
    "escape": "esc",
}

_INJECTIONS = "To the injection before, after."


def _either(of: str, what: str, key: str, label: str, pair: str, help: str, rank: int, shown: str = "") -> Action:
    """One of two actions of a replay that go together: back and on, slower and faster."""
    return Action(f"{of}({what})", key, label, help, "Replay", "replay", rank, shown or None, pair)


def _taken(what: str, footer: int | None = None) -> tuple[Action, ...]:
    """The ways of taking away what is seen."""
    return (
        Action("copy", "c", "Copy", f"Copy {what} (by OSC 52).", "Looking", footer=footer),
        Action("write", "o", "Write", f"Write {what} to a file.", "Looking", footer=footer),
        Action("picture", "x", "Picture", "The screen as an SVG file.", "Looking", footer=footer),
    )


ACTIONS: tuple[Action, ...] = (
    # --- looking
    Action("pane(1)", "1", "Trials", "To a pane, by its number.", "Panes"),
    Action("pane(2)", "2", "Output", "To a pane, by its number.", "Panes"),
    Action("pane(3)", "3", "Parameters", "To a pane, by its number.", "Panes"),
    Action("pane(4)", "4", "Mechanisms", "To a pane, by its number.", "Panes"),
    Action("pane(5)", "5", "Curve", "To a pane, by its number.", "Panes"),
    Action("pane(6)", "6", "Level 2", "To a pane, by its number.", "Panes"),
    Action("zoom", "z", "Zoom", "This pane on the whole screen.", "Panes", footer=6),
    Action("hold", "space", "Hold", "Hold what is shown, or go on.", "Looking", "live", footer=2),
    Action("follow", "escape", "Follow", "Follow the newest again.", "Looking"),
    Action("goto_trial", "colon", "Go to trial", "Go to a trial by its number.", "Looking", footer=9),
    Action("search", "slash", "Search", "Search the pane, by a regex.", "Looking", footer=6),
    Action("find(1)", "n", "Next", "To the match after or before.", "Looking"),
    Action("find(-1)", "N", "Previous", "To the match after or before.", "Looking"),
    *_taken("the pane", footer=10),
    Action("theme", "t", "Theme", "The next theme.", "Looking"),
    Action("side('source')", "s", "Source", "A mechanism's source.", "Mechanisms and Level 2"),
    Action("side('difference')", "d", "Difference", "What it changed of its elder.", "Mechanisms and Level 2"),
    Action("side('evidence')", "r", "Evidence", "Its rehearsal, what it did.", "Mechanisms and Level 2"),
    Action("side('acts')", "w", "Acts", "The decisions that it changed.", "Mechanisms and Level 2"),
    Action("turn", "b", "Question", "Of a round: question, answer.", "Mechanisms and Level 2", footer=3, pane=6),
    # --- steering; what waits may be looked at by whoever watches
    Action("decide", "i", "Decide", "What waits for a decision.", "Steering", "live", footer=0),
    Action("approve", "a", "Approve", "Look, then let in what waits.", "Steering", "command"),
    Action("veto", "v", "Veto", "Turn it away, or end research.", "Steering", "command"),
    Action("edit", "e", "Edit", "Edit a mechanism in $EDITOR.", "Steering", "command", footer=4, pane=4),
    Action("revert", "R", "Revert", "Take a mechanism out (asks).", "Steering", "command", footer=3, pane=4),
    Action("freeze", "f", "Freeze", "Freeze or free a parameter.", "Steering", "command", footer=3, pane=3),
    Action("guide", "m", "Guide", "Words for the next proposals.", "Steering", "command", footer=5),
    Action("pause_engine", "P", "Pause", "Pause the session, or go on.", "Steering", "command", footer=1),
    Action("kill_trial", "K", "Kill trial", "Stop this trial (asks first).", "Steering", "command", footer=8),
    Action("stop", "S", "Stop", "End the session (asks first).", "Steering", "command", footer=4),
    # --- replay
    Action("play", "space", "Play", "Play or hold.", "Replay", "replay", footer=0),
    _either("speed", "-1", "less_than_sign,minus", "Slower", "Speed", "Half or twice the speed.", 2, "<"),
    _either("speed", "1", "greater_than_sign,plus", "Faster", "Speed", "Half or twice the speed.", 2, ">"),
    _either("step", "'event',-1", "comma", "Event back", "Event", "To the event before or after.", 5),
    _either("step", "'event',1", "full_stop", "Event on", "Event", "To the event before or after.", 5),
    _either("step", "'trial',-1", "left_square_bracket", "Trial back", "Trial", "To the trial before or after.", 1),
    _either("step", "'trial',1", "right_square_bracket", "Trial on", "Trial", "To the trial before or after.", 1),
    _either("step", "'injection',-1", "left_curly_bracket", "Injection back", "Injection", _INJECTIONS, 3),
    _either("step", "'injection',1", "right_curly_bracket", "Injection on", "Injection", _INJECTIONS, 3),
    _either("step", "'best',-1", "left_parenthesis", "Best back", "Best", "To the best before or after.", 4),
    _either("step", "'best',1", "right_parenthesis", "Best on", "Best", "To the best before or after.", 4),
    # --- the application
    Action("sessions", "l", "Sessions", "The list of sessions.", "Application", footer=7),
    Action("help", "question_mark", "Help", "This page.", "Application", footer=0),
    Action("palette", "ctrl+p", "Commands", "Find an action by name.", "Application", footer=3),
    Action("app.to_shell", "ctrl+z", "Shell", "To the shell; fg comes back.", "Application"),
    Action("leave", "q", "Leave", "Leave; what runs goes on.", "Application", footer=0),
)

SESSIONS_ACTIONS: tuple[Action, ...] = (
    Action("open", "enter", "Open", "See the session: live if it runs, else at its end.", "Sessions", footer=1),
    Action("replay", "r", "Replay", "Replay the session from its first event.", "Sessions", footer=1),
    Action(
        "filter",
        "slash",
        "Filter",
        "Words that have to occur: name, target, model, state, mechanisms.",
        "Sessions",
        footer=1,
    ),
    Action("all", "escape", "All", "Without the filter.", "Sessions"),
    Action("mark", "space", "Mark", "Mark the session to be compared; two at most.", "Sessions", footer=1),
    Action("compare", "C", "Compare", "Compare the two that are marked.", "Sessions", footer=1),
    *_taken("the list", footer=3),
    Action("theme", "t", "Theme", "The next theme: dark, light, the terminal's own colours.", "Application"),
    Action("help", "question_mark", "Help", "This page.", "Application", footer=0),
    Action("palette", "ctrl+p", "Commands", "Find an action by its name.", "Application", footer=2),
    Action("app.to_shell", "ctrl+z", "Shell", "To the shell; fg comes back.", "Application"),
    Action("leave", "q", "Leave", "Leave; a session that runs goes on.", "Application", footer=0),
)
"""What a person can do in the list of sessions."""

COMPARE_ACTIONS: tuple[Action, ...] = (
    Action("back", "escape,q,l", "Back", "Back to the list of sessions.", "Comparison", footer=0, key_display="q"),
    Action("search", "slash", "Search", "Search in the table (a regular expression).", "Looking", footer=1),
    Action("find(1)", "n", "Next", "The next match.", "Looking"),
    Action("find(-1)", "N", "Previous", "The match before.", "Looking"),
    *_taken("the table", footer=3),
    Action("theme", "t", "Theme", "The next theme: dark, light, the terminal's own colours.", "Application"),
    Action("help", "question_mark", "Help", "This page.", "Application", footer=0),
    Action("palette", "ctrl+p", "Commands", "Find an action by its name.", "Application", footer=2),
)
"""What a person can do where two sessions are compared."""


INJECTION_ACTIONS: tuple[Action, ...] = (
    Action("approve", "a", "Approve", "Let it in at the next boundary (asks first).", "Deciding", footer=1),
    Action("veto", "v", "Veto", "Turn it away, with a reason.", "Deciding", footer=1),
    Action("edit", "e", "Edit", "Its file in $EDITOR: the changed one takes its place.", "Deciding", footer=1),
    Action("dismiss(None)", "escape,q,i", "Later", "Decide later.", "Looking", footer=0, key_display="esc"),
    Action("part('evidence')", "r", "Evidence", "What it would have done, what effect is expected.", "Looking"),
    Action("part('source')", "s", "Source", "The source that is decided on.", "Looking"),
    Action("part('difference')", "d", "Difference", "To the module that it was developed from.", "Looking"),
    Action("search", "slash", "Search", "Search in the part with the focus (a regular expression).", "Looking"),
    Action("find(1)", "n", "Next", "The next match.", "Looking"),
    Action("find(-1)", "N", "Previous", "The match before.", "Looking"),
    *_taken("the part with the focus", footer=3),
    Action("help", "question_mark", "Help", "This page.", "Looking", footer=0),
)
"""What a person can do where a mechanism waits for a decision."""


def exists(action: Action, *, replay: bool, read_only: bool) -> bool:
    """Whether the action exists in this way of seeing a session."""
    match action.where:
        case "live":
            return not replay
        case "replay":
            return replay
        case "command":
            return not (replay or read_only)
    return True


def action_named(name: str, parameters: tuple[object, ...] = ()) -> Action | None:
    """The action that a binding calls, by its name and arguments; None for one that is not of this table."""
    called = name + (f"({','.join(map(repr, parameters))})" if parameters else "")
    return next((action for action in ACTIONS if action.id == called), None)
