"""HyperAlexNet: in plain KerasTuner, and what it takes to know a cost."""

from __future__ import annotations

import keras
import keras_tuner
import numpy as np
import pytest
import tensorflow as tf

from alexnet import AlexNet
from tuning import HyperAlexNet
from tuning.space.inputs import unexpected_range

pytestmark = [
    # KerasTuner calls threading.currentThread().getName().
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
    # KerasTuner keeps the optimizer's state and has no use for it.
    pytest.mark.filterwarnings("ignore:Skipping variable loading:UserWarning"),
    # Keras says so of each dataset, shuffled or not.
    pytest.mark.filterwarnings("ignore:`shuffle=True` was passed:UserWarning"),
]
FULL = AlexNet.search_space


class Eager(AlexNet):
    """Trains without a graph, which takes longer to make than to run."""

    def compile(self, *args, **kwargs):
        """Compile for eager execution."""
        super().compile(*args, **kwargs, run_eagerly=True)


class Narrow(Eager):
    """Two small blocks and one way to train; only the dense layers vary."""

    @classmethod
    def search_space(cls, hp, image_shape):
        """Read the configuration of a space with two hyperparameters."""
        return super().search_space(
            hp,
            image_shape,
            resize=(8,),
            num_blocks=(2, 2),
            filters=((16,), (32,)),
            kernel_size=((3,), (3,)),
            strides=((1,), (1,)),
            pool=(("max",), ("max",)),
            pool_size=(2,),
            use_lrn=(False,),
            num_dense=(0, 1),
            dense_units=(64, 128),
            dropout=(0.0, 0.0),
            optimizer=("adamw",),
            adamw_learning_rate=(1e-3, 1e-3),
            weight_decay=(1e-4, 1e-4),
            batch_size=(16,),
            augmentation=(0.0, 0.0),
        )


class CountedBatches(keras.callbacks.Callback):
    """Counts the batches that are trained on."""

    count = 0

    def on_train_batch_end(self, batch, logs=None):
        """Count one more."""
        self.count += 1


@pytest.fixture(scope="module")
def images():
    """Return 48 images in [0, 1] of four classes, with labels."""
    rng = np.random.default_rng(0)
    return rng.random((48, 8, 8, 1), dtype="float32"), np.arange(48) % 4


def declared(hypermodel):
    """Return the hyperparameters of a hypermodel's whole space, at their defaults."""
    hp = keras_tuner.HyperParameters()
    hypermodel.declare_hyperparameters(hp)
    return hp


TUNERS = {
    "random": (keras_tuner.RandomSearch, {"max_trials": 2}),
    "bayesian": (keras_tuner.BayesianOptimization, {"max_trials": 2}),
    "hyperband": (keras_tuner.Hyperband, {"max_epochs": 2}),
    "grid": (keras_tuner.GridSearch, {"max_trials": 2}),
}


@pytest.mark.parametrize(
    "kind",
    [
        "random",
        "bayesian",
        pytest.param("hyperband", marks=pytest.mark.long),
        pytest.param("grid", marks=pytest.mark.long),
    ],
)
def test_works_in_plain_keras_tuner(kind, images, tmp_path):
    """Each of KerasTuner's tuners searches the full space without failures."""
    tuner_class, arguments = TUNERS[kind]
    model = AlexNet if kind == "random" else Eager
    tuner = tuner_class(
        HyperAlexNet(image_shape=(8, 8, 1), num_classes=4, model=model),
        objective="val_accuracy",
        directory=tmp_path,
        seed=1,
        **arguments,
    )
    tuner.search(*images, validation_data=images, epochs=1, verbose=0)
    trials = list(tuner.oracle.trials.values())
    assert [trial.status for trial in trials] == ["COMPLETED"] * 2
    full = keras_tuner.HyperParameters()
    FULL(full, (8, 8, 1))
    names = {hp.name for hp in full.space}
    assert {hp.name for hp in tuner.oracle.get_space().space} == names
    model = tuner.get_best_models()[0]
    assert isinstance(model, AlexNet)
    assert model.output_shape == (None, 4)


