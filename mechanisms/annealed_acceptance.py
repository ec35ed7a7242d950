"""Simulated annealing: early in the search a slightly worse trial may become the incumbent, at the end none may.

A rule that keeps only what is better ends in the first valley. Here a trial that the rule discards becomes the
incumbent with probability exp(-loss / T), where its loss is the distance of its metric from the incumbent's standing.
T begins at START times a small loss of this very search: the lower quartile of the losses that its trials brought, and
not less than the noise, below which no loss means anything. T falls with the share of the budget that is left, to zero
at the last trial; without a budget it halves every HALF_LIFE trials.

A walk that ends below where it began has wasted the way: once less than RETURN of the start is left of T, the model is
led back to the best trial, if the incumbent is not it.

Metropolis, N. et al. (1953). Equation of State Calculations by Fast Computing Machines. J. Chem. Phys. 21, 1087-1092:
the probability. Kirkpatrick, S., Gelatt, C. D., Vecchi, M. P. (1983). Optimization by Simulated Annealing. Science 220,
671-680: the cooling.
"""

import math


class Mechanism:
    name = "annealed_acceptance"
    purpose = "Lets a slightly worse trial become the incumbent, less and less as the search goes on."
    source = "Metropolis et al. 1953; Kirkpatrick, Gelatt and Vecchi 1983, simulated annealing"

    START = 1.0  # the first temperature, in small losses
    QUARTILE = 0.25  # which of the losses so far, from the smallest, is a small one
    LEAST_LOSSES = 3  # losses that must be known before one is called small
    HALF_LIFE = 12.0  # trials in which the temperature halves, where nobody said how many there will be
    RETURN = 0.2  # part of the first temperature below which the model is led back to the best

    def accept(self, view, trial):
        if trial.status != "discard" or trial.metric is None or trial.replicate is not None:
            return None  # kept by the rule, without a metric, or a better estimate of what is known
        loss = self._loss(view, trial.metric, view.incumbent)
        temperature = self._temperature(view)
        if loss is None or not temperature:
            return None
        return True if view.rng.random() < math.exp(-max(loss, 0.0) / temperature) else None

    def steer(self, view):
        if self._share(view) >= self.RETURN or view.best is None or view.incumbent is None:
            return None
        lost = self._loss(view, view.standing(view.incumbent.config)[0], view.best)
        if lost is None or lost <= 0:
            return None
        return {"base": view.best.number, "why": f"the search has cooled; trial {view.best.number} is the best so far"}

    def _temperature(self, view):
        """In the metric's unit; 0 at the end, and while no loss is known to measure it by."""
        losses = sorted(self._losses(view))
        small = losses[int(self.QUARTILE * len(losses))] if len(losses) >= self.LEAST_LOSSES else 0.0
        return self.START * max(small, view.noise or 0.0) * self._share(view)

    def _share(self, view):
        """The part of the first temperature that is left, 1 to 0; the trial that runs now is among those left."""
        done = len(view.trials)
        if view.trials_left is None:
            return 0.5 ** (done / self.HALF_LIFE)
        after = max(view.trials_left - 1, 0)
        return after / (done + after) if after else 0.0

    def _losses(self, view):
        """What the trials so far lost against their bases, where they lost."""
        bases = {trial.number: trial for trial in view.trials}
        for trial in view.trials:
            loss = self._loss(view, trial.metric, bases.get(trial.base))
            if loss is not None and loss > 0:
                yield loss

    def _loss(self, view, metric, base):
        """By how much a metric is worse than the standing of a trial's configuration; None where either is unknown."""
        standing = view.standing(base.config)[0] if base is not None else None
        if metric is None or standing is None:
            return None
        return metric - standing if view.direction == "minimize" else standing - metric
