"""The session at a glance: what it is, whether it is alive, what each level does, how far it is, what it has found."""

from rich.text import Text
from textual import events

from engine.record.summary import cost, sandbox_level, unpaid
from engine.record.view import ENDED, View
from engine.record.wording import clean, metric_name, number, reason_alone, signed
from engine.search.trials import Trial
from tui.gpu import Gpu, Reading
from tui.listing import state_of
from tui.moment import Moment
from tui.panes.curve_drawing import drawing_of
from tui.panes.glyphs import SESSION
from tui.panes.phrases import Part, doing, lasting, row
from tui.widgets.block import Block
from tui.widgets.plot import sparks

NARROW = 100
"""Columns below which the header takes a third line."""
_BAR = 12
_SPARKS = 10
_ENGINE = {"answers": ("alive", "good"), "silent": ("silent", "warn"), "gone": ("gone", "bad")}
"""How an engine's state reads, and its style."""


class Header(Block):
    """Two lines, three where it is narrow. Draws only the lines that differ from those before."""

    DEFAULT_CSS = "Header { padding: 0 1; background: $panel; }"

    def __init__(self) -> None:
        super().__init__()
        self.gpu = Gpu()
        self._shown: tuple[Moment, bool] | None = None
        self._known: tuple[int, ...] = ()
        self._found: list[Part] = []
        self._sparks: list[Part] = []

    def on_unmount(self) -> None:
        self.gpu.stop()

    def show(self, moment: Moment, held: bool = False) -> None:
        """Bring it to the moment; `held`: the person holds what is shown."""
        self._shown = (moment, held)
        if not moment.replay:
            self.gpu.start()
        # Before its first layout the header has no width of its own.
        width = self.size.width or self.app.size.width - 2
        state, model = _state_told(moment), _model(moment.view)
        far, found = _progress(moment), self._result(moment.view)
        alive = [Part(0, part) for part in _health(moment, held)]
        gpu = [] if moment.replay or self.gpu.reading is None else [Part(4, _gpu(self.gpu.reading))]
        session, around = _session(moment.view), _surroundings(moment.view)
        if width < NARROW - 2 or self.screen.has_class("-zoomed"):  # elsewhere the pane of the curve is seen
            found = [*self._sparks, *found]
        if width < NARROW - 2:
            beside = session._replace(rank=2)  # how far it is matters more
            lines = [row([*state, model], alive, width), row(far, [beside], width), row(found, [*around, *gpu], width)]
        else:
            what = [*state, session, model, *around]
            lines = [row(what, alive, width), row([*far, *found], gpu, width)]
        self.show_lines(lines)

    def _result(self, view: View) -> list[Part]:
        """The best with its difference to the baseline, what was confirmed, the cost: anew when a run has ended."""
        known = (len(view.finished_runs), len(view.confirmations), view.calls)
        if known != self._known:
            spent = Part(6 if unpaid(view) else 3, _cost(view))
            self._sparks = _spark(view)
            self._known, self._found = known, [*_best(view), *_confirmed(view), spent]
        return self._found

    def on_resize(self, event: events.Resize) -> None:
        if self._shown is not None:
            self.call_after_refresh(self.show, *self._shown)


def _state(moment: Moment) -> str:
    """The session's state."""
    return state_of(moment.view.status, alive=moment.engine.state != "gone")


# --- the first line ---------------------------------------------------------------------------------------------------
def _state_told(moment: Moment) -> list[Part]:
    view, state = moment.view, _state(moment)
    sign, style = SESSION.get(state, ("?", "warn"))
    parts = [Part(0, Text(f"{sign} {state}", style))]
    if view.status_reason and state == view.status != "running":
        why = reason_alone(view.status, view.status_reason)
        parts.append(Part(3, Text(clean(why, 40), "dim")))
    return parts


def _session(view: View) -> Part:
    return Part(1, Text(clean(view.session, 40), "strong"))


def _model(view: View) -> Part:
    if view.stand_in:
        return Part(0, Text(f" STAND-IN {clean(view.model, 20)} ", "alert"))
    return Part(2, Text(clean(view.model, 40)))


def _surroundings(view: View) -> list[Part]:
    """What it searches, who lets mechanisms in, and what cages them."""
    target = clean(view.target.get("name", "?"), 30)
    parts = [Part(4, Text(f"{target}/{clean(view.settings.profile, 12)}"))]
    parts.append(Part(6, Text(f"approval {_approval(view)}", "dim")))
    sandbox = sandbox_level(view)
    if sandbox and "2" in view.settings.levels:
        parts.append(Part(5, Text(f"sandbox {clean(sandbox, 12)}", "dim")))
    return parts


def _approval(view: View) -> str:
    grace = view.settings.approval == "grace"
    return f"grace {lasting(view.settings.grace)}" if grace else view.settings.approval


