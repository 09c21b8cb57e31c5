"""Files made to take time or memory out of proportion are refused at once."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from pathlib import Path

import pytest
import weight_files as files
from refusals import MIB, at_most_bytes, at_most_calls, refused

from alexnet.weights import WeightsError, read_mean, readers
from alexnet.weights.formats import hdf5


def pairs(count):
    """A list of (number, None), remembered as 1."""
    items = (b"J" + struct.pack("<i", number) + b"N\x86" for number in range(count))
    return b"]q\x01(" + b"".join(items) + b"e"


def text(length):
    return b"X" + struct.pack("<I", length) + b"a" * length


def test_functions_are_not_given_the_same_again_and_again(tmp_path):
    """A list, a text or a state that a pickle keeps cannot be multiplied by calls."""
    match = "again and again"
    dicts = b"ccollections\nOrderedDict\nq\x00" + pairs(20_000)
    dicts += b"(" + b"h\x00h\x01\x85R" * 10_000 + b"t."
    archive = files.torch_archive(b"\x80\x02" + dicts, {})
    refused(tmp_path / "dicts.pth", archive, match, calls=2_000_000)
    encoded = b"c_codecs\nencode\nq\x00" + text(MIB) + text(6) + b"\x86q\x01"
    encoded += b"(" + b"h\x00h\x01R" * 10_000 + b"t"
    refused(tmp_path / "n.npy", files.npy_file(encoded), match, 16 * MIB)
    states = b"cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\ndtype\nX\x02\0\0\0f4"
    states += b"\x85Rq\x01(K\x01J" + struct.pack("<i", MIB // 4) + b"\x85h\x01\x89"
    states += text(MIB) + b"tq\x02(" + b"h\x00)Rh\x02b" * 10_000 + b"t"
    refused(tmp_path / "n.npy", files.npy_file(states), match, 16 * MIB)


@pytest.mark.parametrize("method", [12, 14, 93, 99])
def test_only_deflate_is_unpacked(tmp_path, method):
    """A changed method of compression is damage, whatever it makes of the entry."""
    data = bytearray(files.torch_zip(files.weights(files.TORCH_SHAPES)))
    entry = data.index(b"PK\x01\x02")
    for at in (entry + 10, 8):
        struct.pack_into("<H", data, at, method)
    path = tmp_path / "net.pth"
    match = f"damaged, or compressed by an unusual method .{method}"
    refused(path, bytes(data), match)


def test_entries_that_overlap(tmp_path):
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
    refused(tmp_path / "net.pth", data, "grows to 104857600", MIB)


def test_archives_of_many_entries(tmp_path):
    """A directory of a hundred thousand entries is not even listed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for number in range(20_000):
            archive.writestr(str(number), b"")
    refused(
        tmp_path / "net.pth", stream.getvalue(), "more than 10000 entries", MIB, 1000
    )


def test_protobuf_fields_are_counted_all_in_all(tmp_path):
    """Many layers of many fields, and a shape of many numbers, end in time."""
    path = tmp_path / "net.caffemodel"
    layers = files.field(100, files.field(10, 1) * 9_999) * 1_000
    refused(path, layers, "more than 50000 protobuf fields", calls=1_000_000)
    shape = files.field(7, files.field(1, b"\x01" * (20 * MIB)))
    layer = files.field(1, b"conv1") + files.field(2, b"Convolution")
    data = files.field(100, layer + files.field(7, shape))
    refused(path, data, "more than 8 dimensions", MIB, 1000)


def test_hdf5_texts_and_arrays_in_plenty(tmp_path, monkeypatch):
    """Long names are refused, and arrays in plenty; reading takes as many steps."""

    def long_name(file):
        file["layers/a/vars/0"] = [1.0]
        file["layers/a/vars"].attrs["name"] = "x" * 2000

    def many(file):
        file.create_group("layers/a/vars").attrs["name"] = "conv1"
        for number in range(1000):
            file[f"layers/a/vars/{number}"] = [1.0]

    path = tmp_path / "net.weights.h5"
    refused(path, files.hdf5(long_name), "hold a text of 2000 bytes")
    path.write_bytes(files.hdf5(many))
    with at_most_calls(200 * 1000):
        assert len(readers.read(path).layers[0][1]) == 1000
    monkeypatch.setattr(hdf5, "MOST_STEPS", 5000)
    refused(path, path.read_bytes(), "far more objects than weights need")


def test_what_is_no_file(tmp_path):
    """Pipes are not waited for, devices not read to their end."""
    pipe = tmp_path / "net.pth"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(WeightsError, match="it is a device or pipe, not a file"):
            readers.read(path)
        with pytest.raises(WeightsError, match="it is a device or pipe, not a file"):
            read_mean(path)
    with pytest.raises(WeightsError, match=r"cannot be read .*null"):
        readers.read(Path("a\0b.pth"))


def test_large_files_are_recognized_before_they_are_read(tmp_path):
    """Of a gigabyte of another format, the first bytes are read."""
    path = tmp_path / "net.pth"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    with (
        at_most_bytes(MIB),
        pytest.raises(WeightsError, match="of another format"),
    ):
        readers.read(path)
    with path.open("wb") as file:
        file.truncate((2 << 30) + 1)
    with pytest.raises(WeightsError, match="it has 2147483649 bytes; 2147483648 are"):
        readers.read(path)
