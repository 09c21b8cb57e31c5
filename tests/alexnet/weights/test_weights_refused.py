"""Wrong, hostile and unsuitable weight files: what is said, and what stays."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import struct
import time
import tracemalloc
import warnings
import zipfile
import zlib

import h5py
import keras
import numpy as np
import pytest
import weight_files as files

from alexnet import AlexNet
from alexnet.weights import WeightsError, load_weights, read_mean


@pytest.fixture(scope="module")
def models():
    """The two tiny nets; no test here may change their weights."""
    keras.utils.set_random_seed(2012)
    nets = {True: AlexNet(**files.TINY_TORCH), False: AlexNet(**files.TINY)}
    before = {kind: model.get_weights() for kind, model in nets.items()}
    yield nets
    for kind, model in nets.items():
        for a, b in zip(before[kind], model.get_weights(), strict=True):
            assert np.array_equal(a, b)


def refused(model, path, data, match, **options):
    """Assert that a file is refused with one message, and nothing is loaded."""
    path.write_bytes(data)
    before = model.get_weights()
    with pytest.raises(WeightsError, match=match) as caught:
        load_weights(model, path, **options)
    assert str(caught.value).startswith(f"Cannot load {path}: ")
    assert str(caught.value).endswith("The model is unchanged.")
    for a, b in zip(before, model.get_weights(), strict=True):
        assert np.array_equal(a, b)


def torch_layers():
    return files.weights(files.TORCH_SHAPES)


# Files that do not fit.


def test_wrong_shape_names_layer_shapes_and_preset(tmp_path, models):
    """A shape that differs is given as expected and found, with what would fit."""
    shapes = list(files.TORCH_SHAPES)
    shapes[1] = ((9, 6, 3, 3), (9,))
    data = files.torch_zip(files.weights(shapes))
    message = (
        r"layer 'conv2' needs kernel \(3, 3, 6, 8\), bias \(8,\); the file has "
        r"kernel \(3, 3, 6, 9\), bias \(9,\)\. No preset has this file's kernels"
    )
    refused(models[True], tmp_path / "net.pth", data, message)


def test_the_preset_that_fits_is_named(tmp_path, models):
    """The message names the preset whose network the file is of."""
    shapes = [
        ((32, 3, 5, 5), (32,)),
        ((32, 32, 5, 5), (32,)),
        ((64, 32, 5, 5), (64,)),
        ((64, 1024), (64,)),
        ((10, 64), (10,)),
    ]
    names = ("conv1", "conv2", "conv3", "ip1", "ip2")
    data = files.caffe_new(files.weights(shapes), names)
    match = "layer 'conv1' needs .* By its layers and parameters, preset 'cifar10_qu"
    refused(models[False], tmp_path / "net.caffemodel", data, match)


def test_missing_and_surplus_layers(tmp_path, models):
    """A file with fewer or more layers than the model says which."""
    layers = torch_layers()
    pickled, storages = files.torch_items(layers[:-1], names=files.TORCH_NAMES[:-1])
    data = files.torch_archive(pickled, storages)
    match = "layer 'logits' needs .*; the file has no such layer"
    refused(models[True], tmp_path / "net.pth", data, match)
    more = [*layers, (np.zeros((4, 5), "f4"), np.zeros(4, "f4"))]
    pickled, storages = files.torch_items(more, names=(*files.TORCH_NAMES, "more.9"))
    data = files.torch_archive(pickled, storages)
    match = "the file has 6 layers with weights, the model 5; it lacks 'more.9'"
    refused(models[True], tmp_path / "net.pth", data, match)


def test_missing_bias(tmp_path, models):
    """A layer without the bias that the model has is refused."""
    layers = files.weights()
    data = files.caffe_new([layers[0][:1], *layers[1:]])
    match = r"layer 'conv1' needs kernel .*, bias \(6,\); the file has kernel .*\)\. No"
    refused(models[False], tmp_path / "net.caffemodel", data, match)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("write", ["torch_zip", "torch_legacy", "caffe_h5", "npy"])
def test_numbers_that_are_not_finite(tmp_path, models, value, write):
    """A single NaN or infinity is refused, and its layer named."""
    is_torch = write.startswith("torch")
    layers = files.weights(files.TORCH_SHAPES if is_torch else files.SHAPES)
    layers[3][1][2] = value
    data = getattr(files, write)(layers)
    match = "layer 'fc4' has numbers that are not finite in its bias"
    refused(models[is_torch], tmp_path / "net.any", data, match)


def test_numbers_too_large_for_the_model(tmp_path):
    """Numbers that become infinite in the model's precision are refused."""
    model = AlexNet(**files.TINY_TORCH, dtype="float16")
    layers = torch_layers()
    layers[0][0][0, 0, 0, 0] = 1e5
    match = "layer 'conv1' has numbers that are not finite in its kernel"
    refused(model, tmp_path / "net.pth", files.torch_zip(layers), match)


def test_hash(tmp_path, models):
    """A file of another SHA-256 is refused; its own, in either case, passes."""
    data = files.torch_zip(torch_layers())
    found = hashlib.sha256(data).hexdigest()
    match = f"its SHA-256 should be {'0' * 64}, but is {found}"
    path = tmp_path / "net.pth"
    refused(models[True], path, data, match, sha256="0" * 64)
    load_weights(AlexNet(**files.TINY_TORCH), path, sha256=found.upper())


def test_arguments(tmp_path, models):
    """Options outside their range are refused before the file is read."""
    with pytest.raises(ValueError, match="channel_order must be one of 'rgb', 'bgr'"):
        load_weights(models[True], tmp_path / "none", channel_order="gbr")
    with pytest.raises(TypeError, match="sum_channels must be True or False"):
        load_weights(models[True], tmp_path / "none", sum_channels=1)


