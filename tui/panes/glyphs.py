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
