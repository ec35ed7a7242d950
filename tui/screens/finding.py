"""What the person looks at in a session, and finding a trial by its number."""

from typing import TYPE_CHECKING

from tui.screens.asking import Ask
from tui.widgets.lines import LineView
from tui.widgets.plot import Plot

if TYPE_CHECKING:
    from tui.screens.session import SessionScreen


class Finding:
    """Finding for `SessionScreen`, and what `Keeping` asks it for."""

    def action_goto_trial(self: "SessionScreen") -> None:
        """Go to a trial by its number."""

        def given(text: str | None) -> None:
            if not text:
                return
            try:
                self.go_to_trial(int(text))
            except ValueError:
                self.notify(f"{text} is no trial's number", severity="error", markup=False)

        self.app.push_screen(Ask("Go to trial", "Its number; 0 is the baseline.", longest=9), given)

    def go_to_trial(self: "SessionScreen", number: int) -> None:
        """Select a trial; a replay goes to the moment at which it ended."""
        if self.replay:
            if not self.seek_trial(number):
                return
        elif number not in self.feed.view.history.trials:
            self.notify(f"there is no trial {number} yet", severity="warning")
            return
        else:
            self.selection.trial = number
        self.action_pane(1)

    # --- what is looked at --------------------------------------------------------------------------------------------
    def lines_in_focus(self: "SessionScreen") -> LineView | None:
        """The list of lines that the person looks at, in the pane with the focus."""
        if isinstance(self.focused, LineView):
            return self.focused
        return next((lines for lines in self.focused_pane().query(LineView) if lines.display), None)

    def kept_as(self: "SessionScreen") -> str:
        """The session."""
        return self.feed.session

    def part_in_focus(self: "SessionScreen") -> tuple[str, str]:
        """The pane with the focus, or of several lists of lines in it the one that has it."""
        name, lines = self.focused_pane().heading.lower().replace(" ", "-"), self.lines_in_focus()
        if lines is not None:
            return name, lines.text()
        plots = self.focused_pane().query(Plot)
        return name, "".join(f"{line.plain.rstrip()}\n" for plot in plots for line in plot.lines())
