"""Files made to take time or memory out of proportion are refused at once."""

from __future__ import annotations

import io
import os
import struct
import time
import tracemalloc
import zipfile
import zlib

import h5py
import keras
import pytest
import weight_files as files

from alexnet import AlexNet
from alexnet.weights import WeightsError, load_weights, read_mean

MIB = 1 << 20


@pytest.fixture(scope="module")
def model():
    return AlexNet(**files.TINY_TORCH)


def refused_cheaply(model, path, data, match, most_bytes=16 * MIB, most_s=10):
    """Assert that a file is refused in little time and memory beside its own."""
    path.write_bytes(data)
    tracemalloc.start()
    start = time.monotonic()
    try:
        with pytest.raises(WeightsError, match=match):
            load_weights(model, path)
        assert tracemalloc.get_traced_memory()[1] < most_bytes + 2 * len(data)
    finally:
        tracemalloc.stop()
    # Without bounds these take minutes and gigabytes.
    assert time.monotonic() - start < most_s


def pairs(count):
    """A list of (number, None), remembered as 1."""
    items = (b"J" + struct.pack("<i", number) + b"N\x86" for number in range(count))
    return b"]q\x01(" + b"".join(items) + b"e"


def text(length):
    return b"X" + struct.pack("<I", length) + b"a" * length


