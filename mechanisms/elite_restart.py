"""Restarts from elites: a search that is stuck goes on from another good place, far from where it stands.

After PATIENCE trials without a new incumbent the next STAY trials are led elsewhere: the model's proposals start from
an elite, one of the best distinct trials that lies far from the incumbent. One trial there proves little, so the
excursion follows its own line: what betters the elite is the next base, though it does not lead the search yet. When it
does, by the rule that holds everywhere, the search goes on from there; otherwise the incumbent has its turn again, for
PATIENCE trials, and then the next elite.

Between two good places there may be a better one: it also suggests the incumbent with half of what an elite has
different: a step of path relinking.

Lourenco, H. R., Martin, O. C., Stuetzle, T. (2003). Iterated Local Search. Handbook of Metaheuristics, 320-353: the
restarts. Glover, F., Laguna, M., Marti, R. (2000). Fundamentals of Scatter Search and Path Relinking. Control and
Cybernetics 29(3), 653-684: elites that are good and far apart, and the way between them.
"""

import math


class Mechanism:
    name = "elite_restart"
    purpose = "Leads a stuck search on from another good trial, far from the incumbent, and mixes the two."
    source = "Lourenco, Martin and Stuetzle 2003, iterated local search; Glover, Laguna and Marti 2000, path relinking"

    PATIENCE = 6  # trials without a new incumbent after which the search is stuck
    STAY = 4  # trials that an excursion lasts; then the incumbent has its turn, as many as PATIENCE
    ELITES = 3  # places, one for each excursion in turn
    GOOD = 0.5  # part of the distinct trials, from the best, that may be elites
    FAR = 0.25  # least distance from the incumbent and from each other, in ranges, summed over the parameters
    DRAWS = 8  # halves that are drawn until one is new and valid

    def steer(self, view):
        number, elapsed = divmod(self._idle(view), self.PATIENCE + self.STAY)
        if elapsed < self.PATIENCE:
            return None
        start = len(view.trials) - (elapsed - self.PATIENCE)
        elites = self._elites(view, view.trials[:start])
        if not elites:
            return None
        elite = elites[number % len(elites)]
        lead = self._lead(view, elite, start)
        line = f", and trial {lead.number} leads its line" if lead is not elite else ""
        why = f"no new incumbent for {self._idle(view)} trials; trial {elite.number} is good and far from it{line}"
        return {"base": lead.number, "why": why}

    def suggest(self, view):
        if self._idle(view) < self.PATIENCE:
            return None
        mixed = [self._mixed(view, elite) for elite in self._elites(view, view.trials)]
        return [suggestion for suggestion in mixed if suggestion] or None

    def _idle(self, view):
        """Trials since the last new incumbent."""
        kept = [at for at, trial in enumerate(view.trials) if trial.status == "keep" and trial.replicate is None]
        return len(view.trials) - 1 - max(kept, default=0)

    def _elites(self, view, trials):
        """The best of these trials that lie far from the incumbent and from each other."""
        distinct = {repr(trial.config): trial for trial in reversed(trials) if trial.metric is not None}
        ranked = sorted(distinct.values(), key=lambda trial: (self._loss(view, trial), trial.number))
        elites = []
        for trial in ranked[: math.ceil(self.GOOD * len(ranked))]:
            others = [view.incumbent, *elites]
            if len(elites) < self.ELITES and all(distance(view, trial, other) >= self.FAR for other in others):
                elites.append(trial)
        return elites

    def _lead(self, view, elite, start):
        """The best of the elite and of the trials that were based on it, or on one another, since the start."""
        line = {elite.number: elite}
        for trial in view.trials[start:]:
            if trial.base in line and trial.metric is not None:
                line[trial.number] = trial
        return min(line.values(), key=lambda trial: self._loss(view, trial))

    def _mixed(self, view, elite):
        """The incumbent with a random half of what the elite has different."""
        own = view.incumbent.config
        free = [name for name, known in view.parameters.items() if not known.locked and known.frozen != "person"]
        differing = [name for name in free if own[name] != elite.config[name]]
        for _ in range(self.DRAWS if len(differing) > 1 else 0):
            names = view.rng.permutation(differing)[: len(differing) // 2].tolist()
            changes = {name: elite.config[name] for name in names}
            ran = any(trial.config == {**own, **changes} for trial in view.trials)
            if not ran and view.check(changes) is None:
                return {"changes": changes, "why": f"half of what trial {elite.number} has different: a way between"}
        return None

    def _loss(self, view, trial):
        mean, _ = view.standing(trial.config)
        return mean if view.direction == "minimize" else -mean


def distance(view, one, other):
    """How far two trials lie apart, in ranges, summed over the parameters; another choice is one range."""
    return sum(apart(known, one.config[name], other.config[name]) for name, known in view.parameters.items())


def apart(parameter, one, other):
    low, high = parameter.low, parameter.high
    if parameter.kind == "tuple" and isinstance(low, tuple) and isinstance(high, tuple):
        return sum(abs(a - b) / ((top - bottom) or 1) for a, b, bottom, top in zip(one, other, low, high, strict=True))
    if parameter.kind not in ("int", "float") or low is None or high is None or low >= high:
        return float(one != other)
    if parameter.log and low > 0:
        return abs(math.log(one / other)) / math.log(high / low)
    return abs(one - other) / (high - low)
