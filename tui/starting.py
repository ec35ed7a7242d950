"""Before a session: its settings made whole, and what it will take told to the person."""

import os
import sys
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from engine.errors import BilevelError, InputError
from engine.record.settings import Settings, replayed
from tui.settings import merge
from tui.waiting import Waiting

if TYPE_CHECKING:
    from argparse import ArgumentParser

    from engine.tools.launch import Target

QUICK: dict[str, Any] = {"trials": 20, "approval": "auto"}
"""What `run --quick` takes where nobody says otherwise."""
KEYS = {"DEEPSEEK_API_KEY": "deepseek-chat", "OPENAI_API_KEY": "gpt-5-mini"}
"""Which model `run --quick` takes with a key alone: at DeepSeek the one that the method was published with."""
_WHO_DECIDES = {"auto": "the trust rule alone", "grace": "the clock, unless you veto", "ask": "you"}
_NOT_FLAGS = ("price_in", "price_out", "level_models", "parent", "initial")
_NAMES = [name for name in Settings.__struct_fields__ if name not in _NOT_FLAGS]


def add_settings(parser: "ArgumentParser") -> None:
    """The flags that set something for a new session."""
    add = parser.add_argument_group("settings").add_argument
    add("--target", metavar="DIR", help="directory with target.toml (default: the packaged baseline)")
    add("--profile", help="profile of the target (default: cuda where that works, else cpu)")
    add("--trials", type=int, metavar="N", help="trials of the search (30; with --quick 20)")
    add("--hours", type=float, metavar="H", help="end after so many hours")
    add("--max-cost", type=float, metavar="MONEY", help="end when the model has cost so much; needs its prices")
    add("--max-tokens", type=int, metavar="N", help="end when the model has used so many tokens")
    add("--levels", type=_levels, metavar="L", help="which levels run, such as 1,1.5 (default: 1,1.5,2)")
    add("--model", help="a model's name, offline for the stand-in, or replay:SESSION")
    add("--base-url", metavar="URL", help="an OpenAI-compatible endpoint")
    add("--model-timeout", type=float, metavar="S", help="seconds for one answer of the model (120)")
    add("--approval", choices=["auto", "grace", "ask"], help="who lets a mechanism in: nobody, the clock, you")
    add("--grace", type=float, metavar="S", help="seconds in which you may veto (120)")
    add("--seconds", type=float, metavar="S", help="training budget of a trial in seconds")
    add("--flops", type=float, metavar="N", help="training budget of a trial in FLOPs, for exact repetition")
    add("--baseline-runs", type=int, metavar="N", help="runs of the baseline that measure the noise (3)")
    add("--confirm-runs", type=int, metavar="N", help="fresh runs of baseline and best at the end (2)")
    add("--no-confirm", dest="confirm", action="store_false", default=None, help="end without the confirming runs")
    add("--lockstep", action="store_true", default=None, help="wait for the outer levels' decisions")
    add("--unsafe", action="store_true", default=None, help="let generated code run unattended in a weak sandbox")
    add(
        "--no-rehearsal",
        dest="rehearsal",
        action="store_false",
        default=None,
        help="let new mechanisms be tested without searches on a surrogate",
    )
    add(
        "--archive",
        choices=["all", "mechanisms", "findings", "none"],
        help="what is taken over from earlier sessions of the same kind of target (all)",
    )
    add("--seed", type=int, metavar="N", help="seed of the session (0)")
    add("--notify", metavar="COMMAND", help="run it, without a shell, when you are awaited and at the end")
    add("--config", type=Path, metavar="FILE", help="settings file (default: bilevel.toml, where there is one)")


def _levels(text: str) -> list[str]:
    return [level.strip() for level in text.split(",") if level.strip()]


