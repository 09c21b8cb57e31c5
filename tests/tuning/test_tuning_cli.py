"""The command line: options, one message per error, any images."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
import sys
from pathlib import Path

import keras_tuner
import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from alexnet import AlexNet
from tuning import SearchSettings
from tuning.__main__ import main
from tuning.commands.search import search
from tuning.store.files import write_json

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTING = (signal.SIGINT, signal.SIGTERM)
TINY = ["--trials", "1", "--epochs", "1", "--workers", "0", "--tune", "batch_size"]
NETS = """
import keras
from alexnet import AlexNet

@keras.saving.register_keras_serializable(package="nets")
class Wide(AlexNet):
    @classmethod
    def search_space(cls, hp, image_shape):
        configuration = super().search_space(hp, image_shape, num_blocks=(2, 2))
        activation = hp.Choice("activation", ["relu", "gelu"])
        configuration["model"]["dense_activation"] = activation
        return configuration
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
    (folder / "values.json").write_text('{"batch_size": 17}')
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
    "no-such-values": (
        ["search", "--start-with", "values.json"],
        "batch_size must be one of 16, 32, 64, 128; received batch_size=17",
    ),
    "no-such-file": (["search", "--add", "none.json"], "received none.json: "),
    "directory-is-a-file": (["search", "--directory", "file"], "must be writable"),
    "no-such-model": (["space", "--model", "nets:Wild"], "received model='nets:Wild'"),
    "status-of-nothing": (["status", "nowhere"], "received nowhere, which has no"),
    "best-of-nothing": (["best", "nowhere"], "received nowhere, which has no"),
    "status-of-damage": (["status", "damaged"], "it lacks the settings of a search"),
    "best-without-trials": (["best", "begun"], "must have completed a trial"),
}


