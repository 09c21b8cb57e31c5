"""What all commands share: statuses, completion, and a terminal without noise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from alexnet.__main__ import alexnet
from alexnet.commands.terminal import run
from tuning.__main__ import tuning

REPOSITORY = Path(__file__).resolve().parents[1]
NOISE = """
import os, sys
from pathlib import Path
from alexnet.__main__ import main
from alexnet.commands.terminal import silence_libraries

silence_libraries(Path("native.log"))
os.write(2, b"noise")
print("the error", file=sys.stderr)
if sys.argv[1:] == ["crash"]:
    os.abort()
"""
COMMANDS = [
    (name, *words)
    for name, group in (("alexnet", alexnet), ("tuning", tuning))
    for words in ([], *([command] for command in group.commands))
]
HEAVY = {"keras", "keras_tuner", "numpy", "ray", "sklearn", "tensorflow"}


def python(*arguments, cwd=REPOSITORY, **variables):
    """Run Python; return its exit status, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def imported(importtime):
    """Return the packages in what `-X importtime` prints."""
    names = [line.split("|")[-1].strip() for line in importtime.splitlines()]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_needs_nothing_heavy(command):
    """Help imports no backend, NumPy, KerasTuner or Ray, and ends with an example."""
    name, *words = command
    status, output, errors = python("-X", "importtime", "-m", name, *words, "--help")
    assert status == 0
    assert output.startswith(f"Usage: python -m {' '.join(command)} ")
    assert "click" in imported(errors)
    assert not imported(errors) & HEAVY
    heading, example = output.splitlines()[-2:]
    assert heading == "  Example:"
    assert example.startswith(f"    python -m {' '.join(command)}")


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("tuning search --tuner ", ["random", "bayesian", "hyperband", "grid"]),
        ("tuning search --data ", [""]),
        ("alexnet summary net14", [f"net14{n}" for n in ["5", "5_half", *"678"]]),
        ("alexnet import --channel-order ", ["rgb", "bgr"]),
    ],
)
def test_shells_complete(line, completed, tmp_path):
    """Choices, presets and file paths complete, without importing a backend."""
    words = line.split(" ")
    script = tmp_path / words[0]
    script.write_text(f"from {words[0]}.__main__ import main\nmain()")
    variables = {
        f"_{words[0].upper()}_COMPLETE": "bash_complete",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    _, output, errors = python("-X", "importtime", script, cwd=tmp_path, **variables)
    kind = "file" if completed == [""] else "plain"
    assert output.splitlines() == [f"{kind},{value}" for value in completed]
    assert not imported(errors) & HEAVY


@pytest.mark.parametrize("crash", [False, True])
def test_what_libraries_print_goes_to_a_file(crash, tmp_path):
    """What is written to the descriptor is in the file; errors and crashes show."""
    script = tmp_path / "alexnet"
    script.write_text(NOISE)
    status, output, errors = python(script, *["crash"] * crash, cwd=tmp_path)
    assert (tmp_path / "native.log").read_text() == "noise"
    assert (status == 0, output) == (not crash, "")
    assert errors.startswith("the error\n")
    assert ("Fatal Python error: Aborted" in errors) == crash


@pytest.mark.parametrize(
    "arguments",
    [
        ["summary", "cifar10_quick"],
        ["import", "none.pth", "--preset", "cifar10_quick", "-o", "net.keras"],
    ],
)
def test_no_library_writes_to_the_terminal(arguments, tmp_path):
    """Of a command whose process imports TensorFlow, only its own lines are seen."""
    status, output, errors = python("-m", "alexnet", *arguments, cwd=tmp_path)
    assert not re.search("absl|cudart|XLA|cpu_feature|[IWE]0000", output)
    if arguments[0] == "summary":
        assert (status, errors) == (0, "")
        assert output.startswith("cifar10_quick: ")
    else:
        assert (status, output) == (1, "")
        assert errors == (
            "WeightsError: Cannot load none.pth: it cannot be read (No such file or "
            "directory). The model is unchanged.\n"
        )


@pytest.mark.parametrize(
    ("raised", "status", "shown"),
    [
        (None, 0, ""),
        (ValueError("rule; received 1."), 1, "ValueError: rule; received 1.\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (click.BadParameter("no"), 2, "Error: Invalid value: no\n"),
    ],
)
def test_exit_statuses(raised, status, shown, capsys):
    """0 is done, 1 cannot be done, 2 is a wrong command line, 130 interrupted."""

    @click.command
    def command():
        if raised is not None:
            raise raised

    assert run(command, []) == status
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith(shown)


def test_a_bug_keeps_its_traceback():
    """What is no error of the user's is not turned into a message."""

    @click.command
    def command():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run(command, [])