def test_a_subclass_narrows_the_space(images, tmp_path):
    """What a subclass leaves out of its search space never varies."""
    tuner = keras_tuner.GridSearch(
        HyperAlexNet((8, 8, 1), 4, Narrow), objective="val_loss", directory=tmp_path
    )
    tuner.search(*images, validation_data=images, epochs=1, verbose=0)
    tried = [trial.hyperparameters.values for trial in tuner.oracle.trials.values()]
    assert [values["num_dense"] for values in tried].count(1) == 2
    assert {name for values in tried for name in values} == {
        *("num_dense", "dense_units_1")
    }
    assert len(tried) == 3
    assert isinstance(tuner.get_best_models()[0], Narrow)


@pytest.fixture
def built():
    """Return a hypermodel, the default hyperparameters of its space and its network."""
    hypermodel = HyperAlexNet((8, 8, 1), 4, Narrow)
    hp = declared(hypermodel)
    return hypermodel, hp, hypermodel.build(hp)


def test_trains_with_the_batch_size_of_the_hyperparameters(built, images):
    """Arrays are trained on in batches of the values' size, unless one is given."""
    hypermodel, hp, model = built
    for given, expected in (({}, 3), ({"batch_size": 24}, 2)):
        batches = CountedBatches()
        hypermodel.fit(hp, model, *images, callbacks=[batches], verbose=0, **given)
        assert batches.count == expected


def test_refuses_bytes_that_nothing_rescales(built, images):
    """Integer images are refused unless the model rescales them."""
    hypermodel, hp, model = built
    x = (255 * images[0]).astype("uint8")
    with pytest.raises(ValueError, match=r"received x of type uint8.*rescale=1/255"):
        hypermodel.fit(hp, model, x, images[1])
    rescaled = HyperAlexNet((8, 8, 1), 4, Narrow, rescale=1 / 255)
    model = rescaled.build(hp)
    assert model.rescale == 1 / 255
    rescaled.fit(hp, model, x, images[1], verbose=0)


def test_refuses_images_of_another_shape(built, images):
    """Images of another shape than announced are refused with both shapes."""
    hypermodel, hp, model = built
    with pytest.raises(
        ValueError,
        match=r"image_shape=\(8, 8, 1\); received x of shape \(48, 4, 8, 1\)",
    ):
        hypermodel.fit(hp, model, images[0][:, :4], images[1])


FORMS = {
    "arrays": lambda x, y: (x, y),
    "tensors": lambda x, y: (tf.constant(x), tf.constant(y)),
    "lists of one array": lambda x, y: ([x], [y]),
    "dicts of one array": lambda x, y: ({"images": x}, {"predictions": y}),
    "lists": lambda x, y: (list(x), y.tolist()),
    "a column of floats": lambda x, y: (x, y[:, np.newaxis].astype("float32")),
}


@pytest.mark.parametrize("form", FORMS)
def test_takes_what_is_an_array_at_heart(built, images, form):
    """Whatever holds the images, the batch size is the configuration's."""
    hypermodel, hp, model = built
    batches = CountedBatches()
    data = FORMS[form](*images)
    options = {"validation_data": data, "verbose": 0, "callbacks": [batches]}
    history = hypermodel.fit(hp, model, *data, **options).history
    assert batches.count == 48 / 16
    assert "val_loss" in history


def test_takes_weights_of_the_images(built, images):
    """`sample_weight` scales the loss, also of the part that is split off."""
    hypermodel, hp, model = built
    weights = np.zeros(48)
    history = hypermodel.fit(
        hp, model, *images, sample_weight=weights, validation_split=0.25, verbose=0
    ).history
    assert (history["loss"], history["val_loss"]) == ([0.0], [0.0])


LABELS = {
    "one-hot": (np.eye(4)[np.arange(48) % 4], r"shape \(48, 4\).*np.argmax\(y, axis=1"),
    "from 1": (np.arange(48) % 4 + 1, r"received y from 1 to 4. Pass y - 1\."),
    "negative": (np.full(48, -1), r"received y from -1 to -1\.$"),
    "too many": (np.arange(48), r"num_classes=4; received y from 0 to 47\.$"),
    "text": (
        np.array(["cat", "dog"] * 24),
        r"with 'cat'\. Number the classes: pass np",
    ),
    "halves": (np.full(48, 0.5), r"of type float64 with 0\.5"),
    "no number": (np.full(48, np.nan), r"of type float64 with nan"),
    "too few": (np.zeros(47, int), r"of shape \(47,\) for 48 images"),
    "none": (None, r"received y of type NoneType"),
}


