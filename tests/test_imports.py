"""Which module may import which, read off the source."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
# Modules import those of earlier ranks, and of their own as long as no circle
# arises. What is not listed comes after what is (alexnet), or is free (tuning).
RANKS = {
    "alexnet": [
        ["checks"],
        ["windows", "arguments"],
        ["normalization", "convolution", "pooling"],
        ["spatial_normalization"],
        ["norms"],
        ["blocks"],
        ["stack", "head"],
        ["tables"],
        ["presets.shared"],
        [
            *("presets.paper", "presets.toronto", "presets.caffe", "presets.others"),
            "presets.cifar10",
        ],
        ["presets", "ranges"],
        ["ablations"],
        ["hyperparameters"],
        ["downloads"],
        ["colors", "crops", "inputs"],
        ["preprocessing"],
        ["weights.errors"],
        ["weights.files"],
        ["weights.archives", "weights.pickles", "weights.protobuf", "weights.hdf5"],
        ["weights.layout", "weights.published"],
        ["weights.fit", "weights.caffe", "weights.toronto", "weights.torchvision"],
        ["weights.hdf5_files"],
        ["weights"],
        ["model"],
        ["summary"],
    ],
    "tuning": [
        ["checks"],
        ["settings", "store"],
        ["resources"],
        ["ray_session"],
        ["replicas"],
        ["failures", "pruning", "reports", "results", "weights"],
        ["checkpoints", "watch"],
        ["resume", "retention"],
        ["oracles", "hypermodel"],
        ["tuner"],
        ["worker"],
        ["cluster"],
        ["search"],
        ["__main__"],
    ],
}
# Over 300 lines; each for its reason.
LONG = {
    "alexnet/model.py": "half of it is the docstrings of the public methods",
    "alexnet/image_files.py": "one format after another",
}


def sources(package):
    return sorted((REPOSITORY / package).rglob("*.py"))


def imported(path):
    """Return the dotted names of the modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import."
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def module(package, path):
    """Return a file's name within its package: "model", "weights.caffe", "weights"."""
    parts = path.relative_to(REPOSITORY / package).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__") or "__init__"


def within(package, path):
    """Return the modules of its own package that a file imports."""
    known = {module(package, source) for source in sources(package)} - {"__init__"}
    prefix = f"{package}."
    found = known & {
        name.removeprefix(prefix) for name in imported(path) if name.startswith(prefix)
    }
    # In the folder itself, `from alexnet.weights import caffe` needs only `caffe`.
    return found - {path.parent.name}


def modules(*packages):
    return [
        pytest.param(package, path, id=str(path.relative_to(REPOSITORY)))
        for package in packages
        for path in sources(package)
    ]


def test_the_layers_are_found():
    """Every module that alexnet's ranks name exists, and imports are seen."""
    names = {module("alexnet", path) for path in sources("alexnet")}
    assert names >= {name for rank in RANKS["alexnet"] for name in rank}
    assert names >= {"weights.caffe", "weights"}
    weights = within("alexnet", REPOSITORY / "alexnet/weights/hdf5_files.py")
    assert weights >= {"weights.caffe", "weights.errors"}
    assert within("alexnet", REPOSITORY / "alexnet/model.py") >= {"blocks", "presets"}


@pytest.mark.parametrize(("package", "path"), modules("alexnet", "tuning"))
def test_imports_point_one_way(package, path):
    """A module imports only what comes before it."""
    ranks = {
        name: number for number, rank in enumerate(RANKS[package]) for name in rank
    }
    own = module(package, path)
    if own not in ranks:
        return
    for name in within(package, path):
        if package == "alexnet":
            assert name in ranks, f"{own} must not import {name}."
        if name in ranks:
            assert ranks[name] <= ranks[own], f"{own} must not import {name}."


@pytest.mark.parametrize("package", RANKS)
def test_imports_make_no_circle(package):
    """No module imports itself by way of others."""
    imports = {
        module(package, path): within(package, path) for path in sources(package)
    }
    graph = graphlib.TopologicalSorter(imports)
    assert set(graph.static_order()) >= set(imports)


@pytest.mark.parametrize(("package", "path"), modules("alexnet"))
def test_the_network_stands_alone(package, path):
    """alexnet imports neither tuning nor KerasTuner nor Ray."""
    tops = {name.split(".")[0] for name in imported(path)}
    assert not tops & {"tuning", "keras_tuner", "ray"}


@pytest.mark.parametrize(("package", "path"), modules("alexnet"))
def test_files_are_short(package, path):
    """No file is over 300 lines, but those listed with their reason."""
    name = str(path.relative_to(REPOSITORY))
    if name not in LONG:
        lines = len(path.read_text().splitlines())
        assert lines <= 300, f"{name} has {lines} lines."


@pytest.mark.parametrize(
    "name", ["errors", "files", "archives", "pickles", "protobuf", "hdf5"]
)
def test_readers_load_nothing_that_executes(name):
    """What reads foreign bytes imports neither pickle nor h5py nor Keras."""
    path = REPOSITORY / f"alexnet/weights/{name}.py"
    tops = {name.split(".")[0] for name in imported(path)}
    assert not tops & {"pickle", "h5py", "keras", "subprocess", "ctypes"}


def test_checks_need_no_keras():
    """Arguments can be checked without importing Keras or TensorFlow."""
    for name in ("checks", "windows"):
        assert not {
            name.split(".")[0] for name in imported(REPOSITORY / f"alexnet/{name}.py")
        } & {"keras", "tensorflow"}


def test_importing_alexnet_leaves_tuner_and_ray_alone():
    """`import alexnet` loads neither KerasTuner nor Ray."""
    code = "import sys, alexnet; print({'keras_tuner', 'ray'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.strip() == "set()", done.stderr
