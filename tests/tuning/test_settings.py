"""SearchSettings: what is refused, what is stored, and the seeds derived from it."""

from __future__ import annotations

import json
import pickle
import sys
from types import SimpleNamespace

import keras
import numpy as np
import pytest

from alexnet import AlexNet
from tuning import SearchSettings, settings
from tuning.settings import derive_seed

REFUSED = [
    ("data", "", TypeError, "data=''"),
    ("data", 3, TypeError, "data=3"),
    ("tuner", "magic", ValueError, "tuner='magic'"),
    ("tuner", None, ValueError, "tuner=None"),
    ("trials", 0, ValueError, "trials=0"),
    ("trials", 2.0, TypeError, r"trials=2\.0"),
    ("trials", True, TypeError, "trials=True"),
    ("epochs", -1, ValueError, "epochs=-1"),
    ("directory", "", TypeError, "directory=''"),
    ("seed", -1, ValueError, "seed=-1"),
    ("seed", "0", TypeError, "seed='0'"),
    ("model", "alexnet", ValueError, "model='alexnet'"),
    ("model", ":AlexNet", ValueError, "model=':AlexNet'"),
    ("model", ".nets:Net", ValueError, r"model='\.nets:Net'"),
    ("model", 3, ValueError, "model=3"),
    ("tune", "filters_1", TypeError, "tune='filters_1'"),
    ("tune", ("",), TypeError, r"tune=\('',\)"),
    ("tune", (1,), TypeError, r"tune=\(1,\)"),
    ("tune", None, TypeError, "tune=None"),
    ("objective", "accuracy", ValueError, "objective='accuracy'"),
    ("image_size", 0, ValueError, "image_size=0"),
    ("image_size", (8, 0), ValueError, r"image_size=\(8, 0\)"),
    ("image_size", [8.0, 8], TypeError, r"image_size=\[8\.0, 8\]"),
    ("image_size", (8, 8, 1), TypeError, r"image_size=\(8, 8, 1\)"),
    ("image_size", 8.0, TypeError, r"image_size=8\.0"),
    ("validation_fraction", 0, ValueError, "validation_fraction=0"),
    ("validation_fraction", 1.0, ValueError, r"validation_fraction=1\.0"),
    ("validation_fraction", float("nan"), ValueError, "validation_fraction=nan"),
    ("validation_fraction", "0.2", TypeError, r"validation_fraction='0\.2'"),
    ("horizontal_flip", 1, TypeError, "horizontal_flip=1"),
    ("max_parameters", 0, ValueError, "max_parameters=0"),
    ("max_parameters", 1e6, TypeError, r"max_parameters=1000000\.0"),
    ("max_multiply_adds", -5, ValueError, "max_multiply_adds=-5"),
    ("workers", -1, ValueError, "workers=-1"),
    ("workers", 1.5, TypeError, r"workers=1\.5"),
    ("gpus_per_trial", 0, ValueError, "gpus_per_trial=0"),
    ("gpus_per_trial", 1.5, ValueError, r"gpus_per_trial=1\.5"),
    ("gpus_per_trial", float("inf"), ValueError, "gpus_per_trial=inf"),
    ("cpus_per_trial", 0, ValueError, "cpus_per_trial=0"),
    ("cpus_per_trial", 0.5, TypeError, r"cpus_per_trial=0\.5"),
    ("address", "ray://head:10001", ValueError, "address='ray://head:10001'"),
    ("address", "head", ValueError, "address='head'"),
    ("address", 6379, TypeError, "address=6379"),
    ("keep", 0, ValueError, "keep=0"),
    ("prune", "half", ValueError, "prune='half'"),
    ("retry_oom", 1, TypeError, "retry_oom=1"),
    ("trial_timeout", 0, ValueError, "trial_timeout=0"),
    ("trial_timeout", float("inf"), ValueError, "trial_timeout=inf"),
    ("isolate_trials", "yes", TypeError, "isolate_trials='yes'"),
    ("trial_timeout", "9", TypeError, "trial_timeout='9'"),
    ("start_with", {"dropout": 0}, TypeError, r"start_with=\{'dropout': 0\}"),
    ("start_with", [{}] * 13, ValueError, r"start_with=\[\{\}, "),
    ("add", [3], TypeError, r"add=\[3\]"),
]


@pytest.mark.parametrize(("name", "value", "error", "shown"), REFUSED)
def test_refuses_bad_values(name, value, error, shown):
    """A bad value is refused at once; the message holds its name and the value."""
    with pytest.raises(error, match=rf"(?s){name} must .*received {shown}"):
        SearchSettings(**{name: value})


def test_every_setting_has_a_bad_value_above():
    """No setting is taken unchecked."""
    assert set(SearchSettings.model_fields) == {name for name, *_ in REFUSED}


