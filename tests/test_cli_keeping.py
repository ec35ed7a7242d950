"""The commands that take results out of a record and clear old sessions away: all of it, or nothing."""

import json
import math

from test_cli import Shell, shell, told
from told_sessions import NAME, beginning, whole, write

from engine.record.events import StateChanged
from engine.record.lock import EngineLock
from engine.record.reader import Reader
from engine.tools.keeping import prunable, prune

__all__ = ["shell", "told"]


def test_export_writes_the_script_the_table_and_the_events(told: Shell) -> None:
    words = ("export", "--best", "best.py", "--results-tsv", "r.tsv", "--events", "e.jsonl")
    assert told(*words)[0] == 0
    assert "BATCH = 32" in (told.folder / "best.py").read_text()
    table = (told.folder / "r.tsv").read_text().splitlines()
    assert table[0].split("\t") == ["commit", "val_bpb", "memory_gb", "status", "description"]
    assert len(table) == 1 + 8
    assert table[2].endswith("\tdiscard\tlarger is better")
    events = [json.loads(line) for line in (told.folder / "e.jsonl").read_text().splitlines()]
    assert len(events) == len(whole())
    assert told("export", "--results-tsv", "-")[1].splitlines() == table


def test_export_replaces_nothing_without_force_and_leaves_nothing_half_written(told: Shell) -> None:
    (told.folder / "best.py").write_text("mine")
    assert "best.py exists" in told.refused("export", "--best", "best.py")
    assert (told.folder / "best.py").read_text() == "mine"
    assert told("export", "--best", "best.py", "--force")[0] == 0
    assert "no/best.py cannot be written" in told.refused("export", "--best", "no/best.py")
    assert [path.name for path in told.folder.glob(".best.py*")] == []


def test_export_looks_at_every_place_before_it_writes(told: Shell) -> None:
    assert "--best and --results-tsv both go to ./a" in told.refused("export", "--best", "a", "--results-tsv", "./a")
    (told.folder / "e").write_text("mine")
    assert "e exists" in told.refused("export", "--best", "a", "--events", "e")
    assert "there is no directory" in told.refused("export", "--best", "a", "--events", "none/e")
    assert not (told.folder / "a").exists()


def test_backup_is_a_record_of_its_own(told: Shell) -> None:
    assert told("backup", "copy.db")[0] == 0
    with Reader(told.folder / "copy.db") as reader:
        assert reader.verify(NAME) == len(whole())
    assert not list(told.folder.glob("copy.db?*"))
    assert "copy.db exists" in told.refused("backup", "copy.db")
    assert "is the record itself" in told.refused("backup", "sessions.db", "--force")
    assert "there is no directory" in told.refused("backup", "none/copy.db")
    assert not (told.folder / "none").exists()


def test_prune_lists_first_and_removes_only_when_told(told: Shell) -> None:
    assert "nothing to remove" in told("prune", "--days", "1")[1]
    code, out, _ = told("prune", "--days", "0")
    assert code == 0
    assert NAME in out
    assert "nothing was removed yet" in out
    assert (told.folder / ".bilevel" / NAME).exists()
    assert told("prune", "--days", "0", "--yes")[0] == 0
    assert not (told.folder / ".bilevel" / NAME).exists()
    assert told("show")[0] == 0
    assert told("prune", "--days", "0", "--yes", "--events")[0] == 0
    assert "holds no session" in told.refused("show")


def test_prune_leaves_what_has_not_ended(shell: Shell) -> None:
    write(shell.db, beginning())
    assert "nothing to remove" in shell("prune", "--days", "0", "--yes", "--events")[1]
    assert shell("show")[0] == 0


def test_prune_of_events_gives_way_to_a_running_engine(told: Shell) -> None:
    with EngineLock(told.db) as lock:
        lock.acquire("another", "/nowhere")
        assert "session another is running" in told("prune", "--days", "0", "--yes", "--events")[2]
        assert (told.folder / ".bilevel" / NAME / "workspace.git").exists()
        assert told("prune", "--days", "0", "--yes")[0] == 0
    assert not (told.folder / ".bilevel" / NAME).exists()
    assert told("show")[0] == 0


def test_prune_passes_over_what_was_taken_up_again_meanwhile(told: Shell) -> None:
    chosen = prunable(told.db, math.inf)
    with EngineLock(told.db) as lock:
        lock.acquire(NAME, "/nowhere")
        assert prune(told.db, chosen, events=False) == ([], 0)
    write(told.db, [StateChanged(status="finished", reason="it went on, and ended again")])
    assert prune(told.db, chosen, events=True)[0] == []
    assert (told.folder / ".bilevel" / NAME).exists()
    assert told("show")[0] == 0
