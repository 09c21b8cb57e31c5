"""Values that people name: checked before anything starts, and tried first."""

from __future__ import annotations

import itertools
import json

import pytest
from driven_oracle import FACTS, drive, new_oracle, new_space, settings_of

from alexnet.compare.nearest import nearest_point
from tuning import SearchSettings, run_search
from tuning.points import check_presets, complete, given_points, given_values
from tuning.search import resumed
from tuning.settings import TUNERS
from tuning.space.search_space import SearchSpace
from tuning.store.files import StoreError, read_json
from tuning.store.layout import Store

pytestmark = pytest.mark.usefixtures("no_fsync")
SPACE = new_space()
DEFAULT = SPACE.default
GIVEN = ({"batch_size": 128}, {"optimizer": "sgd", "weight_decay": 1e-3})


def completed(*given, **limits):
    """Return the values that are tried for what is given."""
    space = new_space(**limits) if limits else SPACE
    return [item.values for item in complete("start_with", given, space)]


@pytest.mark.parametrize(
    ("content", "given"),
    [('{"dropout": 0.5}', ({"dropout": 0.5},)), ("[{}, {}]", ({}, {})), ("[]", ())],
)
def test_reads_values_or_a_list(tmp_path, content, given):
    """A file holds values by name, or a list of such."""
    (tmp_path / "values.json").write_text(content)
    assert given_points(f"{tmp_path}/values.json") == given


@pytest.mark.parametrize("content", ["", "{", "3", '["a"]', "[" * 100_000])
def test_refuses_files_without_values(tmp_path, content):
    """A file that holds anything else is refused with its name."""
    (tmp_path / "values.json").write_text(content)
    with pytest.raises(ValueError, match=r"file of values must .*received .*values\.j"):
        given_points(f"{tmp_path}/values.json")


def test_a_missing_file_is_reported(tmp_path):
    """A file that is not there is refused with its name."""
    with pytest.raises(ValueError, match=r"received .*none\.json: .*No such file"):
        given_points(f"{tmp_path}/none.json")


def test_what_is_left_out_has_its_default():
    """Values are completed with the defaults of what they make active."""
    assert completed({}) == [DEFAULT]
    (values,) = completed(GIVEN[1])
    assert values["optimizer"] == "sgd"
    assert values["weight_decay"] == 1e-3
    assert "sgd_learning_rate" in values
    assert "adamw_learning_rate" not in values
    (values,) = completed({"batch_size": 32.0})
    assert type(values["batch_size"]) is int
    (values,) = completed({"dropout": 0}, tune=("dropout",))
    assert type(values["dropout"]) is float


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batchsize": 3}, r"received batchsize=3 in start_with\[0\]\. They are res"),
        ({"batch_size": 17}, r"batch_size must be one of 16, 32, 64, 128; received"),
        ({"batch_size": True}, r"received batch_size=True in start_with\[0\]"),
        ({"weight_decay": 2}, r"weight_decay must be from .* to .*; received weight_"),
        ({"weight_decay": "2"}, r"weight_decay must be from .*weight_decay='2'"),
        ({"weight_decay": float("nan")}, r"received weight_decay=nan"),
        ({"optimizer": None}, r"one of 'adamw', 'sgd'; received optimizer=None"),
        ({"num_blocks": 2}, r"does not vary in this search .*or name it in tune"),
        (
            {"sgd_learning_rate": 0.05},
            r"which needs optimizer to be sgd\. Leave it out",
        ),
    ],
)
def test_refuses_values_outside_the_space(given, message):
    """A name or value outside the space is refused with rule, value and remedy."""
    with pytest.raises(ValueError, match=message):
        completed(given)


