"""Weight files written byte by byte, and what their nets compute, in NumPy.

Nothing here comes from the package: layouts are those of the formats' own tools.
Weights are in the order and the layout of PyTorch and Caffe, (out, in, height,
width) and (out, in), rows of the first dense layer over (channels, height, width).
"""

from __future__ import annotations

import io
import struct
import zipfile

import h5py
import numpy as np

# A small AlexNet: two groups, normalization, and 5 x 4 pixels to flatten, so that
# rows and columns cannot be mistaken for one another.
TINY = {
    "image_shape": (23, 19, 3),
    "num_classes": 5,
    "blocks": (
        {
            "filters": 6,
            "kernel_size": (5, 4),
            "strides": 2,
            "padding": 1,
            "norm": {"depth_radius": 2, "bias": 1.0, "alpha": 2e-5, "beta": 0.75},
        },
        {
            "filters": 8,
            "kernel_size": 3,
            "padding": 1,
            "groups": 2,
            "pool": None,
            "norm": {"depth_radius": 2, "bias": 1.0, "alpha": 2e-5, "beta": 0.75},
        },
    ),
    "dense_units": (10, 7),
    "classifier_activation": None,
}
# torchvision's kind of net: one group, no normalization, an adaptive pool.
TINY_TORCH = {
    "image_shape": (23, 19, 3),
    "num_classes": 5,
    "blocks": (
        {"filters": 6, "kernel_size": (5, 4), "strides": 2, "padding": 1},
        {"filters": 8, "kernel_size": 3, "padding": 1, "pool": None},
    ),
    "dense_units": (10, 7),
    "dropout_position": "before",
    "classifier_activation": None,
}
SHAPES = [
    ((6, 3, 5, 4), (6,)),
    ((8, 3, 3, 3), (8,)),
    ((10, 8 * 5 * 4), (10,)),
    ((7, 10), (7,)),
    ((5, 7), (5,)),
]
TORCH_SHAPES = [*SHAPES[:1], ((8, 6, 3, 3), (8,)), *SHAPES[2:]]
CAFFE_NAMES = ("conv1", "conv2", "fc6", "fc7", "fc8")
TORCH_NAMES = (
    "features.0",
    "features.3",
    "classifier.1",
    "classifier.4",
    "classifier.6",
)
TORONTO_NAMES = ("conv1", "conv2", "fc3", "fc4", "fc5")


def weights(shapes=None, seed=0):
    """Random kernels and biases that keep activations near one."""
    rng = np.random.default_rng(seed)
    return [
        (
            (rng.normal(size=kernel) / np.sqrt(np.prod(kernel[1:]))).astype("f4"),
            (0.1 * rng.normal(size=bias)).astype("f4"),
        )
        for kernel, bias in shapes or SHAPES
    ]


# What the nets compute: channels first, as in the files.


def convolve(x, kernel, bias, stride, padding, groups):
    x = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    filters, inputs, height, width = kernel.shape
    rows = (x.shape[2] - height) // stride + 1
    columns = (x.shape[3] - width) // stride + 1
    y = np.empty((len(x), filters, rows, columns))
    for f in range(filters):
        first = f // (filters // groups) * inputs
        for i in range(rows):
            for j in range(columns):
                top, left = i * stride, j * stride
                window = x[:, first : first + inputs, top : top + height, :]
                window = window[:, :, :, left : left + width]
                y[:, f, i, j] = (window * kernel[f]).sum((1, 2, 3)) + bias[f]
    return y


