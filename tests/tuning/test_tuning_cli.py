"""The command line: help without TensorFlow, one message per error, any images."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import keras_tuner
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from tuning.store.directory import write_json

from alexnet import AlexNet
from tuning import SearchSettings

ROOT = Path(__file__).resolve().parents[2]
TINY = ["--trials", "1", "--epochs", "1", "--workers", "0", "--tune", "batch_size"]
NETS = """
import keras
from alexnet import AlexNet

@keras.saving.register_keras_serializable(package="nets")
class Wide(AlexNet):
    @classmethod
    def search_space(cls, hp, image_shape):
        point = super().search_space(hp, image_shape, num_blocks=(2, 2))
        point["model"]["dense_activation"] = hp.Choice("activation", ["relu", "gelu"])
        return point
"""


def start(*arguments, cwd):
    """Start `python -m tuning`; see `end`."""
    return subprocess.Popen(
        [sys.executable, "-m", "tuning", *map(str, arguments)],
        cwd=cwd,
        env={"PATH": "", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(process):
    """Return exit status, standard output and standard error."""
    try:
        output, errors = process.communicate(timeout=200)
    finally:
        process.kill()
    return process.returncode, output, errors


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with digits as class folders and as an .npz file, and nets."""
    folder = tmp_path_factory.mktemp("images")
    digits = load_digits()
    x, y = (digits.images[:120] * 15).astype(np.uint8), digits.target[:120]
    np.savez(folder / "some.npz", x=x, y=y)
    for index in range(120):
        file = folder / "pictures" / f"digit {y[index]}" / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[index]).save(file)
    (folder / "nets.py").write_text(NETS)
    (folder / "file").write_text("")
    (folder / "point.json").write_text('{"batch_size": 17}')
    write_json(folder / "damaged" / "search.json", {})
    write_json(folder / "begun" / "search.json", SearchSettings().to_json())
    return folder


ERRORS = {
    "bad-number": (
        ["search", "--trials", "0"],
        "ValueError: trials must be at least 1; received trials=0.",
    ),
    "no-such-data": (["search", "--data", "pictuers"], "received data='pictuers'"),
    "no-such-hyperparameter": (
        ["search", "--tune", "filtres_1"],
        "received the pattern 'filtres_1', which matches none of resize,",
    ),
    "impossible-limits": (
        ["search", "--tune", "batch_size", "--max-parameters", "9"],
        "received max_parameters=9 and",
    ),
    "no-such-point": (
        ["search", "--start-with", "point.json"],
        "batch_size must be one of 16, 32, 64, 128; received batch_size=17",
    ),
    "no-such-file": (["search", "--add", "none.json"], "received none.json: "),
    "directory-is-a-file": (["search", "--directory", "file"], "must be writable"),
    "no-such-model": (["space", "--model", "nets:Wild"], "received model='nets:Wild'"),
    "status-of-nothing": (["status", "nowhere"], "received nowhere, which has no"),
    "best-of-nothing": (["best", "nowhere"], "received nowhere, which has no"),
    "status-of-damage": (["status", "damaged"], "unexpected content: it lacks the"),
    "best-without-trials": (["best", "begun"], "must have completed a trial"),
}


@pytest.fixture(scope="module")
def errors(folder):
    """Return what the commands of `ERRORS` came to; they run side by side."""
    running = {}
    for name, (line, _) in ERRORS.items():
        if line[0] == "search" and "--directory" not in line:
            line = [*line, "--directory", f"runs/{name}"]
        running[name] = start(*line, cwd=folder)
    return {name: end(process) for name, process in running.items()}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_one_message(errors, name):
    """What cannot be done is told on standard error, without a traceback; status 1."""
    status, output, message = errors[name]
    assert status == 1
    assert ERRORS[name][1] in message
    assert "Traceback" not in message
    assert len(message.splitlines()) <= 2, message
    assert message.split(":")[0].endswith("Error")
    assert output == ""


