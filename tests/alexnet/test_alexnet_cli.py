"""`python -m alexnet`: the list, summaries, differences, errors."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from preset_tables import TABLES

from alexnet.__main__ import main
from alexnet.compare.summary import differences
from alexnet.presets import PRESETS

REPOSITORY = Path(__file__).resolve().parents[2]


def output(capsys, *arguments):
    """Return what a command that succeeds prints."""
    assert main(list(arguments)) == 0
    return capsys.readouterr().out


def words(text):
    """Return a text's lines, with single spaces between words."""
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_list_needs_no_backend():
    """The list of presets answers without importing Keras or TensorFlow."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "alexnet", "list"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "alexnet.presets" in imported
    tops = {name.split(".")[0] for name in imported}
    assert not tops & {"keras", "tensorflow", "numpy"}
    assert "net146" in done.stdout


def test_another_command_registers_the_layers(tmp_path):
    """A package that imports alexnet and is run with `python -m` loads its files."""
    package = tmp_path / "nets"
    package.mkdir()
    (package / "__init__.py").write_text("import alexnet")
    (package / "__main__.py").write_text(
        "import keras\n"
        "print(keras.saving.get_registered_object('alexnet>AlexNet').__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-m", "nets", "alexnet"],
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


@pytest.mark.parametrize("preset", ["net146", "slim"])
def test_summary_is_the_table_and_the_row(preset, capsys):
    """A summary holds every layer, the source, figures, preprocessing and training."""
    text = output(capsys, "summary", preset)
    lines = words(text)
    table = [
        f"{name} ({', '.join(map(str, shape))}) {count:,}"
        for name, shape, count in TABLES[preset]
    ]
    start = lines.index(table[0])
    assert lines[start : start + len(table)] == table
    row = PRESETS[preset]
    assert lines[start + len(table)] == f"total {row['parameters']:,}"
    joined = " ".join(lines)
    assert row["source"].replace("-", "") in joined.replace("- ", "").replace("-", "")
    assert all(f"{name} {value:g}" in joined for name, value in row["figures"].items())
    if row["preprocessing"] is None:
        assert "preprocessing: none published" in lines
        assert "figures: none published" in lines
        assert "training: none published" in lines
    else:
        assert f"; {row['training']['also']}" in joined.replace("- ", "-")
        assert "preprocessing, mean: (127.3, 119.72, 104.91)" in lines
        assert "value range: (-127.3, 150.09)" in lines
    assert max(map(len, text.splitlines())) <= 80


def test_differences_of_the_code_from_the_paper():
    """What net145 has other than the paper is listed, and nothing else."""

    def normal(stddev):
        return f"RandomNormal {stddev}"

    found = [
        (
            layer,
            what,
            *(normal(v["config"]["stddev"]) if "init" in what else v for v in pair),
        )
        for layer, what, *pair in differences("net145", "paper")
    ]
    assert found == [
        ("norm1", "alpha", 1e-4 / 5, 1e-4),
        ("norm1", "groups", 2, 1),
        ("relu1", "output", (27, 27, 96), (55, 55, 96)),
        ("norm2", "alpha", 1e-4 / 5, 1e-4),
        ("norm2", "groups", 2, 1),
        ("norm2_2", "output", (27, 27, 256), "-"),
        ("norm2_2", "parameters", 0, "-"),
        (
            "norm2_2",
            "kind",
            "SpatialResponseNormalization(pool_size=5, bias=1, alpha=4e-05, beta=0.75)",
            "-",
        ),
        ("conv3", "kernel_initializer", normal(0.03), normal(0.01)),
        ("conv4", "kernel_initializer", normal(0.03), normal(0.01)),
        ("conv5", "kernel_initializer", normal(0.03), normal(0.01)),
        ("relu5", "output", (6, 6, 256), (13, 13, 256)),
        (
            "block 1",
            "order",
            "conv1 norm1 pool1 relu1",
            "conv1 relu1 norm1 pool1",
        ),
        (
            "block 2",
            "order",
            "conv2 relu2 norm2 norm2_2 pool2",
            "conv2 relu2 norm2 pool2",
        ),
        ("block 5", "order", "conv5 pool5 relu5", "conv5 relu5 pool5"),
    ]


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (
            ("net146", "net145"),
            ["conv5b output (6, 6, 256) -", "conv5b parameters 590,080 -"],
        ),
        (("net145", "net146"), ["conv5b parameters - 590,080"]),
        (("net145", "net146"), ["total parameters 60,965,224 61,555,304"]),
        (
            ("torchvision", "cifar10_quick"),
            ["pool2 kind MaxPooling2D(padding=valid) CeilPooling2D(pool=average)"],
        ),
        (("net147", "net145"), ["pool5 pool_size (2, 2) (3, 3)"]),
        (
            ("slim", "torchvision"),
            ["fc6 kind GroupedConv2D(strides=(1, 1), padding=valid, groups=1) Dense"],
        ),
        (("slim", "torchvision"), ["fc6 kernel (5, 5, 256, 4096) (9216, 4096)"]),
        (("slim", "torchvision"), ["input value range - (-2.118, 2.64)"]),
        (("slim", "torchvision"), ["block 6 order fc6 relu6 drop6 drop6 fc6 relu6"]),
        (
            ("caffe", "caffenet"),
            ["fc6 bias_initializer Constant(value=0.1) Constant(value=1)"],
        ),
        (("caffe", "paper"), ["input preprocessing, channels BGR RGB"]),
        (("paper", "paper"), ["paper and paper do not differ."]),
    ],
)
def test_against_prints_the_differences(pair, expected, capsys):
    """Shapes, parameters, arguments and inputs that differ are printed in columns."""
    lines = words(output(capsys, "summary", pair[0], "--against", pair[1]))
    differing = lines[lines.index(f"against {pair[1]}:") :]
    assert set(expected) <= set(differing)


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
