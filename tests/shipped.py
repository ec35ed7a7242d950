"""What the tests of the shipped mechanisms share: one told of its trials, and one active in a search."""

from mechanism_hosts import Json
from searches import Search

from engine.mechanism.client import MechanismHost
from engine.mechanism.trust import shipped_sources
from engine.record.events import InjectionDecided

SOURCES = shipped_sources()


async def told(host: MechanismHost, *trials: Json, incumbent: int = 0) -> MechanismHost:
    """The host, started and told of these trials; the incumbent after each is the last one kept."""
    await host.start()
    for known in trials:
        incumbent = known["number"] if known["status"] == "keep" else incumbent
        await host.observe(known, incumbent)
    return host


async def activate(s: Search, name: str) -> None:
    """Make a shipped mechanism active in a search."""
    written, source = s.written(name, SOURCES[name])
    decided = InjectionDecided(hash=written.hash, name=name, decision="approved", by="person")
    await s.journal.record(written, decided, blobs=[source.encode()])
    await s.boundary.inject()