def test_refuses_values_beyond_the_limits():
    """Values whose network is too large are refused, with the limits and its size."""
    cost = SPACE.cost(DEFAULT)
    completed({}, max_parameters=cost.parameters)
    match = (
        rf"received max_parameters={cost.parameters}, .*start_with\[1\], whose network "
        r"has [\d,]+ parameters and [\d,]+ multiply-adds for images of \(8, 8, 1\)"
    )
    with pytest.raises(ValueError, match=match):
        completed({}, {"dense_units_1": 512}, max_parameters=cost.parameters)
    with pytest.raises(ValueError, match=r"received .*'paper' in start_with\[0\], who"):
        completed("paper", max_multiply_adds=10)


@pytest.mark.parametrize("tuner", TUNERS)
def test_given_values_come_first(tmp_path, tuner):
    """Given values run first, then the default ones and what is drawn without them."""
    oracle = new_oracle(tmp_path / "a", tuner, start_with=GIVEN, epochs=9)
    begun = [values for _, values in drive(oracle, steps=9)]
    assert begun[:3] == [*completed(*GIVEN), DEFAULT]
    plain = drive(new_oracle(tmp_path / "b", tuner, epochs=9), steps=5)
    if tuner != "bayesian":  # It has learnt of other values.
        assert begun[2:4] == [values for _, values in plain][:2]


@pytest.mark.parametrize("tuner", TUNERS)
def test_given_values_survive_restarts(tmp_path, tuner):
    """With given values, too, a restart before every call changes no trial."""
    options = {"start_with": GIVEN, "add": ({"batch_size": 16},)}
    whole = drive(new_oracle(tmp_path / "a", tuner, **options))
    assert len(whole) == 10
    broken = drive(
        new_oracle(tmp_path / "b", tuner, **options),
        reopen=lambda _: new_oracle(tmp_path / "b", tuner, **options),
    )
    assert broken == whole


def test_a_grid_visits_given_values_once(tmp_path):
    """Given values are tried once, on the grid or not, and the whole grid, too."""
    tune = ("optimizer", "batch_size", "weight_decay")
    given = ({"batch_size": 64}, {"weight_decay": 1.234e-4}, {})
    oracle = new_oracle(tmp_path, "grid", trials=999, tune=tune, start_with=given)
    values = next(e.values for e in SPACE.entries if e.name == "weight_decay")
    default = DEFAULT["weight_decay"]
    begun = [
        (v["optimizer"], v["batch_size"], v["weight_decay"])
        for _, v in drive(oracle, workers=2)
    ]
    decays = {default, *values}
    grid = set(itertools.product(("adamw", "sgd"), (16, 32, 64, 128), decays))
    assert len(begun) == len(set(begun))
    assert set(begun) == grid | {("adamw", DEFAULT["batch_size"], 1.234e-4)}


@pytest.mark.parametrize("tuner", TUNERS)
def test_more_trials_continue_as_if_there_had_been_more(tmp_path, tuner):
    """A search that is extended tries the values of one that was longer at once."""

    def numbered(oracle):
        # Of 12 trials the first is "00", of 9 "0".
        return [
            (int(r.trial), r.values, r.seed, r.epochs, r.continues and int(r.continues))
            for r in oracle.records.values()
        ]

    drive(new_oracle(tmp_path / "a", tuner, trials=9))
    more = new_oracle(tmp_path / "a", tuner, trials=12)
    assert len(drive(more)) == 3
    longer = new_oracle(tmp_path / "b", tuner, trials=12)
    drive(longer)
    assert numbered(more) == numbered(longer)


def extend(directory, stored, messages, **settings):
    """Return the settings with which a search resumes, and all its given values."""
    store = Store(directory)
    given = resumed(stored, settings_of(directory, **settings), store)
    oracle = new_oracle(directory)
    tried = {trial_id: record.values for trial_id, record in oracle.records.items()}
    return given_values(
        given, stored, SearchSpace(given, FACTS), tried, messages.append
    )


