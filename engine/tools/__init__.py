"""What a person does beside a running session: begin a target, check a machine, measure, keep and clear records.

Each module is one command's work without its printing: it takes plain arguments, returns what it found or made, and
raises InputError or BilevelError with the sentence to show.
"""
