"""Damaged and hostile weight files are refused by their readers, without a model."""

from __future__ import annotations

import io
import os
import pickle
import struct
import warnings
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import weight_files as files
from refusals import MIB, refused

from alexnet.weights import WeightsError, read_mean
from alexnet.weights.formats import hdf5

TORCH_LAYERS = files.weights(files.TORCH_SHAPES)

# Pickles that want to do something.


class Command:
    """Pickled, it runs a command when it is loaded carelessly."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def pickled_files(pickled):
    """A pickle in each of the three formats that have one."""
    return {
        "zip.pth": files.torch_archive(pickled, {}),
        "legacy.pth": files.torch_legacy_file(pickled, {}),
        "net.npy": files.npy_file(pickled.removeprefix(b"\x80\x02")[:-1]),
    }


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_commands_are_not_executed(tmp_path, protocol):
    """A pickle that would run a command is refused, and nothing is run."""
    mark = tmp_path / "mark"
    pickled = pickle.dumps({"a": Command(mark)}, protocol)
    for name, data in pickled_files(pickled).items():
        refused(tmp_path / name, data, "refers to '(posix|nt).system'.* not")
    pickle.loads(pickled)
    assert mark.exists()  # The pickle does work on the careless.


@pytest.mark.parametrize(
    "code",
    [
        b"c__builtin__\neval\n(X\x04\x00\x00\x001+1\ntR.",
        b"(X\x01\x00\x00\x001ibuiltins\neval\n.",
        b"(cbuiltins\neval\nX\x01\x00\x00\x001o.",
        b"cbuiltins\neval\n)\x81.",
        b"\x82\x01.",
        b"Pname\n.",
        b"ctorch\nFloatStorage\n)R.",
        b"cnumpy\nndarray\n)R.",
        b"ccollections\nOrderedDict\n(NtR.",
        b"ctorch._utils\n_rebuild_tensor_v2\n)R.",
        b"}(X\x01\x00\x00\x00aK\x01X\x01\x00\x00\x00bu.",
        b"}(K\x01K\x02K\x03u.",
        b"}((K\x01K\x02tK\x03u.",  # A key that is a tuple.
        b"]ae.",
        b"0.",
        b"h\x05.",
        b"j\xff\xff\xff\x7f.",  # A memo index of 2**31.
        b"X\xff\xff\xff\x7fa.",
        b"\x8d\xff\xff\xff\xff\xff\xff\xff\x7fa.",  # A text of 2**63 bytes.
        b"\x8b\xff\xff\xff\x7f\x01.",  # An integer of 2**31 bytes.
        b"\x8b\x00\x10\x00\x00" + b"\x7f" * 4096 + b".",
        b"L" + b"9" * 100_000 + b"L\n.",
        b"(((.",
        b"S'\\o'\n.",
        b"}",
        b"",
    ],
)
def test_pickles_of_other_kinds(tmp_path, code):
    """Operations that weights do not need, and lengths that lie, are refused."""
    for name, data in pickled_files(code).items():
        refused(tmp_path / name, data, "pickle|it holds|begin|layer")


def nested(kind, depth):
    """A tuple or list inside another, `depth` times; then as the key of a dict."""
    tuples = b")" + b"\x85" * depth
    return {
        "tuples": tuples + b".",
        "lists": b"]" * depth + b"a" * (depth - 1) + b".",
        "key": b"}" + tuples + b"K\x01s.",
        # Sixty doublings: a hash or a printout would take 2**60 steps.
        "doubled": b"})" + b"q\x00h\x00\x86" * 60 + b"K\x01s.",
        "doubled dict": b"}X\x01\x00\x00\x00a)" + b"q\x00h\x00\x86" * 60 + b"s.",
    }[kind]


@pytest.mark.parametrize(
    "kind", ["tuples", "lists", "key", "doubled", "doubled dict", "operations"]
)
def test_deep_and_doubled_pickles(tmp_path, kind):
    """Deep nesting, doubled structures and endless pickles end in time."""
    code = b"N" * 300_000 if kind == "operations" else nested(kind, 30_000)
    match = "pickle|it holds|entry|layer"
    if kind == "operations":
        match = "more than 200000 operations"
    for name, data in pickled_files(code).items():
        refused(tmp_path / name, data, match, calls=5_000_000)


def test_tensors_that_lie(tmp_path):
    """Tensors that reach beyond their storage, or repeat it, are refused."""
    layers = TORCH_LAYERS
    shape = layers[0][0].shape
    lies = {
        "beyond": (files.torch_tensor("0", shape, offset=1), "within its storage"),
        "longer": (files.torch_tensor("0", shape, length=10**9), "should have 4000000"),
        "missing": (files.torch_tensor("99", shape), "lacks 'net/data/99'"),
        "kind": (files.torch_tensor("0", shape, kind="LongStorage"), "no floating"),
        "path": (files.torch_tensor("../byteorder", shape), "lacks 'net/data/../byte"),
        "huge": (
            files.torch_tensor("0", (2**31 - 1,), length=1080),
            "within its storage",
        ),
        "empty": (files.torch_tensor("0", (0, 3), length=0), "within its storage"),
        "text": (files._text("weight"), "is 'weight', not a layer's weight"),
        # Strides of zero: four billion numbers out of one.
        "repeated": (
            files.torch_tensor("0", (2**16, 2**16), length=1080).replace(
                files._sizes((2**16, 1)), files._sizes((0, 0))
            ),
            "repeats numbers",
        ),
    }
    for tensor, match in lies.values():
        items, storages = [("features.0.weight", tensor)], files.torch_items(layers)[1]
        data = files.torch_archive(files.torch_dict(items), storages)
        refused(tmp_path / "net.pth", data, match)


def test_shared_storages_do_not_multiply(tmp_path):
    """A thousand tensors that share one storage take no memory of their own."""
    raw = bytes(4 << 20)
    tensor = files.torch_tensor("0", (1 << 20,))
    items = [(f"a{number}.weight", tensor) for number in range(1000)]
    data = files.torch_archive(files.torch_dict(items), {"0": raw})
    refused(tmp_path / "net.pth", data, "repeats numbers", 8 * len(raw))


# Archives.


def test_checksums_are_verified(tmp_path):
    """One changed bit of the numbers in a zip file is noticed."""
    data = bytearray(files.torch_zip(TORCH_LAYERS))
    data[data.index(TORCH_LAYERS[2][0].tobytes()) + 1000] ^= 1
    refused(tmp_path / "net.pth", bytes(data), "Bad CRC-32")


def test_zip_bombs(tmp_path):
    """An entry that grows a thousandfold is refused before it is unpacked."""
    pickled = b"\x80\x02]." + bytes(50 * MIB)
    data = files.torch_archive(pickled, {}, zipfile.ZIP_DEFLATED)
    assert len(data) < 1 << 20
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(50 * MIB))
    del pickled
    for bomb in (data, stream.getvalue()):
        refused(tmp_path / "bomb.pth", bomb, "grows to 5", size=4 * MIB)


def test_zip_bombs_that_lie(tmp_path):
    """An entry that unpacks to more than it announces stops there."""
    packed = zlib.compress(bytes(100 << 20), wbits=-15)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("net/data.pkl", packed)
    data = bytearray(stream.getvalue())
    directory = data.index(b"PK\x01\x02")
    for at in (8, directory + 10):  # Method of compression: deflate.
        struct.pack_into("<H", data, at, 8)
    for at in (22, directory + 24):  # Size when unpacked.
        struct.pack_into("<I", data, at, 1000)
    refused(tmp_path / "bomb.pth", bytes(data), "is damaged", size=16 * MIB)


def test_odd_archives(tmp_path):
    """Archives without a pickle, with two, with one name twice, or encrypted."""

    def packed(*names):
        stream = io.BytesIO()
        with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
            warnings.simplefilter("ignore")
            for name in names:
                archive.writestr(name, b"\x80\x02}.")
        return bytearray(stream.getvalue())

    path = tmp_path / "net.pth"
    for data, match in (
        (packed("readme.txt"), "should hold one data.pkl"),
        (packed("a/data.pkl", "b/data.pkl"), "should hold one data.pkl"),
        (packed("a/data.pkl", "a/data.pkl"), "lists a name twice"),
        (packed("a/data.pkl"), "an empty dict instead of a dict of tensors; save "),
    ):
        refused(path, bytes(data), match)
    encrypted = packed("a/data.pkl")
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    refused(path, bytes(encrypted), "encrypted")


# Protobuf and HDF5.


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (files.varint(100 << 3 | 2) + files.varint(2**40), "announces 1099511627776"),
        (b"\xff" * 20, "more than 64 bits"),
        (b"\x0b" * 1_000_000, "wire type 3"),
        (b"\x00\x00", "field 0"),
        (files.field(1, 1) * 60_000, "more than 50000 protobuf fields"),
        (files.field(2, files.field(1, b"x")), "upgrade_net_proto_binary"),
        (files.field(100, 5), "should hold a message"),
        (files.field(100, files.field(7, files.field(5, b"1234"))), r"shape \(0, 0"),
        (
            files.field(
                100,
                files.field(7, files.field(7, files.field(1, b"\xff\xff\xff\x7f" * 4))),
            ),
            "should have",
        ),
        (
            files.field(
                100,
                files.field(1, b"norm")
                + files.field(2, b"BatchNorm")
                + files.field(7, files.blob(np.zeros(3), False)),
            ),
            "layer 'norm' of type 'BatchNorm' has weights",
        ),
    ],
)
def test_protobuf_that_lies(tmp_path, content, match):
    """Lengths and shapes beyond the file, groups and unknown layers are refused."""
    refused(tmp_path / "net.caffemodel", content, match)


def test_hdf5_that_leads_elsewhere(tmp_path):
    """Links, compressed, unwritten and external arrays are refused."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(1024))

    def soft(file):
        file["data/conv1/0"] = h5py.SoftLink("/other")

    def outside(file):
        file["data/conv1/0"] = h5py.ExternalLink(str(tmp_path / "net.h5"), "/data")

    def external(file):
        file.create_dataset(
            "data/conv1/0", (16, 16), "f4", external=[(str(secret), 0, 1024)]
        )

    def huge(file):
        file.create_dataset("data/conv1/0", (2**40,), "f4")

    def unwritten(file):
        file.create_dataset("data/conv1/0", (2**20,), "f4", chunks=(2**10,))

    def packed(file):
        zeros = np.zeros((1 << 20,), "f4")
        file.create_dataset("data/conv1/0", data=zeros, compression="gzip")

    def text(file):
        file["data/conv1/0"] = "weights"

    def group(file):
        file.create_group("data/conv1/0")

    def unnamed(file):
        file["layers/dense/vars/0"] = np.zeros((3, 3))

    def gap(file):
        file["layers/dense/vars/1"] = np.zeros((3, 3))
        file["layers/dense/vars"].attrs["name"] = "fc3"

    def keras2(file):
        file["model_weights/dense/kernel"] = np.zeros((3, 3))

    def other(file):
        file["weights/dense/kernel"] = np.zeros((3, 3))

    for write, match in (
        (soft, "is a link to elsewhere"),
        (outside, "of a newer variant, or hold links to elsewhere"),
        (external, "in another file"),
        (huge, "points beyond the file"),
        (unwritten, "in chunks"),
        (packed, "are compressed"),
        (text, "hold no numbers"),
        (group, "should be an array"),
        (unnamed, "does not say its layer's name"),
        (gap, "layer 'fc3' lacks a variable"),
        (keras2, "is a model of Keras 2"),
        (other, "neither the group 'layers' of Keras 3"),
        (lambda file: file.create_group("layers"), "no layers with weights"),
        (lambda file: file.create_group("data"), "no layers with weights"),
    ):
        refused(tmp_path / "net.h5", files.hdf5(write), match)


