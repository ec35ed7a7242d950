"""One training run: started, watched, ended, and its outcome read.

    target       what is trained: target.toml, and the block of constants of its script
    workspace    the scripts of a session in git
    runs         from what is to be trained to a judged result
    supervisor   a process of its own that owns the trainer: limits, signals, leftovers, result.json
    trainer      the engine's half: start, follow, stop, adopt after a restart
    outcome      what result.json says, believed only when it is whole
    processes    which process is which, and the sweep of what a dead supervisor left
    environment  what a trainer may inherit
    output       what the trainer printed: progress, the metric, the curve, the last lines

A run ends in one way only: the supervisor writes result.json and ends. An engine that saw the whole run and one that
was started afterwards read the same file by the same code. What a trainer prints or writes is never believed unchecked.
"""
