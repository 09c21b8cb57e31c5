"""Arrays on disk: an uncompressed .npz that is checked as a whole.

A zip archive has a checksum of each member, and says where it ends; `meta.json`
in it says what the arrays are. A type that NumPy does not have, such as bfloat16,
is stored as unsigned integers of the same bytes. Nothing in it is executed.
"""

from __future__ import annotations

import io
import json
import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from tuning.store.files import writing

META = "meta.json"
_DAMAGE = (
    *(OSError, ValueError, TypeError, LookupError, ArithmeticError, EOFError),
    *(RuntimeError, SyntaxError, tokenize.TokenError),
)


def write_arrays(file: Path, meta: Any, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays by name and plain data, atomically.

    Raises:
        WriteError: The file cannot be written; what was there before still is.
    """
    with writing(file) as stream, zipfile.ZipFile(stream, "w") as archive:
        archive.writestr(META, json.dumps(meta))
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, _storable(array), allow_pickle=False)


def read_arrays(file: Path) -> tuple[Any, dict[str, np.ndarray]]:
    """Return the plain data and the arrays of a file.

    Raises:
        FileNotFoundError: There is none.
        ValueError: It is damaged; says how, in one line.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check(archive, file)
            meta = json.loads(archive.read(META))
            arrays = {}
            for member in archive.infolist():
                if member.filename != META:
                    name = member.filename.removesuffix(".npy")
                    arrays[name] = _array(archive.read(member))
        return meta, arrays
    except FileNotFoundError:
        raise
    except (*_DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(" ".join(str(error).split()) or repr(error)) from error


def _array(content: bytes) -> np.ndarray:
    """Return the array of a .npy file, of as many bytes as the file has."""
    stream = io.BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("an array is of another format")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    flat = np.frombuffer(content, dtype, offset=stream.tell())
    return flat.reshape(shape, order="F" if is_fortran else "C")


def check_arrays(file: Path) -> None:
    """Check that a file is whole, without holding it in memory.

    Raises:
        ValueError: It is missing or damaged; says how, in one line.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            _check(archive, file)
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} is not as it was written")
            if META not in archive.namelist():
                raise ValueError(f"it has no {META}")
    except (*_DAMAGE, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(" ".join(str(error).split()) or repr(error)) from error


def _check(archive: zipfile.ZipFile, file: Path) -> None:
    """Refuse what may be larger than the file that it is in."""
    members = archive.infolist()
    size = sum(member.file_size for member in members)
    is_stored = all(m.compress_type == zipfile.ZIP_STORED for m in members)
    if not is_stored or size > file.stat().st_size:
        raise ValueError("it is not an archive of this project")


def _storable(array: np.ndarray) -> np.ndarray:
    """Return an array of the same bytes, of a type that NumPy can store."""
    if array.dtype.kind in "biuf" and array.dtype.isbuiltin == 1:
        return array
    return array.view(f"u{array.dtype.itemsize}")


def restored(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return an array that was read as the type that it had.

    Raises:
        ValueError: It cannot have been of that type.
    """
    if array.dtype == dtype:
        return array
    if array.dtype == np.dtype(f"u{dtype.itemsize}") and dtype.isbuiltin != 1:
        return array.view(dtype)
    raise ValueError(f"an array of type {array.dtype} is not of type {dtype}")
