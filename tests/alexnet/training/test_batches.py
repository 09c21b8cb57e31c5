"""TrainingBatches: every image once per epoch, moved within bounds, repeatably."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alexnet.training.batches import TrainingBatches


def numbered(count, shape=(6, 7, 1)):
    """Return images that are constant, each at its number, with their numbers."""
    y = np.arange(count)
    x = np.broadcast_to(y[:, None, None, None], (count, *shape)).astype("float32")
    return x, y


def epoch_of(batches):
    """Return all batches of the current epoch and go on to the next."""
    epoch = [batches[index] for index in range(len(batches))]
    batches.on_epoch_end()
    return epoch


@given(st.integers(1, 40), st.integers(1, 50), st.integers(0, 5), st.booleans())
def test_every_image_once_with_its_label(count, batch_size, seed, flip):
    """Each epoch holds each image once, with its label, in batches of the size."""
    x, y = numbered(count)
    batches = TrainingBatches(
        x, y, batch_size, augmentation=0.3, horizontal_flip=flip, seed=seed
    )
    for _ in range(2):
        epoch = epoch_of(batches)
        sizes = [len(labels) for _, labels in epoch]
        assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
        assert 1 <= sizes[-1] <= batch_size
        assert sorted(np.concatenate([labels for _, labels in epoch])) == list(y)
        for images, labels in epoch:
            assert images.shape == (len(labels), *x.shape[1:])
            assert images.dtype == x.dtype
            np.testing.assert_array_equal(images[:, 0, 0, 0], labels)


def test_epochs_differ_in_order():
    """Each epoch has an order of its own."""
    batches = TrainingBatches(*numbered(100), 100)
    first, second = (epoch_of(batches)[0][1] for _ in range(2))
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, np.arange(100))


def test_same_seed_same_batches():
    """The same seed gives the same batches in every epoch, another seed others."""
    x = np.random.default_rng(0).random((20, 8, 8, 3))
    y = np.arange(20)

    def draw(seed):
        batches = TrainingBatches(
            x, y, 8, augmentation=0.25, horizontal_flip=True, seed=seed
        )
        return [np.concatenate([b[0] for b in epoch_of(batches)]) for _ in range(2)]

    np.testing.assert_array_equal(draw(7), draw(7))
    assert not np.array_equal(draw(7), draw(8))
    assert not np.array_equal(draw(0), draw(1))


def test_a_batch_does_not_depend_on_those_read_before():
    """Keras may read batches in any order and repeatedly."""
    x = np.random.default_rng(0).random((20, 8, 8, 3))
    batches = TrainingBatches(x, np.arange(20), 8, augmentation=0.25)
    backwards = [batches[index][0] for index in (2, 1, 0, 1)]
    np.testing.assert_array_equal(backwards[2], batches[0][0])
    np.testing.assert_array_equal(backwards[1], backwards[3])


def test_without_augmentation_images_are_as_they_were():
    """At 0 and without flip, nothing happens to the images."""
    x = np.random.default_rng(0).integers(0, 256, (20, 5, 9, 2), dtype=np.uint8)
    batches = TrainingBatches(x, np.arange(20), 6)
    for images, labels in epoch_of(batches):
        np.testing.assert_array_equal(images, x[labels])
        assert images.dtype == np.uint8


@pytest.mark.parametrize(
    ("augmentation", "down", "right"), [(0.2, 2, 1), (0.05, 0, 0), (0.3, 3, 2)]
)
def test_shifts_are_bounded_and_repeat_the_border(augmentation, down, right):
    """An image moves by up to the rounded share of its side; its border fills in."""
    height, width = 10, 6
    rows, columns = np.indices((height, width))
    image = np.stack([rows, columns], axis=-1)
    count = 600
    batches = TrainingBatches(
        np.broadcast_to(image, (count, height, width, 2)),
        np.zeros(count),
        count,
        augmentation=augmentation,
    )
    images, _ = batches[0]
    seen = set()
    for moved in images:
        # The middle pixel shows the shift; all others must follow from it.
        shift = np.array([height // 2, width // 2]) - moved[height // 2, width // 2]
        seen.add(tuple(shift))
        expected = np.stack(
            [
                np.clip(rows - shift[0], 0, height - 1),
                np.clip(columns - shift[1], 0, width - 1),
            ],
            axis=-1,
        )
        np.testing.assert_array_equal(moved, expected)
    assert seen == {
        (y, x) for y in range(-down, down + 1) for x in range(-right, right + 1)
    }


def test_flip_mirrors_about_half():
    """With horizontal_flip each image is as it was or mirrored, half of each."""
    x = np.random.default_rng(0).random((1000, 3, 4, 2))
    images, labels = TrainingBatches(x, np.arange(1000), 1000, horizontal_flip=True)[0]
    kept = (images == x[labels]).all(axis=(1, 2, 3))
    mirrored = (images == x[labels][:, :, ::-1]).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    assert 0.4 < mirrored.mean() < 0.6


def test_keras_goes_on_to_the_next_epoch():
    """`fit` sees each image once per epoch, and a new order in each."""
    seen = []

    class Recorded(TrainingBatches):
        def __getitem__(self, index):
            images, labels = super().__getitem__(index)
            seen.append((self.epoch, *labels))
            return images, labels

    model = keras.Sequential([keras.Input((6, 7, 1)), keras.layers.Flatten()])
    model.add(keras.layers.Dense(1))
    model.compile("sgd", "mse")
    model.fit(Recorded(*numbered(8), 8), epochs=3, verbose=0)
    epochs = {epoch: labels for epoch, *labels in seen if epoch < 3}
    assert [sorted(epochs[number]) for number in range(3)] == [list(range(8))] * 3
    assert len({tuple(labels) for labels in epochs.values()}) == 3


def test_refuses_labels_of_another_number():
    """Images and labels of different numbers are refused with both numbers."""
    x, y = numbered(8)
    with pytest.raises(ValueError, match="received 8 images and 9 labels"):
        TrainingBatches(x, np.append(y, 0), 4)
