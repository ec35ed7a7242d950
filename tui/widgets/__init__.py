"""Widgets of the application that know nothing of a session."""
