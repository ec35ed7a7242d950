"""A bandit over moves at several scales: what paid is done again, what was never tried is tried in its turn.

An arm is a parameter, a direction and a scale (a factor, or a part of the range). Each trial rewards the arms that it
pulled with its gain over its base, shared among the changes of the trial and divided by the largest gain or loss seen:
rewards lie in [-1, 1], and a crash counts -1. The arm with the highest upper confidence bound is suggested.

With a few dozen trials most arms are never pulled, so an arm starts from what its neighbours earned: the same direction
at another scale, and, with the sign turned, the opposite direction. What lost much is a reason to go the other way.

Auer, P., Cesa-Bianchi, N., Fischer, P. (2002). Finite-time Analysis of the Multiarmed Bandit Problem. Machine Learning
47, 235-256: UCB1, here with a prior of PRIOR pulls.
"""

import math


class Mechanism:
    name = "multi_scale_bandit"
    purpose = "Suggests the parameter, direction and step size with the highest upper confidence bound on its gain."
    source = "Auer, Cesa-Bianchi and Fischer 2002, UCB1"

    FACTORS = (4.0, 2.0, 16.0)  # steps of parameters on a log scale; between equal arms the earlier goes first
    FRACTIONS = (0.2, 0.05, 0.5)  # steps of the others, as parts of the range
    EXPLORATION = 0.4  # width of the confidence bound
    PRIOR = 1.0  # pulls that the neighbours' rewards count for
    OPPOSITE = 0.5  # weight of the opposite direction among the neighbours
    SUGGESTIONS = 3

    def __init__(self):
        self.pulls = {}  # (name, sign, scale): [(gain or None after a crash, share of the trial), ...]

    def observe(self, view, trial):
        base = next((earlier for earlier in view.trials if earlier.number == trial.base), None)
        if base is None or trial.status == "stopped":
            return
        gain = None
        before = view.standing(base.config)[0]
        if trial.metric is not None and before is not None:
            gain = before - trial.metric if view.direction == "minimize" else trial.metric - before
        for name, value in trial.changes.items():
            arm = self._arm(view.parameters[name], base.config[name], value)
            if arm is not None:
                self.pulls.setdefault(arm, []).append((gain, 1 / len(trial.changes)))

    def suggest(self, view):
        rewards = self._rewards()
        total = sum(len(pulled) for pulled in rewards.values())
        ranked = sorted(self._moves(view), key=lambda move: -self._bound(move[0], rewards, total))
        suggestions = []
        for (name, sign, scale), value in ranked:
            changes = {name: value}
            if view.check(changes) is None and not self._ran(view, changes):
                pulled = len(rewards.get((name, sign, scale), ()))
                way = "up" if sign > 0 else "down"
                suggestions.append(
                    {"changes": changes, "why": f"{name} {way}: this step was pulled {pulled} times of {total}"}
                )
            if len(suggestions) == self.SUGGESTIONS:
                break
        return suggestions or None

    def _bound(self, arm, rewards, total):
        """UCB1's bound; the mean is drawn towards what the neighbouring arms earned."""
        name, sign, scale = arm
        weight, earned = 1.0, 0.0
        for other in range(len(self.FACTORS)):
            for reward in rewards.get((name, sign, other), ()) if other != scale else ():
                weight, earned = weight + 1, earned + reward
            for reward in rewards.get((name, -sign, other), ()):
                weight, earned = weight + self.OPPOSITE, earned - self.OPPOSITE * reward
        own = rewards.get(arm, ())
        n = len(own) + self.PRIOR
        mean = (sum(own) + self.PRIOR * earned / weight) / n
        return mean + self.EXPLORATION * math.sqrt(math.log(1 + total) / n)

    def _rewards(self):
        """{arm: rewards in [-1, 1]}"""
        gains = [abs(gain) for pulled in self.pulls.values() for gain, _ in pulled if gain is not None]
        largest = max(gains, default=0.0) or 1.0
        return {
            arm: [share * (-1.0 if gain is None else gain / largest) for gain, share in pulled]
            for arm, pulled in self.pulls.items()
        }

    def _moves(self, view):
        """Every arm with the value that it leads to from the incumbent."""
        for scale in range(len(self.FACTORS)):
            for parameter in view.parameters.values():
                for sign in (-1, 1):
                    value = stepped(parameter, sign, self.FACTORS[scale], self.FRACTIONS[scale])
                    if value is not None and (scale == 0 or parameter.kind != "choice"):
                        yield (parameter.name, sign, scale), value

    def _arm(self, parameter, old, new):
        """The arm that comes nearest to a change, or None for what has no direction."""
        choices = list(parameter.choices)
        if parameter.kind == "choice" and old in choices and new in choices:
            return (parameter.name, 1 if choices.index(new) > choices.index(old) else -1, 0)
        if parameter.kind not in ("int", "float") or old == new or parameter.low is None or parameter.high is None:
            return None
        if parameter.log and old > 0 and new > 0:
            size, steps = abs(math.log(new / old)), [math.log(factor) for factor in self.FACTORS]
        else:
            size, steps = abs(new - old) / ((parameter.high - parameter.low) or 1), self.FRACTIONS
        scale = min(range(len(steps)), key=lambda index: abs(math.log(size / steps[index])))
        return (parameter.name, 1 if new > old else -1, scale)

    def _ran(self, view, changes):
        config = {name: parameter.value for name, parameter in view.parameters.items()} | changes
        return any(trial.config == config for trial in view.trials)


def stepped(parameter, sign, factor, fraction):
    """The value one step up or down from the incumbent's, within the range; None where there is none."""
    if parameter.kind == "choice":
        choices = list(parameter.choices)
        at = choices.index(parameter.value) + sign if parameter.value in choices else -1
        return choices[at] if 0 <= at < len(choices) else None
    if parameter.kind == "tuple" or parameter.low is None or parameter.high is None:
        return None
    if parameter.log:
        value = parameter.value * factor**sign
    else:
        value = parameter.value + sign * fraction * (parameter.high - parameter.low)
    value = min(max(value, parameter.low), parameter.high)
    value = round(value) if parameter.kind == "int" else float(f"{value:.6g}")
    return None if value == parameter.value else value