def test_hdf5_that_lies(tmp_path):
    """A file longer or shorter than it says, and arrays that overlap, are refused."""
    data = files.caffe_h5(files.weights())
    path = tmp_path / "net.h5"
    for changed in (data + b"\0", data[:-1]):
        refused(path, changed, "header announces 20012 bytes, but")
    with h5py.File(io.BytesIO(data)) as file:
        one, other = (file[f"data/{name}/1"].id for name in ("fc6", "conv1"))
        places = [item.get_offset() for item in (one, other)]
        size = other.get_storage_size()
    true, false = (struct.pack("<QQ", place, size) for place in reversed(places))
    assert data.count(true) == 1
    refused(path, data.replace(true, false), "arrays overlap")


def test_hdf5_without_end(tmp_path, monkeypatch):
    """A tree of groups that leads a million times to the same place ends in time."""
    header, tree, heap, table, fan = 96, 200, 30_000, 30_100, 300
    node = 24 + 16 * fan + 8
    data = bytearray(31_000)
    data[:24] = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + bytes(8)
    struct.pack_into("<QQQQQQ", data, 24, 0, 2**64 - 1, len(data), 2**64 - 1, 0, header)
    struct.pack_into(
        "<BBHIIIHHIQQ", data, header, 1, 0, 1, 1, 24, 0, 17, 16, 0, tree, heap
    )
    for level in (3, 2, 1, 0):
        at = tree + (3 - level) * node
        child = table if level == 0 else at + node
        struct.pack_into("<4sBBHQQ", data, at, b"TREE", 0, level, fan, 0, 0)
        for number in range(fan):
            struct.pack_into("<QQ", data, at + 24 + 16 * number, 0, child)
    struct.pack_into("<4sIQQQ", data, heap, b"HEAP", 0, 8, 0, heap + 40)
    data[table : table + 8] = b"SNOD\x01\0\0\0"
    monkeypatch.setattr(hdf5, "MOST_STEPS", 10_000)
    match = "structure has no end"
    refused(tmp_path / "net.h5", bytes(data), match, calls=500_000)


