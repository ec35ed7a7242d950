"""The summary of a session, as an object for scripts and as lines for a person."""

import json

from told_sessions import HASH, NAME, beginning, created, ending, mechanism, run, trials, view_of, whole

from engine.record import events as ev
from engine.record.summary import changes_from, show_json, summary_lines

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
            "evidence": {"blocked": 6, "replaced": 1, "kept_blocked": 0},
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


def test_the_lines_say_what_matters() -> None:
    text = "\n".join(summary_lines(view_of(whole())))
    assert "STAND-IN" in text
    assert "profile cpu, 8 s a trial" in text
    assert "7 of 7: 1 crash, 5 discard, 1 keep" in text
    assert "val_bpb 3.9967 ± 0.0153 over 3 runs" in text
    assert "trial 3: val_bpb 2.6100, -1.3867 to the baseline (beyond the noise when it was kept)" in text
    assert "BATCH 64 → 32" in text
    assert "-1.3800 over 2 fresh runs each, 95 % interval -1.4200 to -1.3400" in text
    assert "decided 1 times, acted 1 times" in text
    assert "): active after trial 5, called 9, acted 1" in text and "source: /m/tabu.py" in text


def test_a_real_model_is_named_without_the_word_stand_in() -> None:
    text = "\n".join(summary_lines(view_of(beginning(model="deepseek-chat"))))
    assert "deepseek-chat" in text
    assert "STAND-IN" not in text
    assert "cost unknown" in text


def test_the_lines_hold_at_every_point_of_a_session() -> None:
    events = whole()
    for length in range(1, len(events) + 1):
        lines = summary_lines(view_of(events[:length]))
        assert lines[0].startswith("session")
        json.dumps(show_json(view_of(events[:length])))


def test_a_search_that_found_nothing_says_so() -> None:
    events = [*beginning(), *run("trial-1", 1, 4.5, changes={"BATCH": 128}, base=0)]
    assert "no trial was better" in "\n".join(summary_lines(view_of(events)))


def test_a_confirmation_without_enough_runs_claims_nothing() -> None:
    events = [*beginning(), *trials(), ev.Confirmed(baseline=[4.0], best=[], trial=3)]
    assert show_json(view_of(events))["confirmed"] is None
    assert "confirmed  no" in "\n".join(summary_lines(view_of(events)))


def test_levels_that_did_not_run_are_not_spoken_of() -> None:
    text = "\n".join(summary_lines(view_of([*beginning(levels=["1"]), *ending()])))
    assert "level 1.5" not in text
    assert "level 2" not in text


def test_a_difference_between_configurations_names_what_changed() -> None:
    assert changes_from({"A": 1, "B": [0.5, 0.9]}, {"A": 1, "B": [0.5, 0.8]}) == "B (0.5, 0.8) → (0.5, 0.9)"
