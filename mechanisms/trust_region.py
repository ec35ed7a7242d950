"""A surrogate within a trust region: model what the trials gave, believe the model only near the incumbent.

A Gaussian process (Matern 5/2; the length scale by the marginal likelihood) is fitted to the trials nearest the
incumbent. Random moves in a region around the incumbent are ranked by their expected improvement over it. After WINS of
its own suggestions in a row the region doubles, after LOSSES it halves; shrunk to nothing, it starts anew. A trial
without a metric counts as bad as the worst. `advise` tells the model what the surrogate expects of each parameter.

Eriksson, D. et al. (2019). Scalable Global Optimization via Local Bayesian Optimization. NeurIPS: TuRBO, the region.
Jones, D. R., Schonlau, M., Welch, W. J. (1998). Efficient Global Optimization. J. Global Optim. 13, 455-492: expected
improvement. Centaur, arXiv:2603.24647: an optimiser that shares its state with a language model.
"""

import math

import numpy as np


class Mechanism:
    name = "trust_region"
    purpose = "Suggests what a Gaussian process expects to gain near the incumbent, and tells the model what it knows."
    source = "Eriksson et al. 2019, TuRBO; Jones, Schonlau and Welch 1998; Centaur, arXiv:2603.24647"

    START = 0.8  # first side of the region, as a part of each parameter's range
    SMALLEST = 0.05
    LARGEST = 1.6
    WINS = 2  # own trials kept in a row after which the region doubles
    LOSSES = 3  # own trials lost in a row after which it halves
    LEAST_TRIALS = 4  # with a metric, before anything is said
    NEAREST = 80  # trials that the surrogate is fitted to
    LENGTHS = (0.25, 0.5, 1.0)  # length scales, in ranges, of which the likeliest is taken
    NOISE = 0.01  # share of the variance that is noise, while the noise is unknown
    WORST = 10.0  # a disaster counts as this many times the median's distance from the best
    CANDIDATES = 200
    TOGETHER = 2.0  # parameters that a candidate changes, about
    SUGGESTIONS = 3
    LINES = 8  # of advice

    def suggest(self, view):
        surrogate, axes = self._surrogate(view), axes_of(view, ("", "level 1.5"))
        if surrogate is None or not axes:
            return None
        side, found = self._side(view), []
        tried = [trial.config for trial in view.trials]
        for gain, sd, changes in surrogate.ranked(view, self._drawn(view, axes, side)):
            config = {**view.incumbent.config, **changes}
            if config not in tried and view.check(changes) is None:
                tried.append(config)
                why = f"a gain of {gain:.3g} +- {sd:.2g} is predicted, in a region of {side:.2g} of each range"
                found.append({"changes": changes, "why": why, "gain": gain, "sd": sd})
            if len(found) == self.SUGGESTIONS:
                break
        return found or None

    def advise(self, view):
        surrogate = self._surrogate(view)
        if surrogate is None:
            return None
        half, values, lines = self._side(view) / 2, view.incumbent.config, {}
        steps = [{axis.name: axis.moved(values[axis.name], step)} for axis in axes_of(view) for step in (-half, half)]
        for gain, sd, changes in surrogate.ranked(view, [step for step in steps if view.check(step) is None]):
            ((name, value),) = changes.items()
            lines.setdefault(name, f"{name} {values[name]} -> {value}: {gain:+.3g} +- {sd:.2g}")
        head = (
            f"A Gaussian process over {len(surrogate.y)} trials, trusted within {half:.2g} of each range around the "
            "incumbent. What it expects of each parameter's better step alone (> 0 improves, +- one deviation):"
        )
        return "\n".join([head, *list(lines.values())[: self.LINES]]) if lines else None

    def _drawn(self, view, axes, side):
        """Random changes of one or a few parameters, each uniform within the region."""
        drawn = []
        for _ in range(self.CANDIDATES):
            chosen = view.rng.random(len(axes)) < self.TOGETHER / len(axes)
            chosen[view.rng.integers(len(axes))] = True
            changes = {}
            for index in np.flatnonzero(chosen):
                axis, step = axes[index], side * (view.rng.random() - 0.5)
                value = changes.get(axis.name, view.incumbent.config[axis.name])
                changes[axis.name] = axis.moved(value, step)
            drawn.append({name: value for name, value in changes.items() if value != view.incumbent.config[name]})
        return drawn

    def _side(self, view):
        """The side of the region after what came of the suggestions so far."""
        side, wins, losses = self.START, 0, 0
        for trial in view.trials:
            if trial.proposed_by == self.name:
                wins, losses = (wins + 1, 0) if trial.status == "keep" else (0, losses + 1)
            if wins == self.WINS:
                side, wins = min(2 * side, self.LARGEST), 0
            if losses == self.LOSSES:
                side, losses = side / 2 if side / 2 >= self.SMALLEST else self.START, 0
        return side

    def _surrogate(self, view):
        """The likeliest of the length scales, fitted near the incumbent; None while too little is known."""
        sign = 1 if view.direction == "minimize" else -1
        known = [sign * trial.metric for trial in view.trials if trial.metric is not None]
        axes = axes_of(view, ("", "level 1.5", "person"))
        if len(known) < self.LEAST_TRIALS or view.incumbent is None or not axes:
            return None
        x = encoded(axes, [trial.config for trial in view.trials])
        near = np.argsort(((x - encoded(axes, [view.incumbent.config])) ** 2).sum(1), kind="stable")[: self.NEAREST]
        worst = min(max(known), min(known) + (self.WORST * float(np.median(known) - min(known)) or math.inf))
        y = np.array([worst if t.metric is None else min(sign * t.metric, worst) for t in view.trials])[near]
        if np.ptp(y) == 0:
            return None
        noise = self.NOISE if view.noise is None else min(max(view.noise**2 / y.var(), 0.0001), 1.0)
        fits = [Surrogate(axes, x[near], y, length, noise) for length in self.LENGTHS]
        return max(fits, key=lambda fit: fit.likelihood)


