"""Images by name, from folders and from `.npz` files."""

from __future__ import annotations

import gzip
import os
import re
import socket

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from alexnet.data.images import CLASS_NAMES, DataError, ImageData, load_images, split

CAT, DOG = (200, 30, 10), (10, 60, 220)


def save(path, color=CAT, size=(6, 4), mode="RGB", **options):
    """Write an image of one color; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path, **options)
    return path


@pytest.fixture
def pets(tmp_path):
    """A directory of two classes with five color images each, 4 x 6 pixels."""
    root = tmp_path / "pets"
    for index in range(5):
        save(root / "dog" / f"{index}.png", DOG)
        save(root / "cat" / f"{index}.png", CAT)
    return root


def pixels(data):
    """Return all images in their original order per part, training first."""
    return np.concatenate([data.x_train, data.x_val])


def has(*parts):
    """Match these texts in this order, whatever lies between."""
    return "(?s)" + ".*".join(re.escape(str(part)) for part in parts)


def write_npz(folder, **arrays):
    path = folder / "images.npz"
    np.savez(path, **arrays)
    return path


X = np.arange(6 * 4 * 5 * 3, dtype=np.uint8).reshape(6, 4, 5, 3)
Y = np.array([0, 1, 0, 1, 0, 1])


class TestNamed:
    def test_digits(self):
        """The digits are 1,797 gray images of 8 x 8 pixels that use 0 to 255."""
        data = load_images("digits")
        assert isinstance(data, ImageData)
        assert data.x_train.dtype == data.x_val.dtype == np.uint8
        assert data.y_train.dtype == data.y_val.dtype == np.int32
        assert len(data.x_train) + len(data.x_val) == 1797
        assert data.image_shape == (8, 8, 1)
        assert (data.num_classes, data.name) == (10, "digits")
        assert data.class_names == tuple("0123456789")
        assert (pixels(data).min(), pixels(data).max()) == (0, 255)

    def test_digits_are_rounded(self):
        """Each of the 17 gray levels of the digits goes to the nearest of 256."""
        levels = np.unique(pixels(load_images("digits")))
        exact = np.arange(17) * 255 / 16
        assert np.abs(levels - exact).max() <= 0.5

    def test_resized(self):
        """A data set of a name is resized when image_size differs."""
        data = load_images("digits", image_size=(12, 10))
        assert data.image_shape == (12, 10, 1)
        assert data.x_train.dtype == np.uint8

    def test_class_names(self):
        """The published class names are complete and distinct."""
        counts = {name: len(set(names)) for name, names in CLASS_NAMES.items()}
        assert counts.pop("cifar100") == 100
        assert set(counts.values()) == {10}
        assert CLASS_NAMES["fashion_mnist"][9] == "Ankle boot"
        assert CLASS_NAMES["cifar100"] == tuple(sorted(CLASS_NAMES["cifar100"]))

    @pytest.mark.parametrize(
        ("typed", "meant"),
        [("cifar-10", "cifar10"), ("MNIST", "mnist"), ("digit", "digits")],
    )
    def test_near_miss(self, typed, meant):
        """A misspelt name is answered with the known names and the nearest one."""
        with pytest.raises(
            DataError, match=has("digits, mnist", repr(typed), f"mean {meant!r}?")
        ):
            load_images(typed)

    @pytest.mark.parametrize("data", ["", "no/such/folder"])
    def test_missing_path(self, data):
        """A path that does not exist is named, with what data can be."""
        with pytest.raises(DataError, match=has("cifar10", repr(data), "not exist")):
            load_images(data)

    def test_not_a_path(self):
        """Something that is neither a name nor a path is a TypeError."""
        with pytest.raises(TypeError, match=r"data=3 \(int\)"):
            load_images(3)

    @pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, float("nan")])
    def test_fraction_outside(self, fraction):
        """A validation fraction outside (0, 1) is refused."""
        with pytest.raises(ValueError, match=f"validation_fraction={fraction}"):
            load_images("digits", validation_fraction=fraction)

    @pytest.mark.parametrize(
        ("arguments", "text"),
        [({"seed": -1}, "seed=-1"), ({"image_size": 0}, "image_size=0")],
    )
    def test_arguments_outside(self, arguments, text):
        """A negative seed and an image size of zero are refused."""
        with pytest.raises(ValueError, match=text):
            load_images("digits", **arguments)


@pytest.fixture
def keras_folder(tmp_path, monkeypatch):
    """An empty directory of Keras, and no network: nothing listens on the proxy."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    # Keras reads the variable once, at import.
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    use_proxy(monkeypatch, 9)
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


