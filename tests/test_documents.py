"""The documents: every block runs, every link leads somewhere, no page is too long."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import numpy as np
import pytest
import weight_files
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "alexnet/README.md", "tuning/README.md", "CONTRIBUTING.md")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)#]+)(?:#[^)]*)?\)")
CODE = re.compile(r"`((?:alexnet|tuning|tests|\.ci)/[\w./]*)`")


def blocks(language):
    """Return each block of a language, with the page that it is on."""
    return [
        pytest.param(page, text, id=f"{page}-{number}")
        for page in PAGES
        for number, (kind, text) in enumerate(BLOCK.findall((ROOT / page).read_text()))
        if kind == language
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with the files that the blocks name."""
    folder = tmp_path_factory.mktemp("documents")
    rng = np.random.default_rng(0)
    for name in ("cat.jpg", "dog.jpg"):
        pixels = rng.integers(0, 256, (80, 100, 3), dtype="uint8")
        Image.fromarray(pixels).save(folder / name)
    shapes = [((32, 3, 5, 5), (32,)), ((32, 32, 5, 5), (32,)), ((64, 32, 5, 5), (64,))]
    shapes += [((64, 1024), (64,)), ((10, 64), (10,))]
    names = ("conv1", "conv2", "conv3", "ip1", "ip2")
    net = weight_files.caffe_new(weight_files.weights(shapes), names, norms=())
    (folder / "quick.caffemodel").write_bytes(net)
    return folder


@pytest.mark.filterwarnings("ignore:.*starts afresh:UserWarning")  # It is the point.
@pytest.mark.parametrize(("page", "text"), blocks("python"))
def test_python_blocks_run(page, text, folder, monkeypatch):
    """Each block runs by itself, in a folder that holds the files it names."""
    monkeypatch.chdir(folder)
    if "runs/digits/best" in text and not Path("runs/digits/best").exists():
        from tuning import SearchSettings, run_search

        run_search(SearchSettings(trials=1, epochs=1, workers=0))
    exec(compile(text, f"{page} block", "exec"), {"__name__": "block"})


@pytest.mark.parametrize(("page", "text"), blocks("sh"))
def test_commands_are_understood(page, text):
    """Each command of this project takes the options that the block gives it."""
    from alexnet.__main__ import alexnet
    from tuning.__main__ import tuning

    for line in text.splitlines():
        words = shlex.split(line, comments=True)
        for package, group in (("alexnet", alexnet), ("tuning", tuning)):
            if package in words and words[words.index(package) - 1] == "-m":
                understand(group, words[words.index(package) + 1 :])


def understand(group, words):
    """Parse a command line without running it."""
    if words:
        context = click.Context(group)
        name, command, rest = group.resolve_command(context, words)
        command.make_context(name, rest, parent=context)


@pytest.mark.parametrize("page", [*PAGES, "tuning/deploy/README.md", "CHANGELOG.md"])
def test_links_lead_somewhere(page):
    """What a page links to, or names as a file, is there."""
    text = (ROOT / page).read_text()
    for target in LINK.findall(text):
        if "://" not in target:
            assert ((ROOT / page).parent / target).exists(), target
    for target in CODE.findall(text) if page != "CHANGELOG.md" else ():
        assert (ROOT / target).exists(), target


def test_the_first_page_is_short():
    """README.md has at most 150 lines."""
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150