def test_the_message_is_rule_value_and_remedy():
    """What pydantic finds is said in one sentence of ours."""
    with pytest.raises(ValueError, match="tuner") as caught:
        SearchSettings(tuner="magic", trials=0)
    assert str(caught.value) == (
        "tuner must be one of random, bayesian, hyperband, grid; received "
        "tuner='magic'."
    )
    with pytest.raises(TypeError, match="colour") as caught:
        SearchSettings(colour="red")
    assert str(caught.value) == (
        "colour must be a setting of a search; received colour='red'."
    )


def test_hyperband_is_not_pruned():
    """Hyperband with a pruning rule is refused, since it prunes itself."""
    with pytest.raises(ValueError, match=r"with Hyperband.*received prune='median'"):
        SearchSettings(tuner="hyperband", prune="median")


def test_trials_of_this_process_are_not_isolated():
    """Without worker processes, trials cannot have processes of their own."""
    with pytest.raises(ValueError, match=r"isolate_trials=True and workers=0\. Use"):
        SearchSettings(isolate_trials=True, workers=0)


def test_this_process_is_on_no_cluster():
    """Without worker processes there is nothing to run on a cluster."""
    with pytest.raises(ValueError, match=r"address='auto' and workers=0\. Leave one"):
        SearchSettings(address="auto", workers=0)


@pytest.mark.parametrize("address", ["auto", "10.0.0.1:6379", "[::1]:6379", "head:1"])
def test_takes_addresses_as_ray_prints_them(address):
    """An address is "auto" or a host with a port."""
    assert SearchSettings(address=address).address == address


@pytest.mark.parametrize("gpus", [None, 0.25, 1, 1.0, 2, 8.0])
def test_takes_parts_of_a_gpu_and_whole_ones(gpus):
    """A trial may hold a part of a GPU, or any whole number of them."""
    assert SearchSettings(gpus_per_trial=gpus).gpus_per_trial == gpus


def test_is_frozen():
    """Settings cannot be changed once they are checked."""
    settings = SearchSettings()
    with pytest.raises(ValueError, match="frozen"):
        settings.trials = 0


def test_changed_settings_are_checked_again():
    """`replace` keeps what is not named, and refuses what the constructor does."""
    settings = SearchSettings(data="mnist", trials=3)
    assert settings.replace(seed=1) == SearchSettings(data="mnist", trials=3, seed=1)
    with pytest.raises(ValueError, match="received trials=0"):
        settings.replace(trials=0)


def test_settings_can_be_sent_to_a_worker():
    """Pickled settings are the same settings."""
    settings = SearchSettings(image_size=(8, 9), start_with=["paper", {"dropout": 0}])
    assert pickle.loads(pickle.dumps(settings)) == settings


def test_every_setting_says_what_it_is():
    """The text under each setting, which is the command line's help, is there."""
    for field in SearchSettings.model_fields.values():
        assert field.description.endswith(".")


@pytest.mark.parametrize("value", [None, [], {"data": "digits", "tuner": "grid"}])
def test_refuses_a_file_without_settings(value):
    """A search.json that holds no settings is refused; what it has more is left out."""
    with pytest.raises(ValueError, match="lacks the settings of a search"):
        SearchSettings.from_json(value)
    stored = {**SearchSettings(seed=3).to_json(), "format": 2}
    assert SearchSettings.from_json(stored) == SearchSettings(seed=3)


@pytest.mark.parametrize(
    ("data", "directory"),
    [
        ("digits", "runs/digits"),
        ("some/flowers.npz", "runs/flowers"),
        ("/images/cats/", "runs/cats"),
    ],
)
def test_names_a_directory_after_the_data(data, directory):
    """Without a directory, a search lives in runs/ under the name of its data."""
    assert SearchSettings(data=data).directory == directory


def test_settings_survive_json(tmp_path):
    """What `to_json` gives is plain data from which equal settings can be made."""
    settings = SearchSettings(
        data=tmp_path,
        directory=tmp_path / "search",
        tune=["filters_*", "optimizer"],
        image_size=[8, 12],
        max_parameters=10**6,
        horizontal_flip=True,
        model=AlexNet,
    )
    again = SearchSettings(**json.loads(json.dumps(settings.to_json())))
    assert again == settings
    assert settings.differences(again.to_json()) == []


def test_stores_paths_of_data_from_the_root(tmp_path, monkeypatch):
    """A relative path of the data is stored absolute; a known name stays a name."""
    (tmp_path / "pictures").mkdir()
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    pictures = str(tmp_path.resolve() / "pictures")
    assert SearchSettings(data="pictures").to_json()["data"] == pictures
    assert SearchSettings(data="digits").to_json()["data"] == "digits"


def test_differences_name_both_values():
    """A setting that differs is reported with the stored and the given value."""
    stored = SearchSettings(seed=1, tune=("optimizer",)).to_json()
    given_now = SearchSettings(seed=2, tune=("batch_size",))
    assert given_now.differences(stored) == [
        "seed: 1 there, 2 here",
        "tune: ['optimizer'] there, ['batch_size'] here",
    ]


