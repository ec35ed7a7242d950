"""What a person uses: the command line, and the lines that it prints of a session that runs.

Everything here reads the record, speaks to the control socket and starts engines; nothing here searches, and a session
goes on without it.

cli        the commands, from arguments to exit code
output     standard output and error, closed or full or plain
settings   what a session runs with: defaults, bilevel.toml, environment, flags
plain      events as lines of text
follow     a session followed in plain lines until it ends
commands   the commands themselves, by what they are for
"""