def use_proxy(monkeypatch, port):
    """Send downloads to a port of this machine."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setattr("urllib.request._opener", None)  # It remembers its proxies.


def write_fashion(folder, labels):
    """Write the four files of fashion_mnist; training images are 7, the others 8."""
    (folder / "fashion-mnist").mkdir()
    for part, gray in (("train", 7), ("t10k", 8)):
        images = bytes(16) + bytes([gray]) * (784 * len(labels))
        for kind, content in (
            ("labels-idx1", bytes(8) + bytes(labels)),
            ("images-idx3", images),
        ):
            path = folder / "fashion-mnist" / f"{part}-{kind}-ubyte.gz"
            path.write_bytes(gzip.compress(content))


class TestKeras:
    @pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "cifar100"])
    def test_no_network(self, keras_folder, name):
        """A download that fails is answered with the address and what to do."""
        source = f"data={name!r}", "URL fetch failure on https://"
        remedy = f"keras.datasets.{name}.load_data()", f"to {keras_folder}, in place"
        with pytest.raises(DataError, match=has(*source, *remedy)):
            load_images(name)

    def test_other_contents(self, keras_folder):
        """An mnist.npz that is not the published one gets the same answer."""
        np.savez(keras_folder / "mnist.npz", x_train=np.zeros((4, 28, 28)))
        with pytest.raises(DataError, match=has("URL fetch failure", keras_folder)):
            load_images("mnist")

    def test_from_the_cache(self, keras_folder):
        """Files in Keras' directory load without a network: the training part."""
        write_fashion(keras_folder, [i % 10 for i in range(40)])
        data = load_images("fashion_mnist", validation_fraction=0.5)
        assert data.x_train.dtype == np.uint8
        assert data.class_names[0] == "T-shirt/top"
        assert pixels(data).shape == (40, 28, 28, 1)
        assert (pixels(data) == 7).all()

    @pytest.mark.parametrize("damage", ["truncated", "a label 10"])
    def test_damaged_cache(self, keras_folder, damage):
        """A damaged file in Keras' directory is answered with where it is."""
        count = 11 if damage == "a label 10" else 10
        write_fashion(keras_folder, [i % count for i in range(44)])
        if damage == "truncated":
            path = keras_folder / "fashion-mnist" / "train-images-idx3-ubyte.gz"
            path.write_bytes(path.read_bytes()[:30])
        place = f"{keras_folder}, in place of what may be there"
        with pytest.raises(DataError, match=has("must be downloaded", place)):
            load_images("fashion_mnist")

    def test_stalled(self, keras_folder, monkeypatch):
        """A server that says nothing is given up."""
        monkeypatch.setattr("alexnet.data.downloads.STALLED_S", 0.2)
        with socket.create_server(("127.0.0.1", 0)) as server:
            use_proxy(monkeypatch, server.getsockname()[1])
            with pytest.raises(DataError, match="timed out"):
                load_images("mnist")


