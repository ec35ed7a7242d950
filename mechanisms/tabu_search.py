"""Tabu search: a move that failed a few trials ago is not made again.

A model likes some moves and proposes them again in other words. Here a move is a parameter that goes up or down (or to
another choice) from about where it stands. A failed move stays tabu for TENURE trials; if it succeeds somewhere, it is
free again. A proposal that repeats a tabu move gets that step turned round, the same distance the other way; where that
is not possible the step is left out, and a proposal of which nothing remains is blocked.

Glover, F. (1989). Tabu Search, Part I. ORSA Journal on Computing 1(3), 190-206: short-term memory of move attributes.
"""

import math


class Mechanism:
    name = "tabu_search"
    purpose = "Turns round, drops or blocks moves that failed within the last trials."
    source = "Glover 1989, Tabu Search, Part I"

    TENURE = 7  # trials for which a failed move stays tabu
    REGION = 1.0  # how near "about where it stands" is: doublings, or tenths of the range

    def review(self, view, proposal):
        base = self._config(view, proposal.base)
        tabu = self._tabu(view)
        changes, reasons = {}, []
        for name, value in proposal.changes.items():
            parameter, old = view.parameters[name], base[name]
            failed_in = self._failed_in(tabu, parameter, old, value)
            if failed_in is None:
                changes[name] = value
                continue
            reasons.append(f"{name} {old} -> {value} repeats a move that failed in trial {failed_in}")
            other_way = mirrored(parameter, old, value)
            if (
                other_way is not None
                and self._failed_in(tabu, parameter, old, other_way) is None
                and view.check({name: other_way}, proposal.base) is None
            ):
                changes[name] = other_way
        if not reasons:
            return None
        if changes and view.check(changes, proposal.base) is None:
            return {"changes": changes, "why": "; ".join(reasons) + "; tried the other way, or without it, instead"}
        return {"block": "; ".join(reasons)}

    def _tabu(self, view):
        """The failed moves of the last TENURE trials: {(parameter, direction): [(place, trial number), ...]}."""
        tabu = {}
        for trial in view.trials[-self.TENURE :]:
            if trial.base is None or trial.status == "stopped":
                continue
            before = self._config(view, trial.base)
            for name, value in trial.changes.items():
                parameter = view.parameters[name]
                move = (name, direction(parameter, before[name], value))
                if trial.status == "keep":
                    tabu.pop(move, None)
                else:
                    tabu.setdefault(move, []).append((place(parameter, before[name]), trial.number))
        return tabu

    def _failed_in(self, tabu, parameter, old, new):
        """The number of the trial in which this move failed from about here, or None."""
        for where, number in tabu.get((parameter.name, direction(parameter, old, new)), ()):
            if abs(where - place(parameter, old)) <= self.REGION:
                return number
        return None

    def _config(self, view, number):
        if number is None:
            return {name: parameter.value for name, parameter in view.parameters.items()}
        return next(trial.config for trial in view.trials if trial.number == number)


def direction(parameter, old, new):
    """Up or down for numbers; for choices and tuples the value itself."""
    if parameter.kind in ("int", "float"):
        return "up" if new > old else "down"
    return repr(new)


def place(parameter, value):
    """Where a value lies on its parameter's own scale: in doublings, or in tenths of the range."""
    if parameter.kind not in ("int", "float"):
        return 0.0
    if parameter.log and value > 0:
        return math.log2(value)
    if parameter.low is None or parameter.high is None or parameter.high <= parameter.low:
        return 0.0
    return 10 * (value - parameter.low) / (parameter.high - parameter.low)


def mirrored(parameter, old, new):
    """The value as far from `old` as `new` is, on the other side; None where there is none."""
    if parameter.kind not in ("int", "float"):
        return None
    value = old * old / new if parameter.log and new > 0 else 2 * old - new
    if parameter.low is not None:
        value = max(value, parameter.low)
    if parameter.high is not None:
        value = min(value, parameter.high)
    value = round(value) if parameter.kind == "int" else float(f"{value:.6g}")
    return None if value == old else value
