"""The settings of a session: defaults, below bilevel.toml, below the environment, below flags."""

from pathlib import Path

import pytest

from engine.errors import InputError
from engine.record.settings import Settings
from tui.settings import merge, packaged_target


def settings(directory: Path, text: str = "", environ: dict[str, str] | None = None, **flags: object) -> Settings:
    (directory / "bilevel.toml").write_text(text)
    return merge(flags, environ or {}, directory=directory)


def refusal(directory: Path, text: str = "", environ: dict[str, str] | None = None, **flags: object) -> str:
    with pytest.raises(InputError) as refused:
        settings(directory, text, environ, **flags)
    sentence = str(refused.value)
    assert "\n" not in sentence
    return sentence


def test_without_anything_the_packaged_target_runs_with_the_stand_in(tmp_path: Path) -> None:
    found = merge({}, {}, directory=tmp_path)
    assert found.target == str(packaged_target())
    assert (Path(found.target) / "target.toml").is_file()
    assert found == Settings(target=found.target, profile="")


def test_each_source_goes_before_the_one_below_it(tmp_path: Path) -> None:
    text = 'model = "from-file"\nprofile = "from-file"\ntrials = 7\nseed = 3\n'
    environ = {"BILEVEL_MODEL": "from-environment", "BILEVEL_PROFILE": "from-environment"}
    found = settings(tmp_path, text, environ, model="from-flag", trials=None)
    assert (found.model, found.profile, found.trials, found.seed) == ("from-flag", "from-environment", 7, 3)


def test_an_empty_variable_sets_nothing(tmp_path: Path) -> None:
    assert settings(tmp_path, 'model = "from-file"', {"BILEVEL_MODEL": ""}).model == "from-file"


def test_paths_are_meant_from_where_they_stand(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    file = tmp_path / "below" / "other.toml"
    file.write_text('target = "mine"')
    assert merge({}, {}, config=file, directory=tmp_path).target == str(tmp_path / "below" / "mine")
    assert merge({"target": "given"}, {}, directory=tmp_path).target == str(tmp_path / "given")
    assert merge({}, {"BILEVEL_TARGET": "/abs"}, directory=tmp_path).target == "/abs"


def test_the_price_of_the_chosen_model_is_taken(tmp_path: Path) -> None:
    text = '[prices."a"]\nin = 0.27\nout = 1.10\n[prices."b.c"]\nin = 1\nout = 2\n'
    found = settings(tmp_path, text, model="b.c")
    assert (found.price_in, found.price_out) == (1.0, 2.0)
    assert settings(tmp_path, text, model="other").price_in is None
    assert settings(tmp_path, "price_in = 5.0\nprice_out = 6.0\n" + text, model="a").price_in == 5.0


def test_levels_may_be_numbers_in_the_file(tmp_path: Path) -> None:
    assert settings(tmp_path, "levels = [1, 1.5]").levels == ["1", "1.5"]


def test_the_nearer_source_decides_the_kind_of_budget(tmp_path: Path) -> None:
    assert settings(tmp_path, "seconds = 9.0", flops=1e12) == settings(tmp_path, "", flops=1e12)
    assert "a budget is one or the other" in refusal(tmp_path, "seconds = 9.0\nflops = 1.0e12")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trails = 5", "there is no setting trails; did you mean trials?"),
        ("qqqq = 5", "there is no setting qqqq; there are target"),
        ('parent = "x"', "there is no setting parent"),
        ("trials = 'many'", "trials: expected int, got str"),
        ("trials = 0", "trials is 0: give a number that is 1 or more"),
        ("hours = -1", "hours is -1: give a number that is above 0"),
        ("seconds = nan", "seconds is nan"),
        ("grace = -0.5", "grace is -0.5: give a number that is 0 or more"),
        ('approval = "maybe"', "approval: invalid enum value 'maybe'"),
        ('levels = ["1", "3"]', 'levels: "3" is none; there are 1, 1.5, 2'),
        ('levels = ["2"]', "1 is missing"),
        ('base_url = "http://me:secret@host/v1"', "put the key in BILEVEL_API_KEY"),
        ('[level_models]\n"7" = "m"', 'level_models: "7" is no level'),
        ('[prices."m"]\nin = 1', "prices.m.out is the price of a million tokens"),
        ('[prices."m"]\nin = 1\nout = -2', "prices.m.out is the price"),
        ('[prices."m"]\nin = 1\nout = 2\nper = 3', "there is no setting prices.m.per"),
        ("prices = 3", "prices is a table of tables"),
        ("trials = = 3", "is no TOML"),
        ("seconds = 1e308", "seconds is 1e+308: give a number that is at most 2,592,000"),
        ("trials = 99999999999999999999999", "give a number that is at most 1,000,000"),
        ("trials = 0x" + "f" * 5000, "trials"),
        ("trials = " + "9" * 5000, "cannot be read"),
        ("seed = -99999999999999999999", "give a number that is at most"),
        ("hours = 1e9", "at most 8,760"),
        ("x = " + "[" * 20_000, "is nested too deeply"),
        ("levels = []", "1 is missing"),
    ],
)
def test_a_mistake_in_the_file_is_said_with_file_and_key(tmp_path: Path, text: str, said: str) -> None:
    sentence = refusal(tmp_path, text)
    assert said in sentence
    assert str(tmp_path / "bilevel.toml") in sentence


def test_an_endpoint_without_a_model_is_no_stand_in(tmp_path: Path) -> None:
    assert "no model is named" in refusal(tmp_path, 'base_url = "http://h/v1"')
    assert refusal(tmp_path, "", base_url="http://h/v1").startswith("--base-url: ")
    assert settings(tmp_path, 'base_url = "http://h/v1"', model="offline").model == "offline"


def test_a_secret_in_an_address_is_not_repeated(tmp_path: Path) -> None:
    assert "hunter2" not in refusal(tmp_path, 'base_url = "http://me:hunter2@host/v1"')


def test_a_mistake_elsewhere_names_the_variable_or_the_flag(tmp_path: Path) -> None:
    assert refusal(tmp_path, "", trials=-3).startswith("--trials: trials is -3")
    assert refusal(tmp_path, "", {"BILEVEL_BASE_URL": "http://h/v1?key=1"}).startswith("BILEVEL_BASE_URL: base_url")
    assert refusal(tmp_path, "", max_cost=0.0).startswith("--max-cost: ")


def test_a_configuration_that_is_named_must_exist(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no configuration at .*none\.toml"):
        merge({}, {}, config=tmp_path / "none.toml")
    with pytest.raises(InputError, match="cannot be read"):
        merge({}, {}, config=tmp_path)


def test_a_forks_defaults_are_its_parents_and_the_directory_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "bilevel.toml").write_text("trials = 99")
    found = merge({"seed": 4}, {}, directory=tmp_path, find=False, defaults={"trials": 5, "target": "/p"})
    assert (found.trials, found.seed, found.target) == (5, 4, "/p")


def test_what_is_taken_over_from_earlier_sessions_is_chosen_like_any_setting(tmp_path: Path) -> None:
    assert settings(tmp_path).archive == "all"
    assert settings(tmp_path, 'archive = "none"').archive == "none"
    assert settings(tmp_path, 'archive = "none"', archive="findings").archive == "findings"
    assert "archive: " in refusal(tmp_path, 'archive = "some"')