def test_functions_are_not_given_the_same_again_and_again(tmp_path, model):
    """A list, a text or a state that a pickle keeps cannot be multiplied by calls."""
    match = "again and again"
    dicts = b"ccollections\nOrderedDict\nq\x00" + pairs(20_000)
    dicts += b"(" + b"h\x00h\x01\x85R" * 10_000 + b"t."
    archive = files.torch_archive(b"\x80\x02" + dicts, {})
    refused_cheaply(model, tmp_path / "dicts.pth", archive, match)
    encoded = b"c_codecs\nencode\nq\x00" + text(MIB) + text(6) + b"\x86q\x01"
    encoded += b"(" + b"h\x00h\x01R" * 10_000 + b"t"
    refused_cheaply(model, tmp_path / "n.npy", files.npy_file(encoded), match)
    states = b"cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\ndtype\nX\x02\0\0\0f4"
    states += b"\x85Rq\x01(K\x01J" + struct.pack("<i", MIB // 4) + b"\x85h\x01\x89"
    states += text(MIB) + b"tq\x02(" + b"h\x00)Rh\x02b" * 10_000 + b"t"
    refused_cheaply(model, tmp_path / "n.npy", files.npy_file(states), match)


@pytest.mark.parametrize("method", [12, 14, 93, 99])
def test_only_deflate_is_unpacked(tmp_path, model, method):
    """A changed method of compression is damage, whatever it makes of the entry."""
    data = bytearray(files.torch_zip(files.weights(files.TORCH_SHAPES)))
    entry = data.index(b"PK\x01\x02")
    for at in (entry + 10, 8):
        struct.pack_into("<H", data, at, method)
    path = tmp_path / "net.pth"
    match = f"damaged, or compressed by an unusual method .{method}"
    refused_cheaply(model, path, bytes(data), match)


def test_entries_that_overlap(tmp_path, model):
    """Entries that lie over one another add up to more than the file has."""
    content = bytes(MIB)
    name, crc = b"net/data/%03d", zlib.crc32(content)
    local = struct.pack(
        "<4sHHHHHIIIHH", b"PK\3\4", 20, 0, 0, 0, 0, crc, MIB, MIB, 12, 0
    )
    entries = [
        struct.pack(
            "<4sHHHHHHIIIHHHHHII",
            *(b"PK\1\2", 20, 20, 0, 0, 0, 0, crc, MIB, MIB, 12, 0, 0, 0, 0, 0, 0),
        )
        + name % number
        for number in range(100)
    ]
    body = local + name % 0 + content
    directory = b"".join(entries)
    end = (b"PK\5\6", 0, 0, 100, 100, len(directory), len(body), 0)
    data = body + directory + struct.pack("<4sHHHHIIH", *end)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.infolist()[0].file_size == MIB  # Python's own finds no fault.
    refused_cheaply(model, tmp_path / "net.pth", data, "grows to 104857600")


def test_archives_of_many_entries(tmp_path, model):
    """A directory of a hundred thousand entries is not even listed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(20_000):
            archive.writestr(str(number), b"")
    refused_cheaply(
        model, tmp_path / "net.pth", stream.getvalue(), "more than 10000 entries"
    )


def test_protobuf_fields_are_counted_all_in_all(tmp_path, model):
    """Many layers of many fields, and a shape of many numbers, end in time."""
    path = tmp_path / "net.caffemodel"
    layers = files.field(100, files.field(10, 1) * 9_999) * 1_000
    refused_cheaply(model, path, layers, "more than 50000 protobuf fields", most_s=20)
    shape = files.field(7, files.field(1, b"\x01" * (20 * MIB)))
    layer = files.field(1, b"conv1") + files.field(2, b"Convolution")
    data = files.field(100, layer + files.field(7, shape))
    refused_cheaply(model, path, data, "more than 8 dimensions")


def hdf5(write):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        write(file)
    return stream.getvalue()


def test_hdf5_texts_and_arrays_in_plenty(tmp_path, model):
    """Long names, and arrays by the ten thousand, end in time."""

    def long_name(file):
        file["layers/a/vars/0"] = [1.0]
        file["layers/a/vars"].attrs["name"] = "x" * 2000

    def many(file):
        file.create_group("layers/a/vars").attrs["name"] = "conv1"
        for number in range(12_000):
            file[f"layers/a/vars/{number}"] = [1.0]

    path = tmp_path / "net.weights.h5"
    refused_cheaply(model, path, hdf5(long_name), "hold a text of 2000 bytes")
    refused_cheaply(
        model, path, hdf5(many), "no such layer|far more objects|needs", 32 * MIB, 20
    )


@pytest.mark.parametrize("value", [1.0, [1.0, 2.0]])
def test_hdf5_without_kernels(tmp_path, model, value):
    """A net that only normalizes does not fit, like any other."""

    def write(file):
        file["layers/a/vars/0"] = value
        file["layers/a/vars"].attrs["name"] = "norm"

    path = tmp_path / "net.weights.h5"
    match = "layer 'conv1' needs .* no such layer. No preset has this file's kernels"
    refused_cheaply(model, path, hdf5(write), match)


def test_what_is_no_file(tmp_path, model):
    """Pipes are not waited for, devices not read to their end."""
    pipe = tmp_path / "net.pth"
    os.mkfifo(pipe)
    for path in (pipe, "/dev/zero"):
        with pytest.raises(WeightsError, match="it is a device or pipe, not a file"):
            load_weights(model, path)
        with pytest.raises(WeightsError, match="it is a device or pipe, not a file"):
            read_mean(path)
    with pytest.raises(WeightsError, match=r"cannot be read .*null"):
        load_weights(model, "a\0b.pth")


def test_large_files_are_recognized_before_they_are_read(tmp_path, model):
    """Of a gigabyte of another format, the first bytes are read."""
    path = tmp_path / "net.pth"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match="of another format"):
            load_weights(model, path)
        assert tracemalloc.get_traced_memory()[1] < MIB
    finally:
        tracemalloc.stop()
    with path.open("wb") as file:
        file.truncate((2 << 30) + 1)
    with pytest.raises(WeightsError, match="it has 2147483649 bytes; 2147483648 are"):
        load_weights(model, path)


def test_bad_arguments(model):
    """Arguments of another kind are refused as such."""
    with pytest.raises(TypeError, match="sha256 must be a text; received sha256=5"):
        load_weights(model, "net.pth", sha256=5)
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    with pytest.raises(TypeError, match="model must be an AlexNet; received a Sequen"):
        load_weights(other, "net.pth")


def test_numbers_beyond_the_models_type(tmp_path):
    """What is finite in the file but not in the model is refused."""
    layers = files.weights(files.TORCH_SHAPES)
    layers[0][1][0] = 3.4028e38  # bfloat16 ends at 3.39e38.
    path = tmp_path / "net.pth"
    path.write_bytes(files.torch_zip(layers))
    load_weights(AlexNet(**files.TINY_TORCH), path)
    with pytest.raises(WeightsError, match="'conv1' has numbers that are not finite"):
        load_weights(AlexNet(**files.TINY_TORCH, dtype="bfloat16"), path)