FIXED = {
    "data": "mnist",
    "tuner": "grid",
    "epochs": 3,
    "seed": 3,
    "model": "nets:Net",
    "tune": ("optimizer",),
    "objective": "val_loss",
    "image_size": 3,
    "validation_fraction": 0.5,
    "horizontal_flip": True,
    "max_parameters": 3,
    "max_multiply_adds": 3,
    "prune": "median",
    "start_with": ({"dropout": 0.5},),
}
MEANS = {
    "directory": "elsewhere",
    "address": "auto",
    "workers": 3,
    "cpus_per_trial": 2,
    "gpus_per_trial": 0.5,
    "keep": 5,
    "retry_oom": True,
    "trial_timeout": 60.0,
    "isolate_trials": True,
    "add": ({"dropout": 0.5},),
}


@pytest.mark.parametrize("name", [*FIXED, *MEANS])
def test_only_the_means_may_differ(name):
    """Settings count as different but those of how a search is run or resumed."""
    changed = SearchSettings(**{name: {**FIXED, **MEANS}[name]})
    assert changed != SearchSettings()
    differences = changed.differences(SearchSettings().to_json())
    assert [text.split(":")[0] for text in differences] == [name] * (name in FIXED)


def test_every_setting_may_differ_or_may_not():
    """No setting is left out above; `trials` may grow, as tested below."""
    assert {*FIXED, *MEANS, "trials"} == set(SearchSettings.model_fields)


def test_trials_may_grow():
    """More trials than stored are no difference, fewer are."""
    few, many = SearchSettings(trials=3), SearchSettings(trials=5)
    assert many.differences(few.to_json()) == []
    assert few.differences(many.to_json()) == [
        "trials: 5 there, 3 here, and they may only grow"
    ]
    assert SearchSettings(trials=3, add=[{}, {}]).total_trials == 5


class Outer:
    """Holds a class with a dotted name."""

    @keras.saving.register_keras_serializable(package="test_settings")
    class Net(AlexNet):
        """A subclass that other processes can import."""


def test_a_class_and_its_text_are_the_same_model():
    """A model class is stored as text that leads back to the class."""
    settings = SearchSettings(model=Outer.Net)
    assert settings.model == f"{__name__}:Outer.Net"
    assert settings.load_model_class() is Outer.Net
    assert SearchSettings().load_model_class() is AlexNet


def test_refuses_a_class_that_cannot_be_imported():
    """A class inside a function is refused, one of a script if workers run trials."""

    class Local(AlexNet):
        pass

    with pytest.raises(ValueError, match=r"received model=.*Move it out of the func"):
        SearchSettings(model=Local)
    script = type("Script", (AlexNet,), {"__module__": "__main__"})
    for model in (script, "__main__:Script"):
        for workers in (None, 2):
            with pytest.raises(
                ValueError, match=r"a notebook, and workers=.* workers=0"
            ):
                SearchSettings(model=model, workers=workers)
        assert SearchSettings(model=model, workers=0).model == "__main__:Script"


class Unregistered(AlexNet):
    """A subclass that Keras could save and not load."""


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("no_such_module:Net", "No module named 'no_such_module'"),
        ("alexnet:Alexnet", "has no attribute 'Alexnet'"),
        ("alexnet:", "has no attribute ''"),
        ("keras:Model", "must be alexnet.AlexNet or a subclass"),
        ("alexnet:checks", "must be alexnet.AlexNet or a subclass"),
        (f"{__name__}:Unregistered", "@keras.saving.register_keras_serializable()"),
        ("broken_nets:Net", "SyntaxError"),
        ("raising_nets:Net", "ZeroDivisionError: division by zero"),
        ("exiting_nets:Net", "SystemExit: 3. Install the package"),
    ],
)
def test_refuses_models_that_cannot_be_loaded(model, reason, tmp_path, monkeypatch):
    """A model that is missing, broken or no AlexNet is refused with the reason."""
    (tmp_path / "broken_nets.py").write_text("class Net(:\n")
    (tmp_path / "raising_nets.py").write_text("1 / 0\n")
    (tmp_path / "exiting_nets.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=rf"(?s)received model='{model}'.*") as caught:
        SearchSettings(model=model).load_model_class()
    assert reason in str(caught.value)
    assert "broken_nets" not in sys.modules


@pytest.mark.parametrize(
    ("number", "seed"), [(0, 1), (2**31 - 2, 2**31 - 1), (2**31 - 1, 1)]
)
def test_derived_seeds_are_never_zero(number, seed, monkeypatch):
    """A derived seed lies in 1..2**31 - 1: KerasTuner takes 0 for "at random"."""
    drawn = SimpleNamespace(digest=lambda: number.to_bytes(8, "big"))
    monkeypatch.setattr(settings.hashlib, "sha256", lambda _: drawn)
    assert derive_seed(0, "oracle") == seed


def test_derived_seeds_are_stable_and_differ():
    """Seeds are the same in every version and process; 0 is a seed like another."""
    assert derive_seed(0, "oracle") == 676570314
    seeds = {derive_seed(n, f"trial {t}") for n in range(30) for t in range(30)}
    assert len(seeds) == 900
    assert np.mean([seed < 2**30 for seed in seeds]) == pytest.approx(0.5, abs=0.1)
