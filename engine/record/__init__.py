"""The record of a session: typed events, the database they lie in, and the view that they fold into."""