@pytest.mark.parametrize("kind", LABELS)
def test_refuses_labels_that_number_no_class(built, images, kind):
    """Labels, for training and validation, are checked before training begins."""
    hypermodel, hp, model = built
    labels, message = LABELS[kind]
    error = keras_tuner.errors.FatalValueError
    with pytest.raises(error, match="y must hold one integer from 0 to 3.*" + message):
        hypermodel.fit(hp, model, images[0], labels)
    with pytest.raises(error, match=r"^validation_data's y must hold one integer"):
        hypermodel.fit(hp, model, *images, validation_data=(images[0], labels))


@pytest.mark.parametrize("weights", [np.ones(47), np.ones((48, 1)), "a", ["a"] * 48])
def test_refuses_weights_of_another_number(built, images, weights):
    """There is one weight per image."""
    hypermodel, hp, model = built
    with pytest.raises(
        keras_tuner.errors.FatalValueError, match=r"^sample_weight must hold one number"
    ):
        hypermodel.fit(hp, model, *images, sample_weight=weights)


RANGES = [
    (None, np.float32([0, 0.5, 1]), None),
    (None, np.float32([0, 255]), "from 0 to 1; received images from 0 to 255. Scale"),
    (None, np.float32([-1, 1]), "from 0 to 1; received images from -1 to 1. Scale"),
    (None, np.float32([0.5, 0.5]), "All pixels are equal: received images from 0.5 t"),
    (1 / 255, np.uint8([0, 255]), None),
    (1 / 255, np.uint8([0, 128]), None),
    (1 / 255, np.uint8([0, 16]), "from 0 to 255; received images from 0 to 16, so th"),
    (1 / 255, np.uint8([0, 1]), "from 0 to 255; received images from 0 to 1, so that"),
    (1 / 255, np.float32([0, 1]), "from 0 to 255; received images from 0 to 1, so t"),
    (1 / 255, np.uint16([0, 4095]), "from 0 to 255; received images from 0 to 4095"),
    (1 / 255, np.uint8([0, 0]), "All pixels are equal: received images from 0 to 0."),
]


@pytest.mark.parametrize(("rescale", "pixels", "message"), RANGES)
def test_warns_of_pixels_in_another_range(rescale, pixels, message):
    """Images outside the expected range, or of few values of it, are not taken so."""
    found = unexpected_range(pixels, rescale)
    assert found == message or (message is not None and message in found)


def test_warns_once(images):
    """The warning comes with the first training, and not with each trial."""
    hypermodel = HyperAlexNet((8, 8, 1), 4, Narrow)
    hp = declared(hypermodel)
    x, y = 255 * images[0], images[1]
    with pytest.warns(UserWarning, match="Pixel values are expected from 0 to 1; rec"):
        hypermodel.fit(hp, hypermodel.build(hp), x, y, verbose=0)
    hypermodel.fit(hp, hypermodel.build(hp), x, y, verbose=0)


def test_refuses_arguments_without_a_name(built, images):
    """Only x and y go by position: a third would be taken for something else."""
    hypermodel, hp, model = built
    with pytest.raises(TypeError, match="received 3 arguments without a name"):
        hypermodel.fit(hp, model, *images, 16)


def test_a_dataset_passes_through(built, images):
    """A tf.data.Dataset is trained on as it is, its own batches included."""
    hypermodel, hp, model = built
    batches = CountedBatches()
    dataset = tf.data.Dataset.from_tensor_slices(images).batch(12)
    history = hypermodel.fit(
        hp, model, dataset, validation_data=dataset, callbacks=[batches], verbose=0
    )
    assert batches.count == 4
    assert "val_accuracy" in history.history


def test_validation_split_takes_the_last(built, images):
    """With validation_split the last images validate, as many as in Keras."""
    hypermodel, hp, model = built
    x, y = images
    # Of 48 * 0.7 = 33.6 images Keras trains on 33.
    history = hypermodel.fit(hp, model, x, y, validation_split=0.3, verbose=0)
    loss, accuracy = model.evaluate(x[33:], y[33:], verbose=0)
    # Tolerance: the sums over batches may be taken in another order.
    assert history.history["val_loss"][0] == pytest.approx(loss, rel=1e-5)
    assert history.history["val_accuracy"][0] == pytest.approx(accuracy, abs=1e-6)