def test_missing_files_and_unknown_formats(tmp_path, models):
    """A missing file, a directory, an empty one and another format are told apart."""
    with pytest.raises(WeightsError, match=r"it cannot be read \(No such file"):
        load_weights(models[True], tmp_path / "none.pth")
    with pytest.raises(WeightsError, match="it is a directory, not a file"):
        load_weights(models[True], tmp_path)
    for data in (b"", b"GIF89a", b"PK"):
        refused(models[True], tmp_path / "net.pth", data, "cut off|zip directory")
    for data in (b"", b"\x08\x01"):
        refused(models[True], tmp_path / "n.caffemodel", data, "it holds no layers")


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
def test_commands_are_not_executed(tmp_path, models, protocol):
    """A pickle that would run a command is refused, and nothing is run."""
    mark = tmp_path / "mark"
    pickled = pickle.dumps({"a": Command(mark)}, protocol)
    for name, data in pickled_files(pickled).items():
        refused(
            models[True], tmp_path / name, data, "refers to '(posix|nt).system'.* not"
        )
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
def test_pickles_of_other_kinds(tmp_path, models, code):
    """Operations that weights do not need, and lengths that lie, are refused."""
    for name, data in pickled_files(code).items():
        refused(models[True], tmp_path / name, data, "pickle|it holds|begin|layer")


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
def test_deep_and_doubled_pickles(tmp_path, models, kind):
    """Deep nesting, doubled structures and endless pickles end in time."""
    code = b"N" * 1_000_000 if kind == "operations" else nested(kind, 90_000)
    match = "pickle|it holds|entry|layer"
    if kind == "operations":
        match = "more than 200000 operations"
    start = time.monotonic()
    for name, data in pickled_files(code).items():
        refused(models[True], tmp_path / name, data, match)
    assert time.monotonic() - start < 10


def test_tensors_that_lie(tmp_path, models):
    """Tensors that reach beyond their storage, or repeat it, are refused."""
    layers = torch_layers()
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
        refused(models[True], tmp_path / "net.pth", data, match)


def test_shared_storages_do_not_multiply(tmp_path, models):
    """A thousand tensors that share one storage take no memory of their own."""
    raw = bytes(4 << 20)
    tensor = files.torch_tensor("0", (1 << 20,))
    items = [(f"a{number}.weight", tensor) for number in range(1000)]
    data = files.torch_archive(files.torch_dict(items), {"0": raw})
    tracemalloc.start()
    try:
        refused(models[True], tmp_path / "net.pth", data, "repeats numbers")
        assert tracemalloc.get_traced_memory()[1] < 10 * len(raw)
    finally:
        tracemalloc.stop()


# Archives.


def test_checksums_are_verified(tmp_path, models):
    """One changed bit of the numbers in a zip file is noticed."""
    data = bytearray(files.torch_zip(torch_layers()))
    data[data.index(torch_layers()[2][0].tobytes()) + 1000] ^= 1
    refused(models[True], tmp_path / "net.pth", bytes(data), "Bad CRC-32")


def test_zip_bombs(tmp_path, models):
    """An entry that grows a thousandfold is refused before it is unpacked."""
    pickled = b"\x80\x02]." + bytes(200 << 20)
    data = files.torch_archive(pickled, {}, zipfile.ZIP_DEFLATED)
    assert len(data) < 1 << 20
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", b"\x89HDF\r\n\x1a\n" + bytes(200 << 20))
    del pickled
    for bomb in (data, stream.getvalue()):
        tracemalloc.start()
        try:
            refused(models[True], tmp_path / "bomb.pth", bomb, "grows to 2097")
            assert tracemalloc.get_traced_memory()[1] < 4 << 20
        finally:
            tracemalloc.stop()


def test_zip_bombs_that_lie(tmp_path, models):
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
    tracemalloc.start()
    try:
        refused(models[True], tmp_path / "bomb.pth", bytes(data), "is damaged")
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_odd_archives(tmp_path, models):
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
        refused(models[True], path, bytes(data), match)
    encrypted = packed("a/data.pkl")
    encrypted[encrypted.index(b"PK\x01\x02") + 8] |= 1
    refused(models[True], path, bytes(encrypted), "encrypted")


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
def test_protobuf_that_lies(tmp_path, models, content, match):
    """Lengths and shapes beyond the file, groups and unknown layers are refused."""
    refused(models[False], tmp_path / "net.caffemodel", content, match)


def hdf5(write):
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        write(file)
    return stream.getvalue()


def test_hdf5_that_leads_elsewhere(tmp_path, models):
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
        refused(models[False], tmp_path / "net.h5", hdf5(write), match)


def test_hdf5_that_lies(tmp_path, models):
    """A file longer or shorter than it says, and arrays that overlap, are refused."""
    data = files.caffe_h5(files.weights())
    path = tmp_path / "net.h5"
    for changed in (data + b"\0", data[:-1]):
        refused(models[False], path, changed, "header announces 20012 bytes, but")
    with h5py.File(io.BytesIO(data)) as file:
        one, other = (file[f"data/{name}/1"].id for name in ("fc6", "conv1"))
        places = [item.get_offset() for item in (one, other)]
        size = other.get_storage_size()
    true, false = (struct.pack("<QQ", place, size) for place in reversed(places))
    assert data.count(true) == 1
    refused(models[False], path, data.replace(true, false), "arrays overlap")


def test_hdf5_without_end(tmp_path, models):
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
    start = time.monotonic()
    refused(models[False], tmp_path / "net.h5", bytes(data), "structure has no end")
    assert time.monotonic() - start < 5


# Toronto's arrays.


def test_arrays_that_lie(tmp_path, models):
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
        refused(models[False], path, data, match)


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
