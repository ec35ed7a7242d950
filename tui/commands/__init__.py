"""The commands, in groups: running, steering, looking, keeping, setup. Each module ends in its table of commands."""
