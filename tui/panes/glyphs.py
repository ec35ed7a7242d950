"""The signs of the application. Each stands beside a word or a colour, never alone for a colour."""

STATUS = {
    "keep": ("✓", "good"),
    "discard": ("·", "dim"),
    "crash": ("✗", "bad"),
    "invalid": ("!", "warn"),
    "stopped": ("■", "warn"),
    "running": ("▸", "accent"),
}
"""The sign and the style of a trial's status."""

SESSION = {
    "running": ("▸", "good"),
    "paused": ("‖", "warn"),
    "finished": ("✓", "good"),
    "failed": ("✗", "bad"),
    "interrupted": ("!", "bad"),
}
"""The same of a session's state."""

BEYOND, TIE, WORSE = "▲", "≈", "▼"
"""How a trial stands in the light of the noise: better than the incumbent beyond it, within it, worse beyond it."""

LOCKED, FROZEN_BY_PERSON, FROZEN_BY_LEVEL = "#", "◆", "◇"
INJECTION = "◈"

OUT, BEST = "▽", "★"
STAIRS, AGAINST = "⠒⠒", "⠂⠂"
"""The running best in a plot, and that of another session beside it."""

MEANINGS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "A trial",
        (
            *((sign, style, word) for word, (sign, style) in STATUS.items()),
            (BEYOND, "good", "better beyond the noise"),
            (TIE, "dim", "within the noise"),
            (WORSE, "bad", "worse beyond the noise"),
        ),
    ),
    (
        "A parameter",
        (
            (LOCKED, "dim", "locked by the target"),
            (FROZEN_BY_PERSON, "warn", "frozen by a person"),
            (FROZEN_BY_LEVEL, "accent", "frozen by Level 1.5"),
            ("4×", "", "tried in four trials"),
            ("1✓", "", "kept in one of them"),
        ),
    ),
    (
        "A mechanism",
        (
            ("●", "good", "active"),
            ("?", "alert", "waits for a decision"),
            ("…", "accent", "being written, or let in"),
            ("✗", "bad", "turned away"),
            (OUT, "warn", "out, or replaced"),
            ("acted 1 of 3", "", "times that it was called"),
        ),
    ),
    (
        "Curve and timeline",
        (
            (STAIRS, "accent", "the best so far"),
            ("•", "", "a trial"),
            ("┈", "dim", "noise of the baseline"),
            ("↑↓", "warn", "outside the picture"),
            ("△", "strong", "the selected trial"),
            (BEST, "good", "a new best"),
            (INJECTION, "accent", "a mechanism went in"),
            ("━", "strong", "behind (timeline)"),
            ("●", "alert", "here"),
            ("■", "strong", "the end"),
        ),
    ),
)
"""What the signs mean, as (sign, style, meaning) under the heading of what they are of."""