def test_added_values_come_next_and_once(tmp_path):
    """Added values run next, beyond the trials; the same command adds them once."""
    stored, messages = settings_of(tmp_path), []
    begun = drive(new_oracle(tmp_path))
    given = (*GIVEN, {}, begun[4][1], GIVEN[0])
    more, values = extend(tmp_path, stored, messages, add=given)
    assert more.add == GIVEN
    assert values == completed(*GIVEN)
    assert [line.split(" these")[0] for line in messages] == [
        "Not added, since trial 0 has",
        "Not added, since trial 4 has",
        "Not added, since this command already adds",
    ]
    begun = drive(new_oracle(tmp_path, add=more.add))
    assert [values for _, values in begun] == completed(*GIVEN)
    messages.clear()
    again, values = extend(tmp_path, more, messages, add=GIVEN)
    assert (again, values) == (more, completed(*GIVEN))
    assert messages == []
    assert extend(tmp_path, more, messages)[0] == more
    assert drive(new_oracle(tmp_path, add=again.add)) == []


def test_added_values_are_checked(tmp_path):
    """Values to add that are outside the space are refused under their setting."""
    with pytest.raises(ValueError, match=r"batch_size=3 in add\[1\]"):
        new_oracle(tmp_path, add=({}, {"batch_size": 3}))
    for name in ("start_with", "add"):
        settings = settings_of(tmp_path, **{name: ({"batch_size": 3},)})
        with pytest.raises(ValueError, match=rf"batch_size=3 in {name}\[0\]"):
            given_values(settings, None, SPACE, {}, print)
    assert not list(tmp_path.iterdir())


def test_other_values_to_start_with_are_refused(tmp_path):
    """What a search starts with is its own; other values are refused by name."""
    stored = settings_of(tmp_path, start_with=GIVEN[:1])
    with pytest.raises(StoreError, match=r"differs in start_with: \[\{'batch_size': "):
        resumed(stored, settings_of(tmp_path), Store(tmp_path))
    same = settings_of(tmp_path, start_with=json.loads(json.dumps(GIVEN[:1])))
    assert resumed(stored, same, Store(tmp_path)) == stored


@pytest.mark.parametrize(
    ("text", "given"),
    [
        ("", ()),
        ("paper", ("paper",)),
        ("paper, values.json,./caffe", ("paper", *GIVEN, {"dropout": 0.5})),
        ("caffe,", ("caffe",)),
    ],
)
def test_the_command_line_mixes_presets_and_files(tmp_path, monkeypatch, text, given):
    """A name is a preset's, even beside such a file; .json or a folder make a file."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "values.json").write_text(json.dumps(GIVEN))
    (tmp_path / "caffe").write_text('{"dropout": 0.5}')
    assert given_points(text) == given
    assert SearchSettings(start_with=given).start_with == given


@pytest.mark.parametrize("name", ["start_with", "add"])
def test_unknown_presets_are_refused_first(tmp_path, monkeypatch, name):
    """A name that is no preset's is refused before the images are loaded."""
    monkeypatch.setattr("alexnet.data.images.load_images", None)
    monkeypatch.chdir(tmp_path)
    settings = SearchSettings(directory="s", workers=0, **{name: ("cafe",)})
    match = (
        rf"received 'cafe' in {name}\[0\]\. There is no preset 'cafe'\. Did you mean "
        r"'caffe'\? There are: caffe, .*\. There is no file 'cafe' either\."
    )
    with pytest.raises(ValueError, match=match):
        run_search(settings)
    assert not (tmp_path / "s").exists()
    (tmp_path / "cafe").touch()
    with pytest.raises(ValueError, match=r"For the file, write \./cafe\."):
        check_presets(settings, SPACE.hypermodel.model.presets)


def test_a_preset_has_values_within_what_varies():
    """Of a preset's values, those that `tune` does not name are the defaults."""
    (values,) = completed("paper")
    assert values["optimizer"] == "sgd"
    assert values["batch_size"] == 128
    assert values["num_blocks"] == DEFAULT["num_blocks"]
    model = SPACE.hypermodel.model
    assert values == nearest_point("paper", SPACE.hp, (8, 8, 1), model).values
    assert completed(dict(values)) == [values]


