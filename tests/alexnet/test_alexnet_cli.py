"""`python -m alexnet`: the list, summaries, differences, errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from alexnet.__main__ import main
from alexnet.compare.summary import comparison, summary
from alexnet.presets import PRESETS

REPOSITORY = Path(__file__).resolve().parents[2]


def output(capsys, *arguments):
    """Return what a command that succeeds prints."""
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["summary", "--help"], ["summary", "slim", "--against", "paper"], []],
)
def test_commands_that_need_no_backend_import_none(arguments):
    """Help, list and summaries answer without importing Keras or TensorFlow."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "alexnet", *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "alexnet.presets" in imported
    tops = {name.split(".")[0] for name in imported}
    assert not tops & {"keras", "tensorflow", "jax", "torch", "numpy"}
    assert "summary" in done.stdout or "total" in done.stdout


REGISTERED = """
import alexnet, keras
print(keras.saving.get_registered_object("alexnet>AlexNet").__name__)
"""


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("nets/__main__.py", ["-m", "nets", "alexnet"]),
        ("alexnet", ["alexnet"]),
        ("bin/tuning", ["bin/tuning"]),
        ("tuning/__main__.py", ["tuning"]),
        ("nets/tuning/__main__.py", ["-m", "nets.tuning"]),
    ],
)
def test_another_command_registers_the_layers(file, words, tmp_path):
    """A module or script of any name that imports alexnet loads its files."""
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(REGISTERED)
    done = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{tmp_path}"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert done.stdout.strip() == "AlexNet"


def test_without_command_lists_the_presets(capsys):
    """Every preset is listed with its parameters, in 80 columns."""
    lines = output(capsys).splitlines()
    assert output(capsys, "list").splitlines() == lines
    for name, row in PRESETS.items():
        (line,) = (line for line in lines if line.split()[:1] == [name])
        assert line.split()[1] == f"{row['parameters']:,}"
    assert max(map(len, lines)) <= 80


def test_summary_prints_a_preset_and_its_differences(capsys):
    """The summary comes first, then the differences, which have tests of their own."""
    text = output(capsys, "summary", "net145", "--against", "paper")
    start = f"{summary('net145')}\n"
    assert text.startswith(start)
    assert comparison("net145", "paper") in text[len(start) :]


@pytest.mark.parametrize(
    "arguments", [["summary", "net154"], ["summary", "paper", "--against", "net154"]]
)
def test_unknown_presets_end_in_one_message(arguments, capsys):
    """A preset that does not exist is answered on stderr, with exit status 1."""
    assert main(arguments) == 1
    out, err = capsys.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith(
        "ValueError: There is no preset 'net154'. Did you mean 'net1"
    )
    assert "one_weird_trick" in line


def test_wrong_command_lines_end_with_2(capsys):
    """An unknown command is refused with the use."""
    assert main(["sumary"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("Usage: ")
    assert "No such command 'sumary'" in message
