"""One session from its start to its confirmed result: the levels as tasks, the boundary between trials, a person's
commands.

startup    opens database, workspace and model, for a new session or a resumed one
session    the phases, and the levels as tasks of one group
boundary   the place between two trials: pause, limits, injections
workshop   where Level 2's modules are tested, saved, and let in or turned away
editing    a person's changes to modules' files, which watching notices
commands   what a person asks for over the control socket
leftovers  what other sessions left running
"""