class Surrogate:
    """A Gaussian process for the losses `y` at `x`, of shape (trials, axes); `noise` is a share of the variance."""

    def __init__(self, axes, x, y, length, noise):
        self.axes, self.x, self.y, self.length = axes, x, y, length
        covariance = self.correlation(x, x) + noise * np.eye(len(y))
        self.inverse, centred = np.linalg.inv(covariance), y - y.mean()
        self.weights = self.inverse @ centred
        self.variance = centred @ self.weights / len(y)
        self.likelihood = -len(y) * math.log(self.variance) / 2 - np.linalg.slogdet(covariance)[1] / 2

    def correlation(self, a, b):
        """Matern 5/2, of shape (rows of a, rows of b)."""
        r = np.sqrt(5 * ((a[:, None] - b) ** 2).sum(2)) / self.length
        return (1 + r + r**2 / 3) * np.exp(-r)

    def ranked(self, view, candidates):
        """(gain over the incumbent, its deviation, changes) of the candidates, by expected improvement."""
        own = view.incumbent.config
        x = encoded(self.axes, [own, *({**own, **changes} for changes in candidates)])
        known, shared = self.correlation(x, self.x), self.correlation(x, x[:1])[1:, 0]
        step = known[1:] - known[0]  # the difference to the incumbent is more certain than either value
        gains = -step @ self.weights
        deviations = np.sqrt(self.variance * np.maximum(2 - 2 * shared - (step @ self.inverse * step).sum(1), 1e-9))
        found = zip(gains.tolist(), deviations.tolist(), candidates, strict=True)
        return sorted(found, key=lambda one: -expected_improvement(*one[:2]))


class Axis:
    """One number of the encoding, 0 to 1: a parameter's, one of a tuple's, or whether a choice is taken."""

    def __init__(self, parameter, part):
        self.name, self.kind, self.part = parameter.name, parameter.kind, part
        self.choice = parameter.choices[part] if self.kind == "choice" else None
        low, high = (bound[part] if isinstance(bound, tuple) else bound for bound in (parameter.low, parameter.high))
        self.ranges = self.kind != "choice" and low is not None and high is not None and low < high
        self.log = self.ranges and parameter.log and low > 0
        self.low, self.high = (math.log(low), math.log(high)) if self.log else (low, high)

    def place(self, value):
        """Where a value of the parameter lies on this axis."""
        if not self.ranges:
            return float(self.kind == "choice" and value == self.choice)
        number = value[self.part] if self.kind == "tuple" else value
        return ((math.log(number) if self.log else number) - self.low) / (self.high - self.low)

    def moved(self, value, step):
        """The parameter's value after a step along this axis."""
        if not self.ranges:
            return self.choice if self.kind == "choice" else value
        old = value[self.part] if self.kind == "tuple" else value
        new = self.low + min(max(self.place(value) + step, 0.0), 1.0) * (self.high - self.low)
        new = float(f"{math.exp(new) if self.log else new:.4g}")
        if isinstance(old, int) and self.kind != "float":  # powers of two stay so: sizes often divide others
            new = 2 ** round(math.log2(new)) if self.log and old & (old - 1) == 0 else round(new)
        return (*value[: self.part], new, *value[self.part + 1 :]) if self.kind == "tuple" else new


def axes_of(view, frozen=("",)):
    """The axes of the parameters that are not locked, and frozen by nobody but `frozen`."""
    found = []
    for parameter in view.parameters.values():
        if not parameter.locked and parameter.frozen in frozen:
            parts = {"choice": parameter.choices, "tuple": parameter.value}.get(parameter.kind, (None,))
            found += [Axis(parameter, part) for part in range(len(parts))]
    return found


def encoded(axes, configs):
    """The configurations as an array of shape (configurations, axes)."""
    return np.array([[axis.place(config[axis.name]) for axis in axes] for config in configs])


def expected_improvement(gain, sd):
    """The expectation of max(0, X) for X normal with this mean and deviation > 0."""
    z = gain / sd
    return gain * (1 + math.erf(z / math.sqrt(2))) / 2 + sd * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
