"""Curve stopping: a trial whose training loss lies hopelessly above the incumbent's at the same point is stopped.

The loss of the running trial is held against the incumbent's curve at the same fraction of the budget. A trial may be
behind and still win, so two things are asked of the trials that ran to their end. How far did they, from about that
point on, make up or lose ground against the incumbent? And how far above its base did a trial end whose metric was
better all the same? Only a gap larger than both together, the first with SAFETY, is hopeless. Nothing is stopped before
EARLIEST, when curves still cross, nor before LEAST_CURVES are known.

It assumes that the loss is one quantity in all trials (the same data, per token, without terms that a parameter scales)
and that the fraction means the same share of the budget. Where a parameter changes what the loss is made of, as label
smoothing does, its name belongs in INCOMPARABLE: a trial that differs from the incumbent there is neither judged nor
learnt from. A loss that is no number is no evidence: the trainer has its own rule for a run that diverged.

Golovin, D. et al. (2017). Google Vizier: A Service for Black-Box Optimization. KDD, section 3.1: the median stopping
rule, which compares curves at one point without a model of them; here with the incumbent's in place of the median.
"""

import itertools


class Mechanism:
    name = "curve_stopping"
    purpose = "Stops a trial whose loss lies above the incumbent's by more than any trial was known to make up."
    source = "Golovin et al. 2017, Google Vizier, the median stopping rule"

    EARLIEST = 0.3  # fraction of the budget before which nothing is stopped
    LATEST = 0.9  # fraction after which stopping saves nothing
    AROUND = 0.1  # how far from the fraction other curves are looked at, for what they made up from there
    LEAST_CURVES = 4  # finished trials, beside the incumbent, that must be known
    SAFETY = 1.5  # factor on the most that was ever made up
    LEAST_GAP = 0.02  # a gap below this part of the incumbent's loss is none
    INCOMPARABLE = ()  # names of parameters that change what the loss means

    def watch(self, view, progress):
        fraction, loss = progress.fraction, progress.loss
        known = fraction is not None and loss is not None and view.incumbent is not None
        if not known or not self.EARLIEST <= fraction <= self.LATEST:
            return None
        if not progress.changes or not self._comparable(view, progress.changes):
            return None  # a replicate is there to be measured: stopped when it goes badly, it would flatter the mean
        curves = {trial.number: self._curve(trial) for trial in view.trials if self._comparable(view, trial.config)}
        curves = {number: curve for number, curve in curves.items() if curve}
        reference = curves.get(view.incumbent.number, ())
        standard = at(reference, fraction)
        if standard is None or len(curves) <= self.LEAST_CURVES:
            return None
        gap, allowed = loss - standard, self._allowed(view, curves, reference, fraction)
        if gap <= max(allowed, self.LEAST_GAP * abs(standard)):
            return None
        return (
            f"at {fraction:.0%} its loss {loss:.4g} lies {gap:.3g} above the incumbent's; "
            f"by the curves of {len(curves) - 1} trials {allowed:.3g} at most could still be won"
        )

    def _allowed(self, view, curves, reference, fraction):
        """The largest gap at this fraction with which a trial might still win."""
        made_up, ended_above = 0.0, 0.0
        for trial in view.trials:
            curve = curves.get(trial.number, ())
            for point, loss in curve if curve != reference else ():
                standard = at(reference, point) if abs(point - fraction) <= self.AROUND else None
                if standard is not None:
                    change = loss - standard - (curve[-1][1] - reference[-1][1])
                    # a good trial that fell back shows how far another might come up; one that diverged shows nothing
                    made_up = max(made_up, abs(change) if trial.status == "keep" else change)
            if trial.verdict == "better" and curve and trial.base in curves:
                ended_above = max(ended_above, curve[-1][1] - curves[trial.base][-1][1])
        return self.SAFETY * made_up + ended_above

    def _curve(self, trial):
        """The curve of a trial that ran to its end, without the losses that are no numbers; () for any other."""
        curve = tuple((fraction, loss) for fraction, loss in trial.curve if loss is not None)
        return curve if trial.metric is not None and curve and curve[-1][0] > self.LATEST else ()

    def _comparable(self, view, values):
        own = view.incumbent.config
        return all(values[name] == own[name] for name in self.INCOMPARABLE if name in values)


def at(curve, fraction):
    """The loss at a fraction, straight between two points of the curve; None outside it."""
    for (left, before), (right, after) in itertools.pairwise(curve):
        if left <= fraction <= right:
            return before + (after - before) * (fraction - left) / ((right - left) or 1)
    return None
