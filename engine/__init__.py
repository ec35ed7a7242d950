"""The engine of bilevel: a search for a better training script, and the loops above it, without any user interface.

Imports run one way, top to bottom:

    session, tools            one session from start to confirmed result; doctor, init, bench
    levels                    1 (inner), 1.5 (strategy), 2 (research)
    control  mechanism  model  training
    record                    events, the database, the view that events fold into
    search                    parameters, the block of constants, trials, noise

`python -m engine` runs one session; everything else reads its record or speaks to its control socket.
"""
