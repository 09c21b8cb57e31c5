"""Images by name: scikit-learn's digits and the data sets that Keras downloads."""

from __future__ import annotations

import importlib

import numpy as np

from alexnet.data.labelled import DataError, LabelledImages, check_classes

# In the order of the class indices.
_CLASS_NAMES = {
    "digits": "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    "mnist": "0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    "fashion_mnist": """
        T-shirt/top, Trouser, Pullover, Dress, Coat, Sandal, Shirt, Sneaker, Bag,
        Ankle boot
    """,
    "cifar10": """
        airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck
    """,
    "cifar100": """
        apple, aquarium_fish, baby, bear, beaver, bed, bee, beetle, bicycle, bottle,
        bowl, boy, bridge, bus, butterfly, camel, can, castle, caterpillar, cattle,
        chair, chimpanzee, clock, cloud, cockroach, couch, crab, crocodile, cup,
        dinosaur, dolphin, elephant, flatfish, forest, fox, girl, hamster, house,
        kangaroo, keyboard, lamp, lawn_mower, leopard, lion, lizard, lobster, man,
        maple_tree, motorcycle, mountain, mouse, mushroom, oak_tree, orange, orchid,
        otter, palm_tree, pear, pickup_truck, pine_tree, plain, plate, poppy, porcupine,
        possum, rabbit, raccoon, ray, road, rocket, rose, sea, seal, shark, shrew,
        skunk, skyscraper, snail, snake, spider, squirrel, streetcar, sunflower,
        sweet_pepper, table, tank, telephone, television, tiger, tractor, train, trout,
        tulip, turtle, wardrobe, whale, willow_tree, wolf, woman, worm
    """,
}
CLASS_NAMES = {
    name: tuple(part.strip() for part in text.split(","))
    for name, text in _CLASS_NAMES.items()
}


def read_named(name: str) -> LabelledImages:
    """Return the images of one of `CLASS_NAMES`; of Keras' sets, the training part.

    Raises:
        DataError: The data set cannot be downloaded, or its files are damaged.
    """
    if name == "digits":
        from sklearn.datasets import load_digits

        digits = load_digits()
        x = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # Values are 0..16.
        y = digits.target
    else:
        x, y = _read_from_keras(name)
    if x.ndim == 3:
        x = x[..., np.newaxis]
    y = y.reshape(-1).astype(np.int32)
    check_classes(f"data={name!r}", y, CLASS_NAMES[name])
    return LabelledImages(x, y, CLASS_NAMES[name])


def _read_from_keras(name: str) -> tuple[np.ndarray, np.ndarray]:
    import keras

    from alexnet.data.downloads import keras_folder, stalled_downloads_fail

    try:
        dataset = importlib.import_module(f"keras.datasets.{name}")
        with stalled_downloads_fail():
            (x, y), _ = dataset.load_data()
        if y.max() >= len(CLASS_NAMES[name]):
            raise ValueError(f"the files hold a label {y.max()}")
    except Exception as error:  # Keras raises a bare Exception for a failed download.
        raise DataError(
            f"The files of data={name!r} must be downloaded or in Keras' directory; "
            f"received: {str(error).rstrip('.') or type(error).__name__}. Where there "
            f'is a network, run\n  python -c "import keras; '
            f'keras.datasets.{name}.load_data()"\nand copy the folder '
            f"~/.keras/datasets to {keras_folder() / 'datasets'}, in place of what may "
            "be there. Or pass data='digits', which needs no download."
        ) from error
    if x.ndim == 4 and keras.config.image_data_format() == "channels_first":
        x = np.moveaxis(x, 1, -1)
    return x, y
