"""Which module may import which, read off the source."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# Rooms, or modules at a package's top, import those of earlier ranks and of their
# own, as long as no circle arises. Every module is in one of them.
RANKS = {
    "alexnet": [
        ["checks"],
        ["presets", "space", "layers", "data"],
        ["preprocessing", "weights"],
        ["model"],
        ["training", "compare"],
        ["commands"],
    ],
    "tuning": [
        ["settings"],
        ["store", "space"],
        ["points", "view"],
        ["oracles"],
        ["trial"],
        ["cluster"],
        ["search"],
        ["commands"],
    ],
}
# Over 300 lines; each for its reason.
LONG = {
    "alexnet/model/network.py": "half of it is the docstrings of the public methods",
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
    return found - {".".join(path.parent.relative_to(REPOSITORY / package).parts)}


def modules(*packages):
    return [
        pytest.param(package, path, id=str(path.relative_to(REPOSITORY)))
        for package in packages
        for path in sources(package)
    ]


def room(name):
    """Return the room of a module, by its dotted name within its package."""
    return "commands" if name == "__main__" else name.split(".")[0]


def test_every_module_is_in_a_room():
    """The ranks name every room and nothing else, so that no file is left out."""
    for package, ranks in RANKS.items():
        rooms = {room(module(package, path)) for path in sources(package)}
        assert rooms - {"__init__"} == {name for rank in ranks for name in rank}


def test_imports_are_seen():
    """What the other tests read off the source is there."""
    readers = within("alexnet", REPOSITORY / "alexnet/weights/readers/caffe.py")
    assert readers >= {"weights.formats.hdf5", "weights.errors"}
    network = within("alexnet", REPOSITORY / "alexnet/model/network.py")
    assert network >= {"layers.conv_block", "presets"}


def test_importers_know_the_model():
    """The network imports no weight readers with itself; they do not build networks."""
    tree = ast.parse((REPOSITORY / "alexnet/model/network.py").read_text())
    named = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert "alexnet.presets" in named
    assert not {name for name in named if name and name.startswith("alexnet.weights")}
    for path in (REPOSITORY / "alexnet/weights").rglob("*.py"):
        assert "from_preset(" not in path.read_text().replace(
            ".from_preset(preset)`", ""
        )


@pytest.mark.parametrize(("package", "path"), modules("alexnet", "tuning"))
def test_imports_point_one_way(package, path):
    """A module imports only from rooms that come before its own."""
    ranks = {
        name: number for number, rank in enumerate(RANKS[package]) for name in rank
    }
    own = module(package, path)
    if own == "__init__":
        return  # The public names, from whichever room.
    for name in within(package, path):
        assert ranks[room(name)] <= ranks[room(own)], f"{own} must not import {name}."


@pytest.mark.parametrize("package", RANKS)
def test_folders_are_rooms(package):
    """No folder holds more than a dozen modules, `__init__` apart."""
    for folder in {path.parent for path in sources(package)}:
        found = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
        assert len(found) <= 12, f"{folder} has {len(found)} modules."


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
    "path",
    [
        *(REPOSITORY / "alexnet/weights").glob("[!a_]*.py"),  # All but assign.py.
        *(REPOSITORY / "alexnet/weights/readers").glob("*.py"),
        *(REPOSITORY / "alexnet/weights/formats").glob("*.py"),
    ],
    ids=lambda path: f"{path.parent.name}/{path.stem}",
)
def test_readers_load_nothing_that_executes(path):
    """What reads foreign bytes imports neither pickle nor h5py nor Keras."""
    tops = {name.split(".")[0] for name in imported(path)}
    assert not tops & {"pickle", "h5py", "keras", "subprocess", "ctypes"}
    assert not {name for name in imported(path) if name.startswith("alexnet.layers")}


KERAS_FREE = (
    *("checks", "layers/windows", "layers/norms", "layers/block", "model/plan"),
    *("presets/__init__", "compare/differences", "compare/summary"),
)


def test_plans_need_no_keras():
    """Checks, plans and comparisons do not import Keras or TensorFlow."""
    for name in KERAS_FREE:
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
