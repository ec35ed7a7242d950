"""The surrogate: what the target might give for any configuration, from the trials that have run.

A Gaussian process with a Matern 5/2 kernel, a length scale a column and a nugget for the noise. Its length scales have
the log-normal prior that grows with the dimension of Hvarfner, Hellsten and Nardi (2024, "Vanilla Bayesian Optimization
Performs Great in High Dimensions"), without which ten trials in fourteen dimensions fit anything. A function is drawn
from the posterior by pathwise conditioning (Wilson et al. 2020): one of the prior by random Fourier features, corrected
by what the data say. Losses worse than the median count by their logarithm: a process that had to follow the worst of
them would miss what matters near the best. Where trials crashed, a logistic regression says how likely that is.

The skill is the share of the variance that is predicted for trials left out (Q2, 1 is perfect, 0 no better than the
mean), over folds that are fitted without them.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from scipy.optimize import minimize
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel
from sklearn.linear_model import LogisticRegression

from engine.rehearsal.encoding import Encoding, Points
from engine.search.parameters import Config, Space

FEATURES = 1024
"""Random Fourier features of a function drawn from the prior."""
FOLDS = 5
STEPS = 40
"""Steps of the fit of the kernel at most."""
MOST = 250
"""Trials that a process is fitted on; its cost grows with the cube."""
FARTHEST = 20.0
"""Units above the bend, by logarithm, beyond which a drawn value is no worse."""
SECOND_START = math.log(4)
"""The kernel is searched twice, the second time from amplitude, lengths and nugget of a fourth: one start may end where
everything is noise."""
_NU = 2.5
_OPTIONS = {"maxiter": STEPS}


@dataclass(frozen=True)
class Observed:
    """A configuration and its valid metric, turned so that lower is better; None where the run failed."""

    config: Config
    loss: float | None


@dataclass(frozen=True)
class Bend:
    """Losses above `knee` counted by their logarithm, in units of `unit`; smooth at the knee."""

    knee: float
    unit: float

    @classmethod
    def at(cls, losses: Points) -> "Bend":
        """The bend at the median, the unit its distance from the best tenth."""
        tenth, median = np.quantile(losses, [0.1, 0.5])
        return cls(float(median), float(median - tenth) or float(losses.std()) or 1.0)

    def bent(self, losses: Points) -> Points:
        """As the process sees them."""
        above = np.maximum(losses - self.knee, 0) / self.unit
        return np.asarray(np.minimum(losses, self.knee) + self.unit * np.log1p(above))

    def straight(self, losses: Points) -> Points:
        """Back in the metric's unit."""
        above = np.clip((losses - self.knee) / self.unit, 0, FARTHEST)
        return np.asarray(np.minimum(losses, self.knee) + self.unit * np.expm1(above))


class Process:
    """A Gaussian process fitted to points and losses (lower is better)."""

    def __init__(self, points: Points, losses: Points, deviation: float, starts: int = 2) -> None:
        """`deviation`: what is known of the noise, which is no smaller; 0 for nothing."""
        self._mean, self._deviation = float(losses.mean()), float(losses.std()) or 1.0
        self._points = points
        self._targets = (losses - self._mean) / self._deviation
        columns = points.shape[1]
        lengths = math.sqrt(columns) * np.ones(columns)
        kernel = ConstantKernel(1.0, (0.05, 20.0)) * Matern(lengths, (0.05, 100.0), nu=_NU)
        least = min(max((deviation / self._deviation) ** 2, 1e-6), 0.5)
        kernel += WhiteKernel(max(0.1, least), (least, 1.0))
        search = partial(_most_probable, [kernel.theta - SECOND_START * index for index in range(starts)])
        regressor = GaussianProcessRegressor(kernel, optimizer=search, alpha=1e-8)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a length scale at its bound is no news
            regressor.fit(points, self._targets)
        self._fitted = regressor
        self._amplitude = float(regressor.kernel_.k1.k1.constant_value)
        self._lengths = np.atleast_1d(regressor.kernel_.k1.k2.length_scale)
        self._nugget = float(regressor.kernel_.k2.noise_level)

    @property
    def noise(self) -> float:
        """The deviation between runs of one configuration that the fit supposes."""
        return math.sqrt(self._nugget) * self._deviation

    def predict(self, points: Points) -> Points:
        """The expected losses."""
        return np.asarray(self._fitted.predict(points)) * self._deviation + self._mean

    def draw(self, rng: np.random.Generator) -> Callable[[Points], Points]:
        """One function that the data allow, without noise: the losses at points."""
        columns = self._points.shape[1]
        # The spectrum of a Matern kernel is a multivariate t distribution with 2 nu degrees of freedom.
        tails = np.sqrt(rng.chisquare(2 * _NU, FEATURES) / (2 * _NU))
        frequencies = rng.standard_normal((columns, FEATURES)) / tails / self._lengths[:, None]
        phases = rng.uniform(0, 2 * math.pi, FEATURES)
        weights = rng.standard_normal(FEATURES) * math.sqrt(2 * self._amplitude / FEATURES)

        def prior(points: Points) -> Points:
            return np.asarray(np.cos(points @ frequencies + phases) @ weights)

        noise = rng.standard_normal(len(self._points)) * math.sqrt(self._nugget)
        gap = self._targets - prior(self._points) - noise
        factor = self._fitted.L_
        correction = np.linalg.solve(factor.T, np.linalg.solve(factor, gap))
        covariance = self._fitted.kernel_.k1

        def function(points: Points) -> Points:
            drawn = prior(points) + covariance(points, self._points) @ correction
            return np.asarray(drawn * self._deviation + self._mean)

        return function