class TestFolder:
    def test_classes(self, pets):
        """Each folder is a class, sorted by name, with its own images."""
        data = load_images(str(pets))
        assert data.class_names == ("cat", "dog")
        assert data.name == "pets"
        assert data.image_shape == (4, 6, 3)
        assert (len(data.x_train), len(data.x_val)) == (8, 2)
        for x, y in ((data.x_train, data.y_train), (data.x_val, data.y_val)):
            assert (x == np.array([CAT, DOG], np.uint8)[y][:, None, None]).all()

    def test_home(self, pets, monkeypatch):
        """A path that begins with ~/ lies in the home directory; shells may not say."""
        monkeypatch.setenv("HOME", str(pets.parent))
        assert load_images(f"~/{pets.name}").name == "pets"
        (pets.parent / "~").mkdir()
        pets.rename(pets.parent / "~" / "pets")
        monkeypatch.chdir(pets.parent)
        assert load_images("./~/pets").name == "pets"

    def test_listing_order(self, tmp_path):
        """The split does not depend on the order in which files were written."""
        for root, order in (("a", range(9)), ("b", reversed(range(9)))):
            for index in order:
                for name in ("cat", "dog")[:: 1 if root == "a" else -1]:
                    save(tmp_path / root / name / f"{index}.png", (index, 0, 0))
        first, second = (load_images(tmp_path / root, seed=3) for root in "ab")
        np.testing.assert_array_equal(first.x_train, second.x_train)
        np.testing.assert_array_equal(first.x_val, second.x_val)
        np.testing.assert_array_equal(first.y_val, second.y_val)

    def test_ignored(self, pets):
        """What programs leave behind, and notes beside classes, are counted, no more.

        Of file managers, archives, network disks, synchronizers and editors.
        """
        files = (".DS_Store", "Thumbs.db", "desktop.ini", "._0.png", "0.png~", "Icon\r")
        for name in files:
            (pets / name).write_text("x")
            (pets / "cat" / name).write_text("x")
        (pets / "README.txt").write_text("x")
        folders = (".cache", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "#recycle")
        for name in folders:
            for folder in (pets, pets / "dog"):
                (folder / name).mkdir()
                (folder / name / "._0.png").write_bytes(b"\0\5\x16\7")
        data = load_images(pets)
        assert data.class_names == ("cat", "dog")
        assert len(pixels(data)) == 10
        assert data.ignored == 2 * len(files) + 1 + 2 * len(folders)

    def test_numbers_in_names_sort_as_numbers(self, tmp_path):
        """Class 10 comes after class 2, in names of numbers alone and in others."""
        for names in (("0", "1", "2", "10", "11"), ("cat 2", "cat 10", "dog")):
            root = tmp_path / names[0]
            for name in names:
                for number in range(2):
                    save(root / name / f"{number}.png")
            assert load_images(root).class_names == names
            assert load_images(root).ignored == 0

    def test_orientation(self, pets):
        """A photograph taken sideways is turned upright as its EXIF says."""
        exif = Image.Exif()
        exif[0x0112] = 6
        save(pets / "cat" / "0.png", size=(4, 6), exif=exif)
        assert load_images(pets).image_shape == (4, 6, 3)

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
    def test_damaged_exif(self, pets, suffix):
        """A damaged EXIF block does not make a good image unreadable."""
        for number, exif in enumerate((b"\xff" * 20, b"Exif\0\0II*\0\x08\0\0\0\x09")):
            save(pets / "cat" / f"damaged{number}.{suffix}", exif=exif)
        assert len(pixels(load_images(pets))) == 12

    def test_gray(self, tmp_path):
        """A folder of gray images has one channel; one color image makes it three."""
        for index, mode in enumerate(["L", "1", "LA", "L"]):
            color = {"L": 9, "1": 1, "LA": (9, 255)}[mode]
            save(tmp_path / "ab"[index % 2] / f"{index}.png", color, mode=mode)
        data = load_images(tmp_path)
        assert data.image_shape == (4, 6, 1)
        assert set(np.unique(pixels(data))) == {9, 255}
        save(tmp_path / "a" / "color.png")
        assert load_images(tmp_path).image_shape == (4, 6, 3)

    @pytest.mark.parametrize(
        ("suffix", "dtype"), [("png", np.uint16), ("tif", np.uint16), ("tif", np.int32)]
    )
    def test_16_bit(self, tmp_path, suffix, dtype):
        """16-bit grays are scaled to 8 bits, not cut off at 255."""
        values = np.array([[0, 257, 300, 32768, 65535]], dtype)
        for name in ("a/0", "a/1", "b/0", "b/1"):
            path = tmp_path / f"{name}.{suffix}"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(values).save(path)
        row = load_images(tmp_path).x_train[0, 0, :, 0]
        assert row.tolist() == [0, 1, 1, 128, 255]

    def test_transparency(self, tmp_path):
        """Transparent pixels are laid on white, with or without a palette."""
        save(tmp_path / "a" / "0.png", (10, 20, 30, 0), mode="RGBA")
        save(tmp_path / "a" / "1.png", (100, 0), mode="LA")
        save(tmp_path / "b" / "0.png", 0, mode="P", transparency=0)
        save(tmp_path / "b" / "1.png", 300, mode="I;16", transparency=300)
        assert (pixels(load_images(tmp_path)) == 255).all()

    def test_palette(self, tmp_path):
        """A palette image gets the colors of its palette."""
        for name in ("a/0", "a/1", "b/0", "b/1"):
            path = tmp_path / f"{name}.gif"
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (6, 4), CAT).quantize(4).save(path)
        assert (pixels(load_images(tmp_path)) == CAT).all()

    def test_center_crop(self, tmp_path):
        """The shorter side gets the size; the center of the longer one is kept."""
        stripes = np.zeros((10, 40, 3), np.uint8)
        stripes[:, 15:25] = 200
        for name in ("a/0", "a/1", "b/0", "b/1"):
            path = tmp_path / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(stripes).save(path)
        assert (pixels(load_images(tmp_path, image_size=10)) == 200).all()
        save(tmp_path / "a" / "2.png", (200,) * 3, size=(3, 2))
        data = load_images(tmp_path, image_size=5)
        assert data.image_shape == (5, 5, 3)
        # At the edge of the crop the filter reaches for the pixels outside.
        assert (pixels(data)[:, :, 1:-1] == 200).all()
        assert load_images(tmp_path, image_size=(2, 7)).image_shape == (2, 7, 3)

    def test_antialiased(self, tmp_path):
        """A fine checkerboard shrinks to its mean, not to one of its colors."""
        board = (np.indices((64, 64)).sum(axis=0) % 2 * 255).astype(np.uint8)
        for name in ("a/0", "a/1", "b/0", "b/1"):
            path = tmp_path / f"{name}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(board).save(path)
        small = pixels(load_images(tmp_path, image_size=4)).astype(int)
        assert np.abs(small - 127.5).max() <= 3  # Rounding, and the filter's edge.

    def test_sizes_differ(self, pets):
        """Without image_size, two files of different sizes are both named."""
        save(pets / "dog" / "3.png", size=(7, 4))
        with pytest.raises(
            DataError,
            match=has(
                pets / "cat" / "0.png",
                "height 4 and width 6",
                pets / "dog" / "3.png",
                "height 4 and width 7",
                "image_size",
                "--image-size",
            ),
        ):
            load_images(pets)
        assert load_images(pets, image_size=4).image_shape == (4, 4, 3)


