"""A view at any event of a session, without folding what changes no state.

Most events are progress, of which a view keeps the last. `advance` folds what bears on the state through the index of
those events, and of the rest what folding.apply needs: the outcome is the fold of every event, in all fields. Copies of
a view (`copied`) are where a later seek begins.
"""

from collections.abc import Callable
from typing import Any, TypeVar, get_args

from engine.record import events as ev
from engine.record.folding import apply
from engine.record.reader import Reader, Row
from engine.record.view import Mechanism, Research, RunningTrial, View
from engine.search.trials import History

_PARTS = (RunningTrial, Mechanism, Research, History)
"""What a view holds that folding changes in place, beside lists and dicts."""
_T = TypeVar("_T")
Folded = Callable[[Row, ev.Event], None]
"""Told of each event that was folded for its state, once the view has it."""
Unread = Callable[[Row, Exception], None]
"""Told of each event that could not be folded, as one of a newer version."""


def advance(
    view: View,
    reader: Reader,
    session: str,
    to: int,
    *,
    most: int | None = None,
    folded: Folded | None = None,
    unread: Unread | None = None,
) -> None:
    """Take the view, which `advance` or a fold of every event left where it stands, on to the later event `to`.

    With `most` it stops after so many events that bear on the state. Without `unread`, an event that cannot be read
    raises UnknownEvent. Raises RecordError for trouble with the record; the view is then of no further use.
    """
    progress_after = activity_after = view.seq
    count = 0
    for row in reader.events(session, after=view.seq, state_only=True, upto=to, limit=most):
        if row.kind == "engine_started":
            activity_after = row.seq
            for before in reader.newest(session, row.seq - 1):
                if before.seq > view.seq:
                    _fold(view, before, unread)
        elif row.kind == "trial_started":
            progress_after = row.seq
        event = _fold(view, row, unread)
        if folded is not None and event is not None:
            folded(row, event)
        count += 1
    if count == most:
        to = view.seq
    rows = [row for row in reader.newest(session, to) if row.seq > view.seq]
    rows += _newest_activities(reader, session, activity_after, to)
    if view.running is not None:
        rows += reader.newest_progress(session, view.running.started.run, progress_after, to)
    reached, time = view.seq, view.time
    for row in sorted(set(rows)):
        _fold(view, row, unread)
    view.seq, view.time = max((reached, time), (view.seq, view.time))


def _newest_activities(reader: Reader, session: str, after: int, upto: int) -> list[Row]:
    levels = get_args(ev.Level)
    return [row for level in levels for row in reader.newest_activity(session, level, after, upto)]


def _fold(view: View, row: Row, unread: Unread | None) -> ev.Event | None:
    """Apply one event; None if it could not be, and `unread` was told."""
    try:
        event = row.event
        apply(view, row.seq, row.time, event)
    except Exception as error:
        # A body that decodes may still speak of what an unreadable one had brought: any defect may come of that.
        if unread is None:
            raise
        unread(row, error)
        view.seq, view.time = row.seq, row.time
        return None
    return event


def copied(view: View) -> View:
    """A copy that stays as it is when folding goes on with the other; events and trials never change and are shared."""
    return _part_copied(view)


def _part_copied(part: _T) -> _T:
    new: _T = object.__new__(type(part))
    vars(new).update({name: _copied(value) for name, value in vars(part).items()})
    return new


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        copy_each = _copier(next(iter(value.values()), None))
        return {key: copy_each(each) for key, each in value.items()} if copy_each else value.copy()
    if kind is list:
        copy_each = _copier(next(iter(value), None))
        return [copy_each(each) for each in value] if copy_each else value.copy()
    return _part_copied(value) if kind in _PARTS else value


def _copier(first: Any) -> Callable[[Any], Any] | None:
    """How the elements of a container are copied, which are all of one kind; None where they are shared."""
    return list if type(first) is list else _part_copied if type(first) in _PARTS else None
