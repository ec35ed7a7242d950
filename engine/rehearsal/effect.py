"""What a mechanism would bring: the difference between rehearsed searches with it and without it, with its interval.

Each pair of searches runs in one world: the same function drawn from the surrogate's posterior, the same noise, the
same random numbers for the model's proposals. Several functions are drawn, and several searches run on each, so that
the variance between functions (what the trials leave open about the target) is told from the variance within (luck of
the proposals) by a one-way analysis of variance. The interval is the 95 % one of the mechanism's mean effect on the
target: luck averages out with more searches, what is not known of the target does not.

It is measured against the model alone, without the other mechanisms, so that what is said of several can be compared.
"""

import asyncio
import hashlib
import math
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from engine.mechanism.client import MechanismHost
from engine.mechanism.contract import DECISIVE
from engine.record.view import Mechanism, View
from engine.rehearsal.evidence import Expected
from engine.rehearsal.proposing import Habits, habits_of
from engine.rehearsal.simulation import Ended, OpenHost, World, searched
from engine.rehearsal.surrogate import Observed, Surrogate
from engine.search.noise import CONFIDENCE, t_quantile
from engine.search.parameters import Config, Space, config_key, space_to_json

FUNCTIONS, SEARCHES = 16, 2
"""Functions that are drawn, and pairs of searches on each."""
LEAST_TRIALS, LEAST_PROPOSALS = 10, 5
"""Valid trials, and proposals of the model, below which nothing is said."""
CERTAIN_LUCK = 0.7
"""The lower quartile of a ratio of two equal variances with 15 and 16 degrees of freedom: with the measured share of
luck itself the interval would hold the effect in 86 of 100 cases where luck is most of the spread, so in 93."""
SHORTEST, LONGEST = 10, 30
"""Trials of a rehearsed search."""
UNSEEN = ("watch", "advise")
"""Hooks whose effect cannot be simulated."""
AT_ONCE = 4
"""Pairs of searches that go on at a time: while one waits for its host, another computes."""


async def expected_effect(
    view: View,
    mechanism: Mechanism,
    source: str,
    hosts: Path,
    require: str | None = None,
    imported: Sequence[tuple[Config, float]] = (),
) -> Expected:
    """The effect to expect of a mechanism of the view, from its trials and the `imported` ones (of the same space).

    `hosts` is where its hosts get their folders, `require` the sandbox level below which they do not start. The same
    arguments give the same evidence, `seconds` apart. Raises MechanismError where its host does not even start.
    """
    began = time.perf_counter()

    async def open_host(known: Mechanism) -> MechanismHost:
        space, direction = space_to_json(view.space), view.history.direction
        return MechanismHost(
            source, session=view.session, space=space, direction=direction, folder=hosts, require=require
        )

    with threadpool_limits(1):  # the order of sums, hence the evidence, does not depend on the processor's cores
        expected = await _expected(view, mechanism, open_host, observed(view, imported))
    expected.seconds = round(time.perf_counter() - began, 2)
    return expected


async def _expected(view: View, mechanism: Mechanism, open_host: OpenHost, trials: list[Observed]) -> Expected:
    habits = habits_of(view)
    told = Expected("too few data", "", data=sum(trial.loss is not None for trial in trials))
    distinct = len({config_key(trial.config) for trial in trials if trial.loss is not None})
    if distinct < LEAST_TRIALS:
        told.reason = f"{distinct} configurations have a valid metric, and {LEAST_TRIALS} are needed"
        return told
    if habits.proposals < LEAST_PROPOSALS:
        told.reason = f"the model made {habits.proposals} proposals, and {LEAST_PROPOSALS} show how it proposes"
        return told
    hooks = await _hooks(mechanism, open_host)
    if not set(DECISIVE) & set(hooks) - set(UNSEEN):
        told.says, told.reason = "not simulated", "it acts on running trials alone, and no training is simulated"
        return told
    noise = view.history.noise
    surrogate = Surrogate(view.space, trials, noise.deviation if noise else 0.0)
    told.skill = round(surrogate.skill(), 3)
    if told.skill <= 0:
        told.reason = f"from {told.data} runs the surrogate predicts no better than their mean (Q2 {told.skill:.2f})"
        return told
    told.says, told.horizon = "no clear effect", min(max(view.trials_left(), SHORTEST), LONGEST)
    deviation = noise.deviation if noise else surrogate.process.noise
    worlds = drawn_worlds(view, surrogate, deviation, seed_of(view.session, mechanism.hash))
    pairs = await compared(view, worlds, habits, told.horizon, mechanism.hash, open_host)
    return _judged(pairs, view.history.direction, told, hooks)


