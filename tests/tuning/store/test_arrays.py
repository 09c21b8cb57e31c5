"""Arrays on disk: what is read is what was written, or it is refused."""

from __future__ import annotations

import errno
import json
import zipfile

import ml_dtypes
import numpy as np
import pytest
from file_limits import limited_files
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tuning.store.arrays import check_arrays, read_arrays, restored, write_arrays
from tuning.store.files import WriteError

META = {"epoch": 3, "score": 0.1, "names": ["ü", None]}
OWN_TYPES = [ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn]


def small(file):
    """Write a small file; return what it holds."""
    arrays = {
        "weights/0": np.arange(6, dtype="float32").reshape(2, 3),
        "weights/1": np.array(1.5, ml_dtypes.bfloat16),
    }
    write_arrays(file, META, arrays)
    return arrays


def assert_same(read, arrays):
    """Check that arrays were read to the bit, once they have their types again."""
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        again = restored(read[name], array.dtype)
        assert (again.dtype, again.shape) == (array.dtype, array.shape)
        assert again.tobytes() == array.tobytes()


@given(
    hnp.arrays(
        st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u4", "?", *OWN_TYPES]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
        elements=st.sampled_from([0, 1]),
    ),
    st.booleans(),
)
def test_arrays_are_read_as_they_were_written(tmp_path_factory, array, turned):
    """Any shape, no axis and no element included, and any type come back."""
    file = tmp_path_factory.mktemp("arrays") / "a.npz"
    array = array.T if turned else array
    write_arrays(file, META, {"a/0": array, "b": array[..., None]})
    meta, read = read_arrays(file)
    assert meta == META
    assert_same(read, {"a/0": array, "b": array[..., None]})
    check_arrays(file)


def test_a_type_is_restored_only_from_its_own_bytes():
    """Bytes of another width, or of a type that NumPy has, are of another type."""
    bits = np.zeros(3, "uint16")
    assert restored(bits, np.dtype(ml_dtypes.bfloat16)).dtype == ml_dtypes.bfloat16
    for array, dtype in (
        (bits, np.float16),
        (np.zeros(3, "uint8"), ml_dtypes.bfloat16),
        (np.zeros(3, "float32"), np.float64),
        (np.zeros(3, "float16"), ml_dtypes.bfloat16),
    ):
        with pytest.raises(
            ValueError, match=r"an array of type \w+ is not of type \w+"
        ):
            restored(array, np.dtype(dtype))


def test_a_missing_file_is_told_from_a_damaged_one(tmp_path):
    """A file that is not there raises FileNotFoundError, or is no whole file."""
    with pytest.raises(FileNotFoundError, match=r"none\.npz"):
        read_arrays(tmp_path / "none.npz")
    with pytest.raises(ValueError, match=r"none\.npz"):
        check_arrays(tmp_path / "none.npz")


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path):
    """Whatever number of its last bytes is missing, a file is refused in one line."""
    file = tmp_path / "a.npz"
    small(file)
    whole = file.read_bytes()
    for length in range(len(whole)):
        file.write_bytes(whole[:length])
        for read in (read_arrays, check_arrays):
            with pytest.raises(ValueError, match=r"^[^\n]+$"):
                read(file)


def test_a_changed_byte_is_found_or_changes_nothing(tmp_path):
    """With any byte changed a file is refused, unless it gives what was written.

    That is so of a zip's times and of what it says of the system that wrote it.
    """
    file = tmp_path / "a.npz"
    arrays = small(file)
    whole, harmless = file.read_bytes(), 0
    for position in range(len(whole)):
        for bits in (0xFF, 0x01, 0x20):
            changed = bytearray(whole)
            changed[position] ^= bits
            file.write_bytes(changed)
            try:
                meta, read = read_arrays(file)
            except ValueError:
                continue
            harmless += 1
            check_arrays(file)
            assert meta == META
            assert_same(read, arrays)
    assert harmless < len(whole)


def test_compressed_members_are_refused(tmp_path):
    """What may be larger than its file is not unpacked."""
    file = tmp_path / "a.npz"
    np.savez_compressed(file, a=np.zeros(10**6))
    for read in (read_arrays, check_arrays):
        with pytest.raises(ValueError, match="it is not an archive of this project"):
            read(file)


def test_members_larger_than_the_file_are_refused(tmp_path):
    """Members that share their bytes, together larger than the file, are refused."""
    file = tmp_path / "a.npz"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("meta.json", "{}")
        archive.writestr("a.npy", b"x" * 10_000)
        twin = zipfile.ZipInfo("a.npy")
        first = archive.getinfo("a.npy")
        for name in ("header_offset", "CRC", "compress_size", "file_size"):
            setattr(twin, name, getattr(first, name))
        archive.filelist.append(twin)
    for read in (read_arrays, check_arrays):
        with pytest.raises(ValueError, match="it is not an archive of this project"):
            read(file)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (10**12,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2**62, 4), }",
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f8', 'fortran_order': False, }",
        "__import__('os')",
        "(" * 5000,
    ],
)
def test_hostile_headers_are_refused(tmp_path, header):
    """A member that says it holds what it cannot is refused, and nothing is run."""
    file = tmp_path / "a.npz"
    text = header.encode().ljust(118) + b"\n"
    length = len(text).to_bytes(2, "little")
    member = b"\x93NUMPY\x01\x00" + length + text + b"\0" * 8
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("meta.json", '{"arrays": ["a"], "meta": {}}')
        archive.writestr("a.npy", member)
    with pytest.raises(ValueError, match=r"^[^\n]+$"):
        read_arrays(file)


def test_meta_is_needed(tmp_path):
    """An archive of other arrays is none of this project's."""
    file = tmp_path / "a.npz"
    np.savez(file, a=np.zeros(3))
    for read in (read_arrays, check_arrays):
        with pytest.raises(ValueError, match=r"meta\.json"):
            read(file)


def test_all_members_are_needed(tmp_path):
    """An archive without a member that it names, or with another one, is refused."""
    file = tmp_path / "a.npz"
    small(file)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for names in ([*members][:2], [*members, "weights/2.npy"]):
        with zipfile.ZipFile(file, "w") as archive:
            for name in names:
                archive.writestr(name, members.get(name, members["weights/0.npy"]))
        for read in (read_arrays, check_arrays):
            with pytest.raises(ValueError, match="its members are not those that were"):
                read(file)


@pytest.mark.parametrize("size", [0, 10, 100, 200, 1000, 50_000])
def test_a_failed_write_leaves_the_old_file(tmp_path, size):
    """Wherever a limit cuts a file off, an OSError with its errno is raised."""
    file = tmp_path / "a.npz"
    arrays = small(file)
    with (
        limited_files(size),
        pytest.raises(WriteError, match="File too large") as caught,
    ):
        write_arrays(file, META, {str(n): np.ones(10_000) for n in range(2)})
    assert caught.value.errno == errno.EFBIG
    assert caught.value.filename == str(file)
    assert_same(read_arrays(file)[1], arrays)
    assert [f.name for f in tmp_path.iterdir()] == ["a.npz"]


def test_what_is_no_plain_data_leaves_the_old_file(tmp_path):
    """Data that JSON does not have is refused, and the old file stays."""
    file = tmp_path / "a.npz"
    small(file)
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_arrays(file, {"a": object()}, {})
    assert json.dumps(read_arrays(file)[0]) == json.dumps(META)
    assert [f.name for f in tmp_path.iterdir()] == ["a.npz"]