# Toronto's arrays.


def test_arrays_that_lie(tmp_path):
    """Arrays of other types, shapes that do not match, and odd names are refused."""
    array = files.npy_array(np.zeros((2, 2), "f4"))
    path = tmp_path / "net.npy"

    def layer(content, name=b"conv1"):
        return files.npy_file(b"}U" + bytes([len(name)]) + name + content + b"s")

    for data, match in (
        (layer(b"](" + array + b"e"), "should be \\[kernel, bias\\]"),
        (layer(b"](" + array * 2 + b"e", b"conv2"), "should be called conv1"),
        (layer(array.replace(b"J\x02\x00\x00\x00", b"J\x03\x00\x00\x00")), "not match"),
        (layer(array.replace(b"U\x02f4", b"U\x02i4")), "type 'i4', not float"),
        (layer(b"](" + array * 2 + b"e") + b"more", "ends before the file"),
        (layer(array).replace(b"'shape': ()", b"'shape': 7 "), "header does not"),
        (layer(array).replace(b"|O", b"f4"), "header does not"),
        (files.npy_file(b"]"), "a list instead of a dict"),
    ):
        refused(path, data, match)


def test_mean_images(tmp_path):
    """A mean image comes as (height, width, channels); other blobs are refused."""
    image = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype("f4")
    path = tmp_path / "mean.binaryproto"
    path.write_bytes(files.blob(image, True))
    assert np.array_equal(read_mean(path), image[0].transpose(1, 2, 0))
    path.write_bytes(files.blob(image[0], False))
    assert np.array_equal(read_mean(path), image[0].transpose(1, 2, 0))
    for array in (np.zeros((2, 2)), np.full((1, 3, 4, 5), np.nan)):
        path.write_bytes(files.blob(array, False))
        with pytest.raises(WeightsError, match=r"has shape .* not finite"):
            read_mean(path)
    path.write_bytes(files.blob(image, True)[:-1])
    with pytest.raises(WeightsError, match="may be cut off"):
        read_mean(path)
    with pytest.raises(WeightsError, match="Cannot read the mean image"):
        read_mean(tmp_path / "none")