class Surrogate:
    """What a target might give. Raises ValueError for less than two valid trials."""

    def __init__(self, space: Space, trials: Sequence[Observed], deviation: float = 0.0) -> None:
        self._deviation = deviation
        self.encoding = Encoding(space)
        valid = [trial for trial in trials if trial.loss is not None]
        if len(valid) < 2:
            raise ValueError(f"{len(valid)} valid trials allow no surrogate")
        valid = _nearest_the_best(valid)
        self._points = self.encoding.points([trial.config for trial in valid])
        losses = np.array([trial.loss for trial in valid], dtype=np.float64)
        self._bend = Bend.at(losses)
        self._losses = self._bend.bent(losses)
        self.process = Process(self._points, self._losses, deviation)
        self._failures = _failures(self.encoding, trials)

    def skill(self) -> float:
        """Q2 over folds: 1 - squared errors / squared distances from the mean of the others."""
        errors, distances = 0.0, 0.0
        order = np.random.default_rng(0).permutation(len(self._losses))
        for fold in np.array_split(order, min(FOLDS, len(order))):
            rest = np.setdiff1d(order, fold)
            fitted = Process(self._points[rest], self._losses[rest], self._deviation, starts=1)
            predicted = fitted.predict(self._points[fold])
            errors += float(np.sum((predicted - self._losses[fold]) ** 2))
            distances += float(np.sum((self._losses[rest].mean() - self._losses[fold]) ** 2))
        return 1 - errors / distances if distances > 0 else 0.0

    def draw(self, rng: np.random.Generator) -> Callable[[Config], float]:
        """One function that the trials allow: the loss of a configuration, without noise."""
        function = self.process.draw(rng)
        return lambda config: float(self._bend.straight(function(self.encoding.points([config])))[0])

    def failure(self, config: Config) -> float:
        """How likely a run of a configuration fails, 0 to 1; 0 where none has."""
        if self._failures is None:
            return 0.0
        return float(self._failures.predict_proba(self.encoding.points([config]))[0, 1])


def _most_probable(
    starts: Sequence[Points], objective: Callable[..., Any], theta: Points, bounds: Points
) -> tuple[Points, float]:
    """The kernel of maximal posterior density, searched from each start. `theta` is scikit-learn's own, not used."""
    columns = len(theta) - 2
    mean, deviation = math.sqrt(2) + math.log(columns) / 2, math.sqrt(3)

    def penalised(theta: Points) -> tuple[float, Points]:
        value, gradient = objective(theta)
        lengths = theta[1:-1]
        # The density of the logarithm, so that the mode does not depend on the scale that is searched.
        gradient = np.array(gradient)
        gradient[1:-1] += (lengths - mean) / deviation**2
        return value + float(np.sum((lengths - mean) ** 2)) / (2 * deviation**2), gradient

    found = [
        minimize(penalised, np.clip(start, *bounds.T), jac=True, bounds=bounds, method="L-BFGS-B", options=_OPTIONS)
        for start in starts
    ]
    best = min(found, key=lambda end: float(end.fun))
    return best.x, best.fun


def _nearest_the_best(trials: list[Observed]) -> list[Observed]:
    """At most MOST trials: the better half by value, the rest spread over the others in order."""
    if len(trials) <= MOST:
        return trials
    order = sorted(range(len(trials)), key=lambda index: float(trials[index].loss or 0.0))
    best, others = order[: MOST // 2], order[MOST // 2 :]
    spread = np.linspace(0, len(others) - 1, MOST - len(best)).round().astype(int)
    chosen = {*best, *(others[index] for index in spread)}
    return [trial for index, trial in enumerate(trials) if index in chosen]


def _failures(encoding: Encoding, trials: Sequence[Observed]) -> LogisticRegression | None:
    failed = [trial.loss is None for trial in trials]
    if not any(failed):
        return None
    points = encoding.points([trial.config for trial in trials])
    return LogisticRegression(C=10.0, max_iter=1000).fit(points, failed)
