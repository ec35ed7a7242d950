"""Hostile code in a caged host gets nothing: no file, secret, process, network, memory or right, at levels A+, A and B.

Each attack is made by a real mechanism against a stand-in engine of the same user, by the current user and, where that
is root, by one without rights. What came of every attempt is looked at, and what the victim itself noticed.
"""

import json
import os
from typing import Any

import pytest
from cage_runs import LEVELS, MISBEHAVIOURS, USERS, attacks, best, run

REFUSALS = {"EPERM", "EACCES", "ENOSYS"}
UNSEEN = {"ENOENT", "ENOTDIR", "EROFS"}
"""Within bubblewrap what is outside is not there; the root is read-only."""
EXTRA: dict[str, set[str]] = {
    "case_1_read_a_key_or_validation_data": UNSEEN,
    "case_3_look_into_the_engine": UNSEEN,
    "case_5_reach_the_network": {"gaierror"},
    "case_6_change_the_target": UNSEEN,
    "case_7_links_and_drops": UNSEEN,
    "case_9_threads": {"RuntimeError"},
    "case_10_memory": {"MemoryError", "ENOMEM", "ValueError"},
    "case_11_disk": UNSEEN,
}
INSPECTED = {"case_2_secrets", "case_19_descriptors"}


@pytest.fixture(params=[f"{user} {level}" for user in USERS for level in LEVELS])
def told(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What a run told, for each user and level."""
    return run(*request.param.split())


@pytest.mark.parametrize("attack", [name for name in attacks() if name not in INSPECTED])
def test_every_attempt_is_refused_and_does_no_harm(told: dict[str, Any], attack: str) -> None:
    result = told["attacks"][attack]
    outcomes, allowed = result["outcomes"], REFUSALS | EXTRA.get(attack, set())
    assert {name: outcome for name, outcome in outcomes.items() if outcome not in allowed} == {}
    assert outcomes
    assert result["harm"] == []


def test_it_holds_no_secret(told: dict[str, Any]) -> None:
    result = told["attacks"]["case_2_secrets"]
    assert result["outcomes"]["held"] == "LookupError"
    names = set(json.loads(result["outcomes"]["environment"].removeprefix("DONE: ").strip("'")))
    assert names - {"WEAK", "WEAK_ROOT", "PWD"} == {"LC_ALL", "OPENBLAS_NUM_THREADS", "PYTHONHASHSEED"}
    assert result["outcomes"]["own environ file"] in REFUSALS | UNSEEN
    assert result["harm"] == []


def test_it_inherits_the_protocols_descriptor_alone(told: dict[str, Any]) -> None:
    found = json.loads(told["attacks"]["case_19_descriptors"]["outcomes"]["found"].removeprefix("DONE: ").strip("'"))
    assert (found.pop("0"), found.pop("1"), found.pop("2")) == ("device", "pipe", "pipe")
    assert list(found.values()) == ["socket"]


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_a_host_that_misbehaves_ends_as_it_should_and_the_next_call_is_served(user: str, name: str) -> None:
    if name in ("32-bit call", "x32 call") and os.uname().machine != "x86_64":
        pytest.skip("this processor has no such mode")
    ended = run(user, best())["ended"][name]
    assert [said for said in ended[:2] if said.startswith(MISBEHAVIOURS[name][1])]
    assert ended[2] == "fine"


@pytest.mark.parametrize("user", USERS)
def test_the_victim_noticed_nothing_of_them(user: str) -> None:
    assert run(user, best())["harm"] == []