class TestFolderErrors:
    def test_no_class_folders(self, tmp_path):
        """A directory with images but no class folders is refused by name."""
        save(tmp_path / "0.png")
        with pytest.raises(DataError, match=has("one folder", tmp_path, "without any")):
            load_images(tmp_path)

    def test_image_beside_the_folders(self, pets):
        """An image beside the class folders is named."""
        path = save(pets / "stray.JPG")
        with pytest.raises(DataError, match=has(path, "beside the class folders")):
            load_images(pets)

    def test_nested_folder(self, pets):
        """A folder inside a class folder is named."""
        save(pets / "cat" / "train" / "0.png")
        with pytest.raises(DataError, match=has("directly", pets / "cat" / "train")):
            load_images(pets)

    def test_empty_class(self, pets):
        """A class folder with nothing but hidden files is named as empty."""
        (pets / "fox").mkdir()
        (pets / "fox" / ".DS_Store").write_text("x")
        with pytest.raises(DataError, match=has("empty folder", pets / "fox")):
            load_images(pets)

    def test_one_class(self, tmp_path):
        """A single class is refused by name."""
        save(tmp_path / "cat" / "0.png")
        with pytest.raises(DataError, match=r"at least two classes.*'cat'"):
            load_images(tmp_path)

    def test_one_image(self, pets):
        """A class with a single image is refused by name, before decoding."""
        save(pets / "fox" / "0.png")
        (pets / "cat" / "0.png").write_bytes(b"broken")
        with pytest.raises(DataError, match=r"two images.*'fox' with 1"):
            load_images(pets)

    @pytest.mark.parametrize("content", ["", "not an image", "<svg></svg>"])
    def test_not_an_image(self, pets, content):
        """A file that is no image is named."""
        path = pets / "dog" / "note.txt"
        path.write_text(content)
        with pytest.raises(DataError, match=has("decoded", path)):
            load_images(pets)

    @pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "webp", "bmp"])
    def test_truncated(self, pets, suffix):
        """A truncated file is named, in every common format."""
        path = pets / "dog" / f"9.{suffix}"
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(DataError, match=has("decoded", path)):
            load_images(pets, image_size=4)

    def test_broken_link(self, pets):
        """A link to a file that is gone is named."""
        (pets / "dog" / "9.png").symlink_to(pets / "gone.png")
        with pytest.raises(DataError, match=has(pets / "dog" / "9.png")):
            load_images(pets)

    @pytest.mark.parametrize("side", [10_000, 20_000])
    def test_bomb(self, pets, side):
        """A small file that unpacks to a huge image is named and not decoded."""
        path = save(pets / "dog" / "9.png", 0, size=(side, side), mode="1")
        with pytest.raises(DataError, match=has(path, "decompression bomb")):
            load_images(pets, image_size=4)

    @pytest.mark.parametrize(("mode", "value"), [("F", 0.5), ("I", 70000), ("I", -1)])
    def test_values_of_more_than_16_bits(self, pets, mode, value):
        """Float pixels, and integers beyond 16 bits, are refused by file."""
        path = save(pets / "dog" / "9.tif", value, mode=mode)
        with pytest.raises(DataError, match=has(path, "bit")):
            load_images(pets)

    @pytest.mark.parametrize("pages", [59, 60])
    def test_memory(self, pets, monkeypatch, pages):
        """More than half of the memory is refused, with need, supply and remedy."""
        sizes = {"SC_PHYS_PAGES": pages, "SC_PAGE_SIZE": 2 * 10 * 3}
        monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
        needed = 10 * 6 * 10 * 3
        if needed <= pages * 60 // 2:
            assert load_images(pets, image_size=(6, 10)).image_shape == (6, 10, 3)
            return
        with pytest.raises(
            DataError, match=r"(?s)10 images.*GiB.*has [\d.,]+ GiB.*--image-size"
        ):
            load_images(pets, image_size=(6, 10))

    def test_memory_for_arrays(self):
        """The same holds for the data sets of a name."""
        with pytest.raises(DataError, match=r"1,797 images.*GiB"):
            load_images("digits", image_size=100_000)