def settings_of(
    args: Namespace, *, quick: bool = False, declined: bool = False, parent: Settings | None = None
) -> Settings:
    """The whole settings of a new session; a fork's are its parent's but for the flags. Raises InputError.

    `declined`: the person wants no model that costs money, whatever was named.
    """
    flags = {name: getattr(args, name, None) for name in _NAMES} | ({"model": "offline"} if declined else {})
    if parent is not None:
        settings = merge(flags, {}, config=args.config, find=False, defaults=msgspec.to_builtins(parent))
    else:
        defaults = QUICK if quick else {}
        if quick and model_of_keys(os.environ):
            defaults = {**defaults, "model": "offline"}  # until the person has agreed to the key's model
        settings = merge(flags, os.environ, config=args.config, defaults=defaults)
    first_look = quick and settings.model == "offline" and (declined or model_of_keys(os.environ) is None)
    return msgspec.structs.replace(settings, profile=_profile(settings, cpu=first_look))


def _profile(settings: Settings, cpu: bool = False) -> str:
    """The chosen profile; else the target's only one, else cuda where that works, else cpu.

    `cpu`: prefer cpu, as for a first look with the stand-in, which is not worth hours of a GPU.
    """
    from engine.tools.launch import target_profiles

    names = target_profiles(Path(settings.target))
    if settings.profile:
        return settings.profile
    if len(names) == 1:
        return names[0]
    if cpu and "cpu" in names:
        return "cpu"
    if "cuda" in names and _cuda():
        return "cuda"
    if "cpu" in names:
        return "cpu"
    raise InputError(f"the target {settings.target} has the profiles {', '.join(names)}: name one with --profile")


def _cuda() -> bool:
    from engine.tools.machine import has_nvidia_device, probe_torch

    if not has_nvidia_device():
        return False
    with Waiting("looking whether torch reaches the GPU"):
        found = probe_torch()
    if not found.cuda:
        print("there is an NVIDIA device, but torch does not reach it (see bilevel doctor): the CPU is used")
    return found.cuda


def model_of_keys(environ: Mapping[str, str]) -> str | None:
    """The model that a key in the environment stands for, where none was named."""
    return next((model for name, model in KEYS.items() if environ.get(name, "").strip()), None)


def answered_by_stand_in(settings: Settings, db: Path) -> bool:
    """Whether no language model will answer, nor one's recorded answers be given again."""
    from engine.record.origin import by_stand_in
    from engine.record.reader import Reader

    session = replayed(settings.model)
    if session is not None and db.exists():
        with suppress(BilevelError), Reader(db) as reader:  # the engine says what is wrong with either
            return by_stand_in(reader, reader.resolve(session))
    return settings.model == "offline"


def announce(settings: Settings, target: "Target", db: Path) -> None:
    """Print what is about to run, and what it will take."""
    from engine.record.wording import counted
    from engine.tools.estimate import estimate
    from engine.tools.machine import has_nvidia_device

    budget = f"{target.budget.value:g} {'s' if target.budget.kind == 'seconds' else 'FLOPs'} a trial"
    model = settings.model
    if answered_by_stand_in(settings, db):
        model += ": a STAND-IN, rules in a model's place"
    print(f"model     {model}")
    print(f"settings  target {target.name}, profile {settings.profile}, {budget}, {counted(settings.trials, 'trial')}")
    print(f"search    levels {', '.join(settings.levels)}, mechanisms let in by {_WHO_DECIDES[settings.approval]}")
    if settings.profile == "cuda" and not has_nvidia_device():  # what a target's profile needs, only its owner knows
        print("note      there is no NVIDIA device on this machine: the trials may train on the CPU")
    print(f"estimate  {estimate(settings, target).sentence()}", flush=True)


def with_a_key(settings: Settings, target: "Target", db: Path, *, yes: bool) -> Settings | None:
    """For `run --quick`: the model of a key that is there, after the estimate was shown and the person agreed.

    None where the person declined; so does, without `yes`, one who cannot be asked for want of a terminal.
    """
    key = model_of_keys(os.environ)
    if settings.model == "offline" and key is not None:
        settings = msgspec.structs.replace(settings, model=key)
    if yes or settings.model == "offline" or replayed(settings.model) is not None:
        return settings
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        print("there is a key, but no terminal to ask in: the stand-in is used (--yes takes the model)")
        return None
    announce(settings, target, db)
    try:
        answer = input(f"Use {settings.model} with your key? [y/N] ").strip().lower()
    except EOFError:
        answer = ""
    return settings if answer in ("y", "yes") else None