def test_an_error_leaves_no_directory(errors, folder):
    """A search that cannot begin leaves nothing behind."""
    assert len(errors) == len(ERRORS)
    assert not list((folder / "runs").glob("*"))
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["search", "--tuner", "magic"], "invalid choice: 'magic'"),
        (["search", "--trials", "few"], "invalid int value: 'few'"),
        (["serach"], "invalid choice: 'serach'"),
    ],
)
def test_a_wrong_command_line_is_told_with_its_use(arguments, shown, tmp_path):
    """A wrong command line has status 2, its use and the wrong part."""
    status, output, message = end(start(*arguments, cwd=tmp_path))
    assert status == 2
    assert shown in message
    assert message.startswith("usage: python -m tuning")
    assert output == ""


@pytest.mark.parametrize("arguments", [["--help"], ["search", "--help"]])
def test_help_imports_nothing_heavy(arguments, tmp_path):
    """Help answers without TensorFlow, Keras, NumPy or Ray."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "tuning", *arguments],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("usage: python -m tuning")
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "argparse" in imported
    heavy = {"tensorflow", "keras", "keras_tuner", "numpy", "ray", "alexnet", "sklearn"}
    assert not {name.split(".")[0] for name in imported} & heavy


def test_help_shows_every_setting_with_its_default(tmp_path):
    """Each setting of a search is an option that tells its default."""
    _, output, _ = end(start("search", "--help", cwd=tmp_path))
    text = " ".join(output.split())
    for option, default in {
        "--data": "digits",
        "--tuner": "random",
        "--trials": 12,
        "--epochs": 10,
        "--seed": 0,
        "--model": "alexnet:AlexNet",
        "--objective": "val_accuracy",
        "--validation-fraction": 0.2,
    }.items():
        assert f" {option} " in text
        assert f"(default: {default})" in text
    for option in ("--address", "--cpus-per-trial", "--gpus-per-trial"):
        assert f" {option} " in text
    for option in ("--start-with", "--add"):
        assert f" {option} " in text
    for option in ("--directory", "--tune", "--image-size", "--horizontal-flip"):
        assert f" {option} " in text
    for option in ("--max-parameters", "--max-multiply-adds", "--workers"):
        assert f" {option} " in text


def test_space_lists_every_hyperparameter_with_its_range(folder):
    """`space` has a line per hyperparameter: values, default, condition."""
    options = ["--image-shape", 8, 8, 1, "--model", "nets:Wide"]
    status, output, message = end(
        start("space", *options, "--tune", "activation, lrn_*", cwd=folder)
    )
    assert (status, message) == (0, "")
    lines = {line.split()[0]: line.split()[1:] for line in output.splitlines()[1:]}
    hp = keras_tuner.HyperParameters()
    AlexNet.search_space(hp, (8, 8, 1), num_blocks=(2, 2))
    assert set(lines) == {entry.name for entry in hp.space} | {"activation"}
    assert lines["activation"] == ["relu,", "gelu", "relu"]
    assert lines["lrn_depth_radius"][:4] == ["1", "to", "5", "2"]
    assert lines["lrn_alpha"] == [
        *("1e-05", "to", "0.1", "(log)", "0.0001", "use_lrn", "is", "True")
    ]
    assert lines["batch_size"] == ["32", "32"]


def test_best_points_to_the_model_of_the_best_trial_alone(folder):
    """While a search goes on, best/ may hold the model of an earlier best trial."""
    search = ("search", "--data", "some.npz", *TINY, "--directory", "b")
    assert end(start(*search, cwd=folder))[0] == 0
    assert "load_model(" in end(start("best", "b", cwd=folder))[1]
    write_json(folder / "b" / "best" / "hyperparameters.json", {"batch_size": 999})
    status, output, _ = end(start("best", "b", cwd=folder))
    assert (status, "load_model(" in output) == (0, False)
    assert "Its model is written when the search ends." in output


def test_searches_folders_and_files(folder):
    """A folder of class folders and an .npz file are searched like known data."""
    running = {
        "pictures": start("search", "--data", "pictures", *TINY, cwd=folder),
        "some": start("search", "--data", "some.npz", *TINY, cwd=folder),
    }
    done = {name: end(process) for name, process in running.items()}
    for name, (status, output, message) in done.items():
        assert (status, message) == (0, "")
        assert f"AlexNet on {name}: 95 training and 25 validation images" in output
        assert "(8, 8, 1), 10 classes" in output
        directory = folder / "runs" / name
        with (directory / "results.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["status"] for row in rows] == ["COMPLETED"]
        assert (directory / "best" / "model.keras").exists()