class TestNpz:
    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16, ">i4"])
    def test_integers(self, tmp_path, dtype):
        """Integers in 0..255 are kept, as uint8."""
        data = load_images(str(write_npz(tmp_path, x=X.astype(dtype), y=Y)))
        assert data.name == "images"
        assert data.x_train.dtype == np.uint8
        assert data.class_names == ("0", "1")
        for part_x, part_y in (
            (data.x_train, data.y_train),
            (data.x_val, data.y_val),
        ):
            for image, label in zip(part_x, part_y, strict=True):
                (match,) = np.flatnonzero((image == X).all(axis=(1, 2, 3)))
                assert Y[match] == label

    @pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f4"])
    def test_floats(self, tmp_path, dtype):
        """Floats in [0, 1] become float32."""
        data = load_images(write_npz(tmp_path, x=(X / 255).astype(dtype), y=Y))
        assert data.x_train.dtype == np.float32
        assert pixels(data).max() <= 1

    def test_gray(self, tmp_path):
        """Images without a channel axis get one."""
        data = load_images(write_npz(tmp_path, x=X[..., 0], y=Y[:, np.newaxis]))
        assert data.image_shape == (4, 5, 1)

    @pytest.mark.parametrize(
        ("labels", "names"),
        [(["b", "a"], ("a", "b")), ([10, 9], ("9", "10")), ([-1, 1], ("-1", "1"))],
    )
    def test_labels(self, tmp_path, labels, names):
        """Labels become indices into their sorted values."""
        data = load_images(write_npz(tmp_path, x=X, y=np.array(labels * 3)))
        assert data.class_names == names
        assert data.y_train.dtype == np.int32
        first = names.index(str(labels[0]))
        for image, label in zip(data.x_train, data.y_train, strict=True):
            (match,) = np.flatnonzero((image == X).all(axis=(1, 2, 3)))
            assert label == (first if match % 2 == 0 else 1 - first)

    @pytest.mark.parametrize("channels", [1, 2, 3, 4])
    def test_resized(self, tmp_path, channels):
        """Floats are resized as bytes are, each channel by itself."""
        rng = np.random.default_rng(0)
        x = rng.integers(0, 256, (6, 9, 12, channels), dtype=np.uint8)
        as_bytes = load_images(write_npz(tmp_path, x=x, y=Y), image_size=4)
        as_floats = load_images(write_npz(tmp_path, x=x / 255, y=Y), image_size=4)
        assert as_floats.x_train.dtype == np.float32
        difference = pixels(as_floats) - pixels(as_bytes) / 255
        assert np.abs(difference).max() <= 1.01 / 255  # Pillow rounds bytes twice.

    def test_bounds_after_resizing(self, tmp_path):
        """Resized floats stay in [0, 1]."""
        x = np.ones((6, 9, 7))
        data = load_images(write_npz(tmp_path, x=x, y=Y), image_size=224)
        assert pixels(data).max() <= 1


