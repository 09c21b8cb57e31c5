"""Presets as text, and their differences: the same for every pair of networks."""

from __future__ import annotations

import pytest
from preset_tables import TABLES

from alexnet.compare.differences import Difference, described, differences
from alexnet.compare.summary import comparison, summary
from alexnet.presets import PRESETS


def words(text):
    """Return a text's lines, with single spaces between words."""
    return [" ".join(line.split()) for line in text.splitlines()]


def joined(text):
    """Return a text's paragraphs as lines, in which words may be divided."""
    return " ".join(words(text)).replace("- ", "-")


@pytest.mark.parametrize("preset", ["net146", "slim"])
def test_summary_is_the_table_and_the_row(preset):
    """A summary holds every layer, the source, figures, preprocessing and training."""
    text = summary(preset)
    lines = words(text)
    table = [
        f"{name} ({', '.join(map(str, shape))}) {count:,}"
        for name, shape, count in TABLES[preset]
    ]
    start = lines.index(table[0])
    assert lines[start : start + len(table)] == table
    row = PRESETS[preset]
    assert lines[start + len(table)] == f"total {row['parameters']:,}"
    assert row["source"] in joined(text)
    figures = (f"{name} {value:g}" for name, value in row["figures"].items())
    assert all(figure in joined(text) for figure in figures)
    if row["preprocessing"] is None:
        assert "preprocessing: none published" in lines
        assert "figures: none published" in lines
        assert "training: none published" in lines
    else:
        assert f"; {row['training']['also']}" in joined(text)
        assert "preprocessing, mean: (127.3, 119.72, 104.91)" in lines
        assert "value range: (-127.3, 150.09)" in lines
    assert max(map(len, text.splitlines())) <= 80


def test_differences_of_the_code_from_the_paper():
    """What net145 has other than the paper is listed, and nothing else."""
    one, other = (f"RandomNormal(mean=0, stddev={s})" for s in ("0.03", "0.01"))
    orders = "conv norm pool activation", "conv activation norm pool"
    both = "across channels and within maps", "across channels"
    assert differences(PRESETS["net145"], PRESETS["paper"]) == [
        Difference("alpha", "norm1", "2e-05", "0.0001"),
        Difference("groups", "norm1", "2", "1"),
        Difference("order", "block 1", *orders),
        Difference("alpha", "norm2", "2e-05", "0.0001"),
        Difference("groups", "norm2", "2", "1"),
        Difference("normalization", "block 2", *both),
        *(
            Difference("kernel_initializer", f"conv{number}", one, other)
            for number in (3, 4, 5)
        ),
    ]


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        (("net146", "net145"), "conv5b: only in net146"),
        (("net145", "net146"), "conv5b: only in net146"),
        (("torchvision", "cifar10_quick"), "conv4, conv5, fc7: only in torchvision"),
        (
            ("net145", "net146"),
            "parameters: 60,965,224 in net145, 61,555,304 in net146",
        ),
        (
            ("torchvision", "cifar10_quick"),
            "kind of pool2: max in torchvision, average in cifar10_quick",
        ),
        (
            ("torchvision", "cifar10_quick"),
            "pool_padding of pool1, pool2: valid in torchvision, ceil in cifar10_quick",
        ),
        (
            ("net147", "net145"),
            "pool_size of pool1, pool2, pool5: 2 in net147, 3 in net145",
        ),
        (
            ("slim", "torchvision"),
            "use_convolutional_head: True in slim, False in torchvision",
        ),
        (
            ("slim", "torchvision"),
            "pixels: none in slim, from -2.118 to 2.64 in torchvision",
        ),
        (("slim", "torchvision"), "preprocessing: none in slim, published in"),
        (("slim", "torchvision"), "training: none in slim, published in torchvision"),
        (
            ("slim", "torchvision"),
            "dropout_position: after in slim, before in torchvision",
        ),
        (
            ("caffe", "caffenet"),
            "dense_bias_initializer: Constant(value=0.1) in caffe, Constant(value=1)",
        ),
        (("caffe", "paper"), "preprocessing channels: BGR in caffe, RGB in paper"),
        (("caffe", "paper"), "input: 227 pixels a side in caffe, 224 pixels a side"),
        (("net146", "net145"), "learning_rate: 0.001 in net146, 0.01 in net145"),
        (
            ("notebook", "paper"),
            "input: 224 pixels a side (resized from 32) in notebook, 224 pixels a side",
        ),
        (("paper", "paper"), "paper and paper do not differ."),
    ],
)
def test_comparison_lists_the_differences(pair, expected):
    """Inputs, layers, arguments and training that differ have lines."""
    text = comparison(*pair)
    assert expected in " ".join(words(text))
    assert max(map(len, text.splitlines())) <= 80


def test_paddings_of_other_windows_are_not_compared():
    """Padding is a difference only if size and strides are the same."""
    text = comparison("torchvision", "cifar10_quick")
    assert "kernel_size of conv1" in text
    assert "\npadding" not in text


def test_one_renderer_names_both_networks():
    """Layers with the same difference share a line, in the order they are found."""
    found = [
        Difference("groups", "conv2", "2", "1"),
        Difference("dropout", "", None, "0.5"),
        Difference("groups", "conv4", "2", "1"),
    ]
    assert described(found) == [
        "groups of conv2, conv4: 2 published, 1 here",
        "dropout: none published, 0.5 here",
    ]


def test_names_and_plain_data_of_one_initializer_are_the_same():
    """An initializer's name differs from its serialized form only if it is another."""

    def found(one, other):
        rows = ({"arguments": {"dense_kernel_initializer": v}} for v in (one, other))
        return differences(*rows)

    he = {"class_name": "HeNormal", "config": {"seed": None}}
    assert found("he_normal", he) == []
    assert [d.what for d in found("he_uniform", he)] == ["dense_kernel_initializer"]