def max_pool(x):
    rows, columns = (x.shape[2] - 3) // 2 + 1, (x.shape[3] - 3) // 2 + 1
    return np.stack(
        [
            np.stack(
                [
                    x[:, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((2, 3))
                    for j in range(columns)
                ],
                axis=-1,
            )
            for i in range(rows)
        ],
        axis=-2,
    )


def normalize(x, size=5, alpha=1e-4, beta=0.75, k=1.0):
    """Caffe's normalization: alpha is divided by the size of the window."""
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        window = x[:, max(c - size // 2, 0) : c + size // 2 + 1]
        y[:, c] = x[:, c] / (k + alpha / size * (window**2).sum(1)) ** beta
    return y


def logits(layers, images, groups=2, norm=True):
    """Logits of the tiny net for (n, 3, height, width) images."""
    keep = normalize if norm else lambda x: x
    (k1, b1), (k2, b2), *dense = layers
    x = max_pool(keep(np.maximum(convolve(images, k1, b1, 2, 1, 1), 0)))
    x = keep(np.maximum(convolve(x, k2, b2, 1, 1, groups), 0))
    x = x.reshape(len(x), -1)
    for number, (kernel, bias) in enumerate(dense, start=1):
        x = x @ kernel.astype(np.float64).T + bias
        if number < len(dense):
            x = np.maximum(x, 0)
    return x


# PyTorch.


def _text(value):
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _int(value):
    return b"J" + struct.pack("<i", value)


def _sizes(values):
    return b"(" + b"".join(map(_int, values)) + b"t"


def torch_tensor(key, shape, legacy=False, kind="FloatStorage", offset=0, length=None):
    """Pickle a tensor that refers to storage `key`, as torch.save does."""
    strides = [int(np.prod(shape[axis + 1 :])) for axis in range(len(shape))]
    length = int(np.prod(shape)) if length is None else length
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n(("
        + _text("storage")
        + f"ctorch\n{kind}\n".encode()
        + _text(key)
        + _text("cpu")
        + _int(length)
        + (b"N" if legacy else b"")
        + b"tQ"
        + _int(offset)
        + _sizes(shape)
        + _sizes(strides)
        + b"\x89ccollections\nOrderedDict\n)RtR"
    )


def torch_dict(items):
    """Pickle an OrderedDict of values that are pickled already."""
    pairs = b"".join(_text(name) + value for name, value in items)
    return b"\x80\x02ccollections\nOrderedDict\n)R(" + pairs + b"u."


def torch_items(layers, legacy=False, names=TORCH_NAMES):
    """Return the pickle of a state_dict, and the storages by key."""
    items, storages = [], {}
    for name, pair in zip(names, layers, strict=True):
        for kind, array in zip(("weight", "bias"), pair, strict=True):
            key = str(len(storages))
            storages[key] = np.ascontiguousarray(array, "<f4").tobytes()
            items.append((f"{name}.{kind}", torch_tensor(key, array.shape, legacy)))
    return torch_dict(items), storages


def torch_archive(pickled, storages, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        archive.writestr("net/data.pkl", pickled)
        archive.writestr("net/byteorder", "little")
        for key, raw in storages.items():
            archive.writestr(f"net/data/{key}", raw)
        archive.writestr("net/version", "3\n")
    return stream.getvalue()


def torch_zip(layers):
    return torch_archive(*torch_items(layers))


def torch_legacy_file(pickled, storages):
    magic = b"\x80\x02\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little") + b"."
    system = b"\x80\x02}(" + _text("little_endian") + b"\x88u."
    # torch sorts the keys; here they are in another order than the tensors.
    keys = sorted(storages, reverse=True)
    listed = b"\x80\x02](" + b"".join(map(_text, keys)) + b"e."
    numbers = b"".join(
        struct.pack("<q", len(storages[key]) // 4) + storages[key] for key in keys
    )
    return magic + b"\x80\x02M\xe9\x03." + system + pickled + listed + numbers


def torch_legacy(layers):
    return torch_legacy_file(*torch_items(layers, legacy=True))


# Caffe.


def varint(value):
    raw = b""
    while value > 0x7F:
        raw += bytes([value & 0x7F | 0x80])
        value >>= 7
    return raw + bytes([value])


def field(number, content):
    """A field that holds bytes, or a whole number."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def real(number, value):
    return varint(number << 3 | 5) + struct.pack("<f", value)


def blob(array, legacy):
    """A BlobProto: the shape as four numbers (older), or as a message."""
    raw = np.ascontiguousarray(array, "<f4").tobytes()
    if legacy:
        shape = (1,) * (4 - array.ndim) + array.shape
        return b"".join(field(n, s) for n, s in enumerate(shape, 1)) + field(5, raw)
    dims = b"".join(map(varint, array.shape))
    return field(5, raw) + field(7, field(1, dims))


def lrn(size=5, alpha=1e-4, beta=0.75, k=1.0):
    return field(1, size) + real(2, alpha) + real(3, beta) + real(5, k)


LRNS = (lrn(), lrn())


def caffe_new(layers, names=CAFFE_NAMES, norms=LRNS):
    """A net of LayerParameters."""
    net = field(1, b"Tiny") + field(100, field(1, b"data") + field(2, b"Input"))
    for norm in norms:
        net += field(100, field(1, b"norm") + field(2, b"LRN") + field(118, norm))
    for name, pair in zip(names, layers, strict=True):
        kind = b"Convolution" if pair[0].ndim == 4 else b"InnerProduct"
        content = field(1, name.encode()) + field(2, kind)
        content += b"".join(field(7, blob(array, False)) for array in pair)
        net += field(100, content)
    return net + field(100, field(1, b"prob") + field(2, b"Softmax"))


def caffe_v1(layers, names=CAFFE_NAMES, norms=LRNS):
    """A net of V1LayerParameters: kinds are numbers, shapes have four."""
    net = field(1, b"Tiny") + field(2, field(4, b"data") + field(5, 5))
    for norm in norms:
        net += field(2, field(4, b"norm") + field(5, 15) + field(18, norm))
    for name, pair in zip(names, layers, strict=True):
        content = field(2, b"below") + field(3, name.encode())
        content += field(4, name.encode()) + field(5, 4 if pair[0].ndim == 4 else 14)
        content += b"".join(field(6, blob(array, True)) for array in pair)
        net += field(2, content + real(7, 1.0))
    return net


def hdf5(write):
    """Return the bytes of an HDF5 file that `write` fills."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        write(file)
    return stream.getvalue()


def caffe_h5(layers, names=CAFFE_NAMES):
    def write(file):
        for name, pair in zip(names, layers, strict=True):
            for number, array in enumerate(pair):
                file.create_dataset(f"data/{name}/{number}", data=array)
        file.create_group("data/relu1")

    return hdf5(write)


# Toronto.


def _old_text(value):
    return b"U" + bytes([len(value)]) + value


def npy_array(array):
    """Pickle an array as NumPy under Python 2 did."""
    raw = np.ascontiguousarray(array, "<f4").tobytes()
    return (
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R("
        b"K\x01"
        + _sizes(array.shape)
        + b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89T" + struct.pack("<I", len(raw)) + raw + b"tb"
    )


def npy_file(pickled_dict):
    """An array of one object, with the header that Python 2 wrote."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }"
    header += b" " * (-(11 + len(header)) % 16) + b"\n"
    return (
        b"\x93NUMPY\x01\x00"
        + struct.pack("<H", len(header))
        + header
        + b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        b"U\x01b\x87R(K\x01)cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R(K\x03U\x01|NNN"
        b"J\xff\xff\xff\xffJ\xff\xff\xff\xffK?tb\x89]" + pickled_dict + b"atb."
    )


def npy(layers, names=TORONTO_NAMES, flat=(8, 5, 4)):
    """A dict of [kernel, bias], in Python 2's order: any.

    Kernels are (height, width, in, out), rows of the first dense layer
    (height, width, channels), as the converter from Caffe wrote them.
    """
    entries = []
    for number, (name, (kernel, bias)) in enumerate(zip(names, layers, strict=True)):
        if kernel.ndim == 4:
            turned = kernel.transpose(2, 3, 1, 0)
        elif number == 2:
            turned = kernel.reshape(-1, *flat).transpose(2, 3, 1, 0)
            turned = turned.reshape(-1, len(kernel))
        else:
            turned = kernel.T
        entries.append(
            _old_text(name.encode())
            + b"]("
            + npy_array(turned)
            + npy_array(bias)
            + b"e"
        )
    return npy_file(b"}(" + b"".join(entries[::-1]) + b"u")