@pytest.mark.parametrize("image_shape", [(8, 8, 1), (28, 28, 1), (32, 48, 3)])
def test_cost_is_that_of_the_built_model(image_shape):
    """`cost` gives what the network has, whatever its values."""
    hypermodel = HyperAlexNet(image_shape, 10)
    space = declared(hypermodel)
    for seed in range(3):
        hp = keras_tuner.HyperParameters()
        for index, entry in enumerate(space.space):
            hp.merge([entry])
            if hp.is_active(entry):
                hp.values[entry.name] = entry.random_sample(100 * seed + index + 1)
        cost = hypermodel.cost(hp)
        model = hypermodel.build(hp)
        kernels = [w for w in model.weights if w.path.endswith("kernel")]
        assert cost == (model.count_params(), model.multiply_adds)
        assert cost.parameters == sum(np.prod(w.shape) for w in model.weights)
        assert cost.multiply_adds >= sum(np.prod(w.shape) for w in kernels)


def test_cost_is_measured_where_a_subclass_draws():
    """A class that draws in a way of its own is built to know what it costs."""

    class Doubled(AlexNet):
        def draw_block(self, inputs, number, arguments):
            filters = 2 * arguments["filters"]
            return super().draw_block(inputs, number, {**arguments, "filters": filters})

    hypermodel = HyperAlexNet((8, 8, 1), 10, Doubled)
    hp = declared(hypermodel)
    for filters in (16, 32, 64):
        hp.values["filters_1"] = filters
        model = hypermodel.build(hp)
        assert hypermodel.cost(hp) == (model.count_params(), model.multiply_adds)


def test_cost_builds_the_first_network_alone(monkeypatch):
    """A class that gives no network fails at once; others are built only once."""

    class Broken(AlexNet):
        @classmethod
        def search_space(cls, hp, image_shape):
            configuration = FULL(hp, image_shape)
            configuration["model"]["dropout"] = 2.0
            return configuration

    broken = HyperAlexNet((8, 8, 1), 10, Broken)
    with pytest.raises(ValueError, match=r"received dropout=2\.0"):
        broken.cost(declared(broken))
    hypermodel, built = HyperAlexNet((8, 8, 1), 10), []
    network = hypermodel._network
    monkeypatch.setattr(
        hypermodel, "_network", lambda hp: built.append(hp) or network(hp)
    )
    hp = declared(hypermodel)
    for filters in (16, 32, 64):
        hp.values["filters_1"] = filters
        hypermodel.cost(hp)
    assert len(built) == 1


def test_cost_makes_no_weights():
    """The cost of a network that no memory could hold is known all the same."""

    class Huge(AlexNet):
        @classmethod
        def search_space(cls, hp, image_shape):
            configuration = FULL(hp, image_shape)
            configuration["model"]["dense_units"] = (20_000_000, 20_000_000)
            return configuration

    hypermodel = HyperAlexNet((8, 8, 1), 10, Huge)
    cost = hypermodel.cost(declared(hypermodel))
    assert cost.parameters > 4e14
    # And nothing of it is made later.
    keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])


@pytest.mark.parametrize(("flip", "shift"), [(False, 0.0), (True, 0.0), (False, 0.2)])
def test_flip_and_shift_reach_the_batches(images, flip, shift):
    """horizontal_flip and the space's augmentation change what is trained on."""
    seen = []

    class Recording(Narrow):
        @classmethod
        def search_space(cls, hp, image_shape):
            configuration = super().search_space(hp, image_shape)
            configuration["training"]["augmentation"] = shift
            return configuration

        def train_step(self, data):
            seen.extend(data[0].numpy())
            return super().train_step(data)

    hypermodel = HyperAlexNet((8, 8, 1), 4, Recording, horizontal_flip=flip)
    hp = declared(hypermodel)
    hypermodel.fit(hp, hypermodel.build(hp), *images, verbose=0)
    kept = {image.tobytes() for image in images[0]}
    mirrored = {image[:, ::-1].tobytes() for image in images[0]}
    num_kept = sum(image.tobytes() in kept for image in seen)
    num_mirrored = sum(image.tobytes() in mirrored for image in seen)
    assert len(seen) == 48
    if not flip and not shift:
        assert (num_kept, num_mirrored) == (48, 0)
    elif flip:
        assert num_kept + num_mirrored == 48
        assert 10 <= num_mirrored <= 38
    else:
        assert num_kept < 20
        assert num_mirrored == 0
