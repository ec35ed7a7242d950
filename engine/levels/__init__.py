"""The three levels of the search, each a task: proposals (1), freezes and strategy (1.5), new mechanisms (2)."""
