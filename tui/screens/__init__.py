"""The screens: a session live or replayed, the list of sessions, a decision, a comparison, help."""