def observed(view: View, imported: Sequence[tuple[Config, float]] = ()) -> list[Observed]:
    """Every run that says something of the target: valid ones, failed ones, imported ones that fit the space."""
    history = view.history
    trials: list[Observed] = []
    seen: set[str] = set()
    for trial in history:
        runs = [] if config_key(trial.config) in seen else history.runs(trial.config)
        seen.add(config_key(trial.config))
        trials += [Observed(trial.config, history.loss(metric)) for metric in runs]
        if trial.status in ("crash", "invalid"):
            trials.append(Observed(trial.config, None))
    fitting = [(config, metric) for config, metric in imported if _fits(view.space, config) and math.isfinite(metric)]
    return trials + [Observed({**view.space.initial, **config}, history.loss(metric)) for config, metric in fitting]


def drawn_worlds(view: View, surrogate: Surrogate, deviation: float, seed: int) -> list[list[World]]:
    """FUNCTIONS times SEARCHES worlds: a row shares its function."""
    worlds = []
    for index in range(FUNCTIONS):
        loss = surrogate.draw(np.random.default_rng([seed, index]))
        value = _turned(loss) if view.history.direction == "maximize" else loss
        worlds.append([World(value, surrogate.failure, deviation, (seed, index, n)) for n in range(SEARCHES)])
    return worlds


async def compared(
    view: View, worlds: list[list[World]], habits: Habits, horizon: int, mechanism: str, open_host: OpenHost
) -> list[list[tuple[Ended, Ended]]]:
    """In each world the search without the mechanism and the one with it."""
    free = asyncio.Semaphore(AT_ONCE)

    async def pair(world: World) -> tuple[Ended, Ended]:
        async with free:
            without = await searched(view, world, habits, horizon, None, open_host)
            return without, await searched(view, world, habits, horizon, mechanism, open_host)

    async with asyncio.TaskGroup() as group:
        tasks = [[group.create_task(pair(world)) for world in row] for row in worlds]
    return [[task.result() for task in row] for row in tasks]


def mean_effect(differences: NDArray[np.float64]) -> tuple[float, float, float]:
    """The mean and its 95 % interval (mean, low, high) from differences of shape (functions, searches), both >= 2.

    The interval holds the middle 95 % of the functions' effects, since the target is one of these, and the error of
    their mean on either side. What luck adds to the spread of the functions' means is taken out by shrinking them
    until their variance is that between functions (Louis 1984, constrained empirical Bayes estimates), with care: as
    so few functions show badly how much is luck, less is taken for it than they show.
    """
    functions, searches = differences.shape
    means = differences.mean(axis=1)
    mean = float(means.mean())
    between = searches * float(means.var(ddof=1))
    within = float(differences.var(axis=1, ddof=1).mean())
    share = max(0.0, 1 - CERTAIN_LUCK * within / between) if between > 0 else 0.0
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(mean + math.sqrt(share) * (means - mean), [tail, 1 - tail])
    error = t_quantile(1 - tail, functions - 1) * math.sqrt(between / (functions * searches))
    return mean, float(low) - error, float(high) + error


def seed_of(session: str, digest: str) -> int:
    """The seed of the rehearsals of one source in one session."""
    return int.from_bytes(hashlib.sha256(f"{session}\n{digest}".encode()).digest()[:8], "big")


def _judged(pairs: list[list[tuple[Ended, Ended]]], direction: str, told: Expected, hooks: Collection[str]) -> Expected:
    """The evidence completed: what the pairs say."""
    differences = np.array([[after.value - before.value for before, after in row] for row in pairs])
    effect, low, high = mean_effect(differences)
    with_it = [after for row in pairs for _, after in row]
    acted = sum(ended.acts for ended in with_it) / len(with_it)
    failed = sum(ended.failures > 0 for ended in with_it)
    best = f"the best after {told.horizon} more trials"
    if low > 0 or high < 0:
        told.says = "better" if (effect < 0) == (direction == "minimize") else "worse"
        told.reason = f"{best} would be {'lower' if effect < 0 else 'higher'} with it than without"
    elif acted:
        told.reason = f"the trials so far leave open whether {best} would be another with it"
    else:
        told.reason = f"it did not act in {len(with_it)} searches of {told.horizon} trials"
    unseen = [hook for hook in UNSEEN if hook in hooks]
    if unseen:
        told.reason += f"; what its {' and '.join(unseen)} would do is not simulated"
    if failed:
        told.reason += f"; it failed in {failed} of {len(with_it)} searches"
    told.effect, told.interval = effect, [low, high]
    told.replications, told.acted = len(with_it), round(acted, 2)
    return told


async def _hooks(mechanism: Mechanism, open_host: OpenHost) -> tuple[str, ...]:
    host = await open_host(mechanism)
    try:
        return (await host.start()).hooks
    finally:
        await host.close()


def _fits(space: Space, config: Config) -> bool:
    try:
        for name, parameter in space.parameters.items():
            if not parameter.locked:
                parameter.clean(config[name])
    except (KeyError, ValueError):
        return False
    return True


def _turned(loss: Callable[[Config], float]) -> Callable[[Config], float]:
    return lambda config: -loss(config)
