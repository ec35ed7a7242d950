"""The panes of a session's screen: each shows one side of the view, at whatever event it stands."""