def _health(moment: Moment, held: bool) -> list[Text]:
    """Replay and hold, else the engine's state with the age of the newest event."""
    view = moment.view
    if moment.replay:
        return [Text(" REPLAY ", "alert")]  # where it stands, the timeline tells
    parts = [Text(" READ-ONLY ", "alert")] if moment.only_looks else []
    parts += [Text(f" HELD {moment.feed.head - moment.feed.position} behind ", "alert")] if held else []
    age = f"{lasting(moment.now - view.time)} ago" if view.seq else "none yet"
    if view.status in ENDED:
        return [*parts, Text(f"ended {age}", "dim")]
    word, style = _ENGINE.get(moment.engine.state, (moment.engine.state, "warn"))
    said = Text.assemble((f"engine {word}", style), (f" · last event {age}", "dim"))
    return [*parts, said]


# --- how far ----------------------------------------------------------------------------------------------------------
def _progress(moment: Moment) -> list[Part]:
    """What each level does, the trial's bar, the trials done."""
    view = moment.view
    parts = []
    if _state(moment) != "interrupted":
        for level, words in doing(view):
            parts.append(Part(0 if level == "1" else 2, Text.assemble((f"L{level} ", "accent"), words)))
            parts += _bar(moment) if level == "1" else []
    done = f"{view.completed}/{view.settings.trials} trials"
    return [*parts, Part(1, Text(done))]


def _bar(moment: Moment) -> list[Part]:
    running = moment.view.running
    if running is None:
        return []
    progress = running.progress
    ran = lasting(moment.now - running.since)
    if progress is None or progress.fraction is None:
        step = f"step {progress.step}, " if progress is not None else "starts, "
        return [Part(2, Text(f"{step}{ran}"))]
    fraction = min(1.0, max(0.0, progress.fraction))
    full = round(_BAR * fraction)
    bar = Text.assemble(("━" * full, "accent"), ("╌" * (_BAR - full), "dim"))
    left = f", {lasting(progress.remaining)} left" if progress.remaining is not None else f", {ran}"
    return [Part(3, bar), Part(2, Text(f"{100 * fraction:.0f} %{left}"))]


# --- what came of it --------------------------------------------------------------------------------------------------
def _best(view: View) -> list[Part]:
    best, baseline = view.history.best, view.baseline
    name = clean(metric_name(view), 20)
    if best is None or best.metric is None:
        return [Part(3, Text(f"no {name} yet", "dim"))]
    value = Text.assemble(f"best {name} ", (number(best.metric), "strong"))
    if best.number == 0 or baseline is None or baseline.metric is None:
        return [Part(1, value.append(" (the baseline)", "dim"))]
    gap = Text.assemble((signed(best.metric - baseline.metric), "good"), (" to the baseline", "dim"))
    which = Text.assemble((f"(trial {best.number}", "dim"), _noise(best), (")", "dim"))
    if view.confirmed is None:
        return [Part(1, value.append(" ").append_text(which)), Part(3, gap)]
    return [Part(1, value), Part(5, which), Part(3, gap)]  # what was confirmed is the better witness


def _spark(view: View) -> list[Part]:
    """The curve in a few blocks, for where no other one is seen."""
    drawing = drawing_of(view, None)
    return [Part(4, Text(sparks(drawing, _SPARKS)))] if drawing is not None else []


def _noise(best: Trial) -> tuple[str, str]:
    """Whether the best may be luck, as the trial itself told."""
    return ("", "") if best.beyond_noise else (", within noise", "warn")


def _confirmed(view: View) -> list[Part]:
    confirmed = view.confirmed
    if confirmed is None or confirmed.difference is None:
        return []
    text = Text(f"confirmed {signed(confirmed.difference)}", "strong")
    if confirmed.interval:
        low, high = confirmed.interval
        text.append(f" [{signed(low)}, {signed(high)}]")
        if low <= 0 <= high:
            text.append(" may be no gain", "warn")
    return [Part(1, text)]


def _cost(view: View) -> Text:
    if unpaid(view):
        return Text(f"no cost: {unpaid(view)}", "dim")
    spent = cost(view)
    told = "cost unknown" if spent is None else f"cost {spent:.4f}"
    limit = view.settings.max_cost
    return Text(told + (f" of {limit:g}" if limit is not None and spent is not None else ""))


def _gpu(told: Reading) -> Text:
    which = f"GPU {told.index}" if told.count > 1 else "GPU"
    use = f" {told.percent} %" if told.percent is not None else ""
    heat = f" {told.celsius} °C" if told.celsius is not None else ""
    return Text(f"{which}{use} {told.used:.0f}/{told.total:.0f} GiB{heat}")