class TestNpzErrors:
    @pytest.mark.parametrize(
        ("x", "y", "texts"),
        [
            (X, Y[:5], ("6 images", "5 labels")),
            (X, Y / 1, ("type float64", "astype")),
            (X, np.eye(2)[Y], ("shape (6, 2)", "argmax")),
            (X, np.zeros(6, int), ("two classes", "class '0'")),
            (X, np.array([0, 0, 0, 0, 0, 7]), ("two images", "'7' with 1")),
            (X, np.array(["a", None] * 3), ("numbers or strings", "Object arrays")),
            (X.astype(object), Y, ("numbers or strings", "Object arrays")),
            (X[0, 0], Y, ("shape (5, 3)",)),
            (X[:0], Y[:0], ("shape (0, 4, 5, 3)",)),
            (np.zeros((6, 3, 8, 8)), Y, ("(6, 3, 8, 8)", "channels last")),
            (X > 3, Y, ("type bool",)),
            (X * 1.0, Y, ("[0, 1]", "float64 from 0 to 255", "255")),
            (X / 255 - 0.5, Y, ("[0, 1]", "from -0.5 to 0.5")),
            (X.astype(int) - 1, Y, ("0..255", "from -1 to 254")),
            (X.astype(int) * 2, Y, ("0..255", "from 0 to 510")),
            (np.full(X.shape, np.nan), Y, ("from nan to nan", "NaN")),
            (np.full(X.shape, np.inf), Y, ("from inf to inf",)),
        ],
    )
    def test_arrays(self, tmp_path, x, y, texts):
        """An array that breaks a rule is refused with the file and what it holds."""
        path = write_npz(tmp_path, x=x, y=y)
        with pytest.raises(DataError, match=has(path)) as caught:
            load_images(path)
        assert re.search(has(*texts), str(caught.value))

    def test_single_nan(self, tmp_path):
        """One NaN among many numbers is found."""
        x = X / 255
        x[3, 2, 1, 0] = np.nan
        with pytest.raises(DataError, match="nan"):
            load_images(write_npz(tmp_path, x=x, y=Y))

    def test_missing_key(self, tmp_path):
        """A missing array is named, with the arrays that are there."""
        path = write_npz(tmp_path, x=X, labels=Y)
        with pytest.raises(DataError, match=has(path, "without y", "'x', 'labels'")):
            load_images(path)

    def test_empty_archive(self, tmp_path):
        """An archive without arrays is said to hold nothing."""
        with pytest.raises(DataError, match="without x, but with nothing"):
            load_images(write_npz(tmp_path))

    @pytest.mark.parametrize("content", [b"", b"text", b"PK\3\4rest", b"\x80\x04."])
    def test_not_an_archive(self, tmp_path, content):
        """A file that only has the name of an archive is refused."""
        path = tmp_path / "images.npz"
        path.write_bytes(content)
        with pytest.raises(DataError, match=has(path, "no complete zip", "savez")):
            load_images(path)

    @pytest.mark.parametrize("damage", ["truncated", "altered", "single array"])
    def test_damaged(self, tmp_path, damage):
        """A truncated or altered archive is refused with our own message."""
        path = write_npz(tmp_path, x=X, y=Y)
        content = bytearray(path.read_bytes())
        if damage == "truncated":
            content = content[: len(content) // 2]
        elif damage == "altered":
            content[300] ^= 255
        else:
            np.save(tmp_path / "x.npy", X)
            content = (tmp_path / "x.npy").read_bytes()
        path.write_bytes(content)
        with pytest.raises(DataError, match=has(".npz archive", path)):
            load_images(path)

    def test_another_kind_of_file(self, tmp_path):
        """A file that is neither a directory nor an .npz archive is named."""
        path = save(tmp_path / "cat.png")
        with pytest.raises(DataError, match=has(path, "a file of another kind")):
            load_images(path)


LABELS = st.lists(st.integers(2, 30), min_size=2, max_size=5).flatmap(
    lambda counts: st.permutations(np.repeat(range(len(counts)), counts).tolist())
)
FRACTIONS = st.floats(0, 1, exclude_min=True, exclude_max=True)


class TestSplit:
    @settings(max_examples=50, deadline=None)
    @given(labels=LABELS, fraction=FRACTIONS, seed=st.integers(0, 2**40))
    def test_split(self, labels, fraction, seed):
        """The parts are disjoint, complete, ascending, stratified and repeatable."""
        y = np.array(labels)
        train, val = split(y, validation_fraction=fraction, seed=seed)
        assert sorted([*train, *val]) == list(range(len(y)))
        assert (np.diff(train) > 0).all()
        assert (np.diff(val) > 0).all()
        for label in np.unique(y):
            count = (y == label).sum()
            wanted = min(max(1, round(count * fraction)), count - 1)
            assert (y[val] == label).sum() == wanted
        again = split(y, validation_fraction=fraction, seed=seed)
        np.testing.assert_array_equal(again[0], train)
        np.testing.assert_array_equal(again[1], val)

    def test_pinned(self):
        """The split of given data and a given seed never changes."""
        y = np.repeat([0, 1], 10)
        parts = [split(y, validation_fraction=0.3, seed=seed)[1] for seed in (0, 1)]
        expected = [np.random.default_rng([0, k]).permutation(10)[:3] for k in (0, 1)]
        assert parts[0].tolist() == sorted([*expected[0], *(expected[1] + 10)])
        assert parts[0].tolist() == [2, 4, 6, 11, 13, 19]
        assert parts[1].tolist() == [4, 7, 8, 12, 14, 17]

    def test_class_alone(self):
        """Images added to one class leave the split of the others as it was."""
        few, many = np.repeat([0, 1], [10, 4]), np.repeat([0, 1], [10, 9])
        first = split(few, validation_fraction=0.5, seed=7)[1]
        second = split(many, validation_fraction=0.5, seed=7)[1]
        assert first[first < 10].tolist() == second[second < 10].tolist()

    def test_parts_match(self):
        """A loaded data set has each image in one part, beside its own label."""
        data = load_images("digits", validation_fraction=0.25, seed=5)
        again = load_images("digits", validation_fraction=0.25, seed=5)
        other = load_images("digits", validation_fraction=0.25, seed=6)
        np.testing.assert_array_equal(data.x_val, again.x_val)
        assert data.x_val.shape == other.x_val.shape
        assert (data.x_val != other.x_val).any()
        counts = [np.bincount(y) for y in (data.y_train, data.y_val)]
        np.testing.assert_array_equal(counts[1], np.rint(sum(counts) * 0.25))
