"""Mechanisms: search modules that Level 2 writes and injects, each run in a process of its own that nobody trusts.

    contract      hooks, what a mechanism sees and may answer; source_check: what its source must look like
    protocol      frames between the engine and a host, read strictly
    client        the engine's half: starts a host, calls it, starts it again when it died (by process and wire)
    host          the other half, alone in its process; view: what a mechanism sees
    cage          the layers that a host puts on itself and tries (by landlock, seccomp and syscalls), and their levels
    bubblewrap    the layer around it, where that works; sandbox: what a machine gives, found out by starting a host
    trust         which source may run without a person; validation: the evidence before a mechanism is active
    chain         where each hook of the active ones (members) is asked; failures: how they fail

What runs inside the host (contract, protocol, host, view, cage and its layers) needs the standard library and
engine.search alone.
"""
