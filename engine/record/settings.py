"""The settings of a session: what a person may choose, with the defaults. They are recorded with the session."""

from typing import Literal

import msgspec

REPLAY = "replay:"
"""What the name of a model begins with that gives a session's recorded answers again."""


def replayed(model: str) -> str | None:
    """The session whose recorded answers a model of this name gives again; None for every other model."""
    return model.removeprefix(REPLAY) if model.startswith(REPLAY) else None


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a session runs. Times in seconds unless the name says otherwise; None means no limit."""

    target: str
    """Directory that holds target.toml."""
    profile: str
    """The target's profile: "cpu", "cuda" or another that it defines."""
    levels: list[str] = msgspec.field(default_factory=lambda: ["1", "1.5", "2"])
    trials: int = 30
    hours: float | None = None
    max_cost: float | None = None
    """Money in the currency of the prices; refused where the model's price is unknown."""
    max_tokens: int | None = None
    baseline_runs: int = 3
    confirm: bool = True
    confirm_runs: int = 2
    approval: Literal["auto", "grace", "ask"] = "grace"
    grace: float = 120.0
    lockstep: bool = False
    """Wait at each boundary for the outer levels' decisions (ablations)."""
    unsafe: bool = False
    """Let untrusted generated code run unattended below sandbox level B."""
    rehearsal: bool = True
    """Run searches with and without a new mechanism on a surrogate, as evidence of what it would bring."""
    seed: int = 0
    seconds: float | None = None
    """Training budget of a trial, in place of the profile's."""
    flops: float | None = None
    """Training budget in FLOPs, for runs that must repeat exactly; in place of seconds."""
    model: str = "offline"
    """A model's name, "offline" for the stand-in, or "replay:SESSION" for recorded answers."""
    base_url: str | None = None
    price_in: float | None = None
    """Price of a million prompt tokens."""
    price_out: float | None = None
    """Price of a million answer tokens."""
    model_timeout: float = 120.0
    level_models: dict[str, str] = {}
    """Another model's name for a level, by level."""
    archive: Literal["all", "mechanisms", "findings", "none"] = "all"
    """What is taken over from earlier sessions of the same kind of target."""
    parent: str | None = None
    """The session that this one was forked from."""
    initial: dict[str, bool | int | float | str | list[bool | int | float | str]] = {}
    """Values of the baseline in place of the target's (a fork's)."""
    notify: str | None = None
    """A command to run when a person is awaited and at the end."""