@pytest.fixture
def run(folder, monkeypatch, capsys):
    """Return a function that runs a command here and returns what `end` does."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    handlers = {number: signal.getsignal(number) for number in INTERRUPTING}
    yield lambda *line: (main([str(word) for word in line]), *capsys.readouterr())
    for number, handler in handlers.items():
        signal.signal(number, handler)
    sys.modules.pop("nets", None)


def check_error(name, status, output, message):
    """Check that an error is on standard error, without a traceback; status 1."""
    assert status == 1
    assert ERRORS[name][1] in message
    assert "Traceback" not in message
    assert len(message.splitlines()) <= 2, message
    assert re.match("[A-Za-z]+Error: ", message)
    assert output == ""


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_one_message(name, folder, run):
    """What cannot be done is one message; a search that cannot begin leaves nothing."""
    line, _ = ERRORS[name]
    if line[0] == "search" and "--directory" not in line:
        line = [*line, "--directory", f"runs/{name}"]
    check_error(name, *run(*line))
    assert not (folder / "runs" / name).exists()
    assert not (folder / "nowhere").exists()


@pytest.mark.parametrize("name", ["no-such-data", "status-of-nothing"])
def test_an_error_of_a_process_is_one_message(name, folder):
    """So it is in a process of its own, where nothing else reaches the terminal."""
    line = [*ERRORS[name][0], *["--directory", "own"] * (name == "no-such-data")]
    check_error(name, *end(start(*line, cwd=folder)))
    assert not (folder / "own").exists()


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        ([], "Search the hyperparameters"),
        (["search", "--tuner", "magic"], "'--tuner': 'magic' is not one of 'random'"),
        (["search", "--trials", "few"], "'--trials': 'few' is not a valid integer"),
        (["search", "--image-size", "8", "x"], "unexpected extra argument (x)"),
        (["search", "--image-size", "x"], "'--image-size': 'x' is not a valid integer"),
        (["status"], "Missing argument 'DIRECTORY'"),
        (["serach"], "No such command 'serach'"),
    ],
)
def test_a_wrong_command_line_is_shown_with_its_use(arguments, shown, run):
    """A wrong command line has status 2, its use and the wrong part."""
    status, output, message = run(*arguments)
    assert status == 2
    assert shown in message
    assert message.startswith("Usage: ")
    assert output == ""


def test_help_shows_every_setting_with_its_default(run):
    """Each setting of a search is an option; its help has its own default."""
    _, output, _ = run("search", "--help")
    blocks = re.split(r"\n  (?=--|-h)", output)[1:]
    options = {block.split()[0]: " ".join(block.split()) for block in blocks}
    names = {f"--{name.replace('_', '-')}" for name in SearchSettings.model_fields}
    assert set(options) == {*names, "-h,"}
    defaults = {
        "--data": "digits",
        "--tuner": "random",
        "--trials": 12,
        "--epochs": 10,
        "--seed": 0,
        "--model": "alexnet:AlexNet",
        "--objective": "val_accuracy",
        "--validation-fraction": 0.2,
        "--max-parameters": 100_000_000,
        "--keep": 3,
    }
    for option, text in options.items():
        shown = re.findall(r"\[default: (.*)\]", text)
        assert shown == [str(defaults[name]) for name in [option] if name in defaults]


def test_options_are_the_settings(folder, monkeypatch):
    """Each option sets its setting; without options a search has the defaults."""
    monkeypatch.chdir(folder)
    context = search.make_context("search", [])
    assert SearchSettings(**context.params) == SearchSettings()
    given = {
        "data": ("mnist", "mnist"),
        "tuner": ("bayesian", "bayesian"),
        "trials": ("7", 7),
        "epochs": ("3", 3),
        "directory": ("elsewhere", "elsewhere"),
        "seed": ("5", 5),
        "model": ("nets:Wide", "nets:Wide"),
        "tune": ("filters_*, dropout,", ("filters_*", "dropout")),
        "objective": ("val_loss", "val_loss"),
        "image_size": ("48 64", (48, 64)),
        "validation_fraction": ("0.5", 0.5),
        "max_parameters": ("1000", 1000),
        "max_multiply_adds": ("2000", 2000),
        "address": ("head:1", "head:1"),
        "workers": ("2", 2),
        "cpus_per_trial": ("1", 1),
        "gpus_per_trial": ("0.25", 0.25),
        "keep": ("2", 2),
        "prune": ("halving", "halving"),
        "trial_timeout": ("60", 60.0),
        "start_with": ("paper,values.json", ("paper", {"batch_size": 17})),
        "add": ("slim", ("slim",)),
    }
    switches = {"horizontal_flip": True, "retry_oom": True, "isolate_trials": True}
    assert {*given, *switches} == set(SearchSettings.model_fields)
    line = [f"--{name.replace('_', '-')}" for name in switches]
    for name, (text, _) in given.items():
        words = text.split(" ") if name == "image_size" else [text]
        line += [f"--{name.replace('_', '-')}", *words]
    expected = {name: value for name, (_, value) in given.items()}
    context = search.make_context("search", line)
    assert SearchSettings(**context.params) == SearchSettings(**expected, **switches)
    context = search.make_context("search", ["--image-size", "48", "--trials", "64"])
    assert (context.params["image_size"], context.params["trials"]) == (48, 64)


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


def test_best_points_to_the_model_of_the_best_trial_alone(folder, run):
    """While a search runs, best/ may hold the model of an earlier best trial."""
    search = ("search", "--data", "some.npz", *TINY, "--directory", "b")
    assert end(start(*search, cwd=folder))[0] == 0
    for command in (["status", "b"], ["best", "b"]):
        status, output, message = end(start(*command, cwd=folder))
        assert (status, message) == (0, "")
    assert "load_model(" in output
    write_json(folder / "b" / "best" / "hyperparameters.json", {"batch_size": 999})
    status, output, _ = run("best", "b")
    assert (status, "load_model(" in output) == (0, False)
    assert "Its model is written when the search ends." in output


@pytest.mark.long
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
        prefix = "digit " if name == "pictures" else ""
        order = ", ".join(f"{prefix}{number}" for number in range(10))
        assert f"Classes in order: {order}\n" in output
        assert "Warning" not in output
        directory = folder / "runs" / name
        with (directory / "results.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["status"] for row in rows] == ["COMPLETED"]
        assert (directory / "best" / "model.keras").exists()
