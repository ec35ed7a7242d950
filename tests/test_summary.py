"""What a session came to, as an object for scripts."""

import json

from told_sessions import HASH, NAME, beginning, created, mechanism, trials, view_of, whole

from engine.record import events as ev
from engine.record.summary import show_json

KEYS = [
    "session",
    "status",
    "target",
    "profile",
    "model",
    "levels",
    "sandbox",
    "baseline",
    "best",
    "confirmed",
    "trials",
    "strategy",
    "injections",
    "tokens",
    "cost",
]


def test_the_object_has_the_promised_shape_and_is_json() -> None:
    told = json.loads(json.dumps(show_json(view_of(whole()))))
    assert list(told) == KEYS
    assert (told["session"], told["status"], told["target"], told["profile"]) == (NAME, "finished", "toy", "cpu")
    assert told["model"] == {"name": "offline", "stand_in": True}
    assert told["levels"] == ["1", "1.5", "2"]
    assert told["baseline"]["runs"] == [3.98, 4.01, 4.0]
    assert round(told["baseline"]["metric"], 6) == 3.996667
    assert round(told["baseline"]["noise"], 6) == 0.015275
    assert told["best"] == {"trial": 3, "metric": 2.61}
    assert told["confirmed"] == {"difference": -1.38, "interval": [-1.42, -1.34]}
    assert told["tokens"] == {"in": 0, "out": 0}
    assert told["cost"] is None


def test_trials_strategy_and_injections_are_told_one_by_one() -> None:
    told = show_json(view_of(whole()))
    assert [trial["number"] for trial in told["trials"]] == [1, 2, 3, 4, 5, 6, 7]
    assert told["trials"][0] == {
        "number": 1,
        "status": "discard",
        "metric": 4.2,
        "changes": {"BATCH": 128},
        "hypothesis": "larger is better",
        "proposed_by": "model",
        "seconds": 10.4,
        "steps": 12,
        "beyond_noise": False,
    }
    assert told["trials"][3]["metric"] is None
    assert told["strategy"][0]["frozen"] == ["RATE"]
    assert told["strategy"][0]["strategy"] == "explore"
    assert told["injections"] == [
        {
            "name": "tabu_search",
            "hash": HASH,
            "written_by": "model",
            "status": "active",
            "trial": 5,
            "called": 9,
            "acted": 1,
            "evidence": {"blocked": 6, "replaced": 1, "kept_blocked": 0, "sandbox": "B"},
            "purpose": "avoid repeats",
            "source": "own",
            "path": "/m/tabu.py",
            "research": 0,
            "replaces": None,
            "derived_from": None,
            "reason": "",
            "problems": [],
            "decision": {"decision": "approved", "by": "clock", "reason": ""},
            "periods": [{"after": 5, "until": None}],
            "hooks": {"review": {"called": 6, "acted": 1}, "advise": {"called": 3, "acted": 0}},
            "acts": [{"trial": 6, "hook": "review", "before": None, "after": None, "why": "it was tried"}],
            "failures": [],
            "credit": {
                "touched": {"trials": 1, "kept": 0, "improvement": 0.0, "mean": 2.65},
                "others": {"trials": 1, "kept": 0, "improvement": 0.0, "mean": 2.9},
            },
        }
    ]
    assert told["sandbox"] == "B"  # what the module's host reached, not what the engine began with


def test_what_has_not_happened_yet_is_null() -> None:
    told = show_json(view_of([created()]))
    assert (told["status"], told["baseline"], told["best"], told["confirmed"]) == ("running", None, None, None)
    assert (told["sandbox"], told["trials"], told["injections"]) == (None, [], [])


def test_a_mechanism_that_was_let_in_and_replaced_counts_as_retired_and_one_that_failed_as_refused() -> None:
    events = [*beginning(), *mechanism()]
    elder = ev.MechanismWritten(
        hash="e" * 64, name="newer", purpose="p", source="own", written_by="model", path="/m", replaces=HASH
    )
    events += [elder, ev.MechanismActivated(hash="e" * 64, name="newer", trial=6, replaces=HASH)]
    broken = ev.MechanismWritten(hash="f" * 64, name="broken", purpose="p", source="own", written_by="model", path="/m")
    events += [broken, ev.MechanismValidated(hash="f" * 64, name="broken", problems=["it does not load"])]
    told = {entry["name"]: entry["status"] for entry in show_json(view_of(events))["injections"]}
    assert told == {"tabu_search": "retired", "newer": "active", "broken": "refused"}


def test_the_cost_is_a_number_where_the_prices_are_known_and_null_where_they_are_not() -> None:
    call = ev.ModelCalled(
        level="1", purpose="propose", model="m", prompt_blob="", answer_blob="", tokens_in=9, tokens_out=1, seconds=1.0
    )
    priced = beginning(model="m", price_in=1.0, price_out=2.0)
    paid = ev.ModelCalled(**{name: getattr(call, name) for name in call.__struct_fields__} | {"cost": 0.25})
    assert show_json(view_of([*priced, paid, paid]))["cost"] == 0.5
    assert show_json(view_of([*priced, paid, call]))["cost"] is None
    assert show_json(view_of(priced))["cost"] == 0.0
    assert show_json(view_of(beginning(model="m")))["cost"] is None


def test_the_object_holds_at_every_point_of_a_session() -> None:
    events = whole()
    for length in range(1, len(events) + 1):
        json.dumps(show_json(view_of(events[:length])))


def test_a_confirmation_without_enough_runs_is_null() -> None:
    events = [*beginning(), *trials(), ev.Confirmed(baseline=[4.0], best=[], trial=3)]
    assert show_json(view_of(events))["confirmed"] is None