@pytest.mark.parametrize("tuner", TUNERS)
def test_presets_come_first(tmp_path, tuner):
    """Presets run in their order, before the default values; equal ones once."""
    names = ("cifar10_quick", "paper", "ungrouped")
    oracle = new_oracle(tmp_path, tuner, start_with=names, epochs=9)
    begun = [values for _, values in drive(oracle, steps=9)]
    assert begun[:3] == [*completed(*names[:2]), DEFAULT]


def test_a_preset_is_added_once(tmp_path):
    """Differences of presets are reported once, and the same command adds once.

    What makes a search the same are the presets' names.
    """
    stored, messages = settings_of(tmp_path, start_with=("net145", "torchvision")), []
    begin, _ = extend(
        tmp_path, None, messages, start_with=stored.start_with, add=("slim",)
    )
    assert [line.partition(" ")[0] for line in messages] == [
        "net145",
        "torchvision",
        "slim",
    ]
    assert "\n  conv4, conv5, fc7: only published\n" in messages[0]
    assert begin.to_json()["start_with"] == ["net145", "torchvision"]
    stored = SearchSettings(**json.loads(json.dumps(begin.to_json())))
    messages.clear()
    again = ("slim", "ungrouped", "cifar10_full")
    more, _ = extend(
        tmp_path, stored, messages, start_with=stored.start_with, add=again
    )
    assert more.add == ("slim", "cifar10_full")
    assert messages[0].startswith(
        "Not added, since the search has yet to try these values: ungrouped"
    )
    assert [line.partition(" ")[0] for line in messages[1:]] == ["cifar10_full"]
    with pytest.raises(StoreError, match=r"start_with: \['net145', 'torchvision'\] t"):
        extend(tmp_path, stored, messages, start_with=("net145",))


def test_equal_presets_are_reported(tmp_path):
    """Two presets that the space cannot tell apart are one trial, which is reported."""
    messages = []
    extend(tmp_path, None, messages, start_with=("paper", "ungrouped"))
    assert messages[-1].endswith("since they are the same here: paper, ungrouped")
    extend(tmp_path, None, messages, start_with=("paper", "paper", "slim"))
    assert messages[-2].endswith("since they are the same here: paper, paper")


def test_what_is_nearest_to_a_preset_is_found_once(tmp_path, monkeypatch):
    """A preset's values and the report of its differences are of one comparison."""
    compared, messages = [], []

    def compare(preset, *arguments):
        compared.append(preset)
        return nearest_point(preset, *arguments)

    monkeypatch.setattr("alexnet.compare.nearest.nearest_point", compare)
    extend(tmp_path, None, messages, start_with=("paper",), add=("slim", {}))
    assert compared == ["paper", "slim"]
    assert [line.partition(" ")[0] for line in messages] == compared


def test_a_preset_as_published_has_no_report(tmp_path, monkeypatch):
    """Nothing is reported of a preset that the space has as it was published."""
    messages = []
    found = nearest_point("paper", SPACE.hp, (8, 8, 1))._replace(changes=[])
    monkeypatch.setattr("alexnet.compare.nearest.nearest_point", lambda *_: found)
    extend(tmp_path, None, messages, start_with=("paper",))
    assert messages == []


def test_a_search_starts_with_a_preset(tmp_path, capsys):
    """A whole search tries the preset first, and says what is not as published."""
    settings = SearchSettings(
        directory=tmp_path / "s",
        start_with=("cifar10_quick",),
        trials=1,
        epochs=1,
        workers=0,
    )
    result = run_search(settings)
    assert result.hyperparameters["filters_3"] == 64
    assert result.hyperparameters["sgd_learning_rate"] == 0.001
    output = capsys.readouterr().out
    assert output.startswith("cifar10_quick is tried as near to it as the space allows")
    assert "\n  batch_size: 100 published, 128 here\n" in output
    assert read_json(Store(tmp_path / "s").settings_file)["start_with"] == [
        "cifar10_quick"
    ]
    run_search(settings)
    assert "published" not in capsys.readouterr().out
