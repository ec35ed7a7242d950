"""Orthogonal exploration: go, by a small design of experiments, where the search has not been.

A model that believes in one direction never tries the other, and some parameters it never touches. Every parameter has
two directions, up and down; a direction is open while no trial has taken it. Three parameters at a time, those with one
side open first, are changed together by the rows of the orthogonal array L4, in which each pair of columns holds each
pair of signs once. The first row takes all three the way that nobody went; a row is run only as long as it opens new
ground, and the mechanism falls silent once every direction was taken.

Plackett, R. L., Burman, J. P. (1946). The Design of Optimum Multifactorial Experiments. Biometrika 33(4), 305-325;
L4 in the notation of Taguchi.
"""


class Mechanism:
    name = "orthogonal_exploration"
    purpose = "Suggests the untried directions of neglected parameters, by the rows of an orthogonal array."
    source = "Plackett and Burman 1946; Taguchi's L4"

    ARRAY = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
    FACTOR = 4.0  # step of parameters on a log scale
    FRACTION = 0.25  # step of the others, as a part of the range

    def suggest(self, view):
        ways_open = self._open(view)
        if not ways_open:
            return None
        block = self._block(view, ways_open)
        ahead = {name: self._ahead(view, name) for name in block}
        rows = []
        for row in self.ARRAY:
            signs = {name: column * ahead[name] for name, column in zip(block, row, strict=False)}
            rows.append((sum((name, sign) in ways_open for name, sign in signs.items()), signs))
        rows.sort(key=lambda row: -row[0])
        rows += [(1, {name: sign}) for name, sign in ways_open]  # one alone, where together they break a constraint
        for opened, signs in rows:
            changes = {
                name: stepped(view.parameters[name], sign, self.FACTOR, self.FRACTION) for name, sign in signs.items()
            }
            changes = {name: value for name, value in changes.items() if value is not None}
            if opened and changes and view.check(changes) is None:
                ways = ", ".join(f"{name} {'up' if signs[name] > 0 else 'down'}" for name in changes)
                return [{"changes": changes, "why": f"untried together: {ways}; {len(ways_open)} directions are open"}]
        return None

    def _open(self, view):
        """The (parameter, sign) pairs that no trial has taken and that may be taken from the incumbent, in order."""
        taken = self._taken(view, view.trials)
        found = []
        for name, parameter in view.parameters.items():
            for sign in (-1, 1):
                value = stepped(parameter, sign, self.FACTOR, self.FRACTION)
                if (name, sign) not in taken and value is not None and view.check({name: value}) is None:
                    found.append((name, sign))
        return found

    def _block(self, view, ways_open):
        """Up to three parameters: those of the array begun, then those with one side open and tried most often."""
        names = list(dict.fromkeys(name for name, _ in ways_open))
        own = [trial for trial in view.trials if trial.proposed_by == self.name]
        if own and len(own[-1].changes) == len(self.ARRAY[0]) and any(name in names for name in own[-1].changes):
            return list(own[-1].changes)
        sides = {name: sum(name == other for other, _ in ways_open) for name in names}
        tries = {name: sum(name in trial.changes for trial in view.trials) for name in names}
        return sorted(names, key=lambda name: (sides[name], -tries[name]))[: len(self.ARRAY[0])]

    def _ahead(self, view, name):
        """The way that the others did not take: up only if they went down alone."""
        taken = self._taken(view, [trial for trial in view.trials if trial.proposed_by != self.name])
        return 1 if (name, -1) in taken and (name, 1) not in taken else -1

    def _taken(self, view, trials):
        """The (parameter, sign) pairs that these trials took, from their bases."""
        configs = {trial.number: trial.config for trial in view.trials}
        taken = set()
        for trial in trials:
            if trial.base not in configs or trial.status == "stopped":
                continue
            for name, value in trial.changes.items():
                parameter, old = view.parameters[name], configs[trial.base][name]
                if parameter.kind == "choice":
                    old, value = (
                        list(parameter.choices).index(x) if x in parameter.choices else -1 for x in (old, value)
                    )
                if value != old:
                    taken.add((name, 1 if value > old else -1))
        return taken


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
