"""provisional"""
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
@dataclass(frozen=True)
class Command:
    command: str
    args: dict[str, Any] = field(default_factory=dict)
    by: str = "person"
    dry_run: bool = False
@dataclass(frozen=True)
class Answer:
    applied: bool
    detail: str
class ControlServer:
    def __init__(self, path, handle): pass
    async def start(self): pass
    async def close(self): pass
def socket_path(db, session, environ): return Path("/tmp/none.sock")
