"""Files that PyTorch wrote, and what PyTorch computes with them."""

from __future__ import annotations

import numpy as np
import pytest
import weight_files as files

from alexnet import AlexNet
from alexnet.weights import WeightsError, load_weights

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.torch


class TorchNet(torch.nn.Module):
    """torchvision's structure: features, average pool, classifier."""

    def __init__(self, features, pool, flat, units, classes):
        super().__init__()
        self.features = torch.nn.Sequential(*features)
        self.avgpool = torch.nn.AdaptiveAvgPool2d(pool)
        self.classifier = torch.nn.Sequential(
            torch.nn.Dropout(),
            torch.nn.Linear(flat, units[0]),
            torch.nn.ReLU(),
            torch.nn.Dropout(),
            torch.nn.Linear(units[0], units[1]),
            torch.nn.ReLU(),
            torch.nn.Linear(units[1], classes),
        )

    def forward(self, x):
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


def tiny():
    nn = torch.nn
    features = [
        *(nn.Conv2d(3, 6, (5, 4), 2, 1), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU()),
    ]
    net = TorchNet(features, (2, 3), 8 * 2 * 3, (10, 7), 5)
    return net, AlexNet(**files.TINY_TORCH, adaptive_pool=(2, 3)), (4, 23, 19, 3)


def full():
    nn = torch.nn
    features = [
        *(nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(192, 384, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(384, 256, 3, padding=1), nn.ReLU()),
        *(nn.Conv2d(256, 256, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2)),
    ]
    net = TorchNet(features, 6, 9216, (4096, 4096), 1000)
    model = AlexNet.from_preset("torchvision", classifier_activation=None)
    return net, model, (2, 224, 224, 3)


@pytest.mark.parametrize("make", [tiny, full])
@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_logits_are_pytorchs(tmp_path, make, new):
    """Both of torch.save's formats give PyTorch's own logits."""
    torch.manual_seed(0)
    net, model, shape = make()
    with torch.no_grad():
        # PyTorch's first weights make logits of order 0.01; these are of order 1.
        for weight in net.parameters():
            weight.mul_(2.0)
    net.eval()
    path = tmp_path / "net.pth"
    torch.save(net.state_dict(), path, _use_new_zipfile_serialization=new)
    images = np.random.default_rng(0).normal(size=shape).astype("f4")
    with torch.no_grad():
        expected = net(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    loaded = load_weights(model, path)
    assert loaded.kind == "PyTorch"
    assert abs(expected).max() > 0.1
    found = model.predict(images, verbose=0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
def test_other_ways_to_save(tmp_path, new):
    """Parameters, checkpoints, halves and other strides load; whole modules do not."""
    torch.manual_seed(0)
    net, model, _ = tiny()
    path = tmp_path / "net.pth"

    def save(value):
        torch.save(value, path, _use_new_zipfile_serialization=new)

    def loads():
        model.set_weights([0 * weight for weight in model.get_weights()])
        load_weights(model, path)
        # float16 keeps three digits.
        kernel = net.features[0].weight.detach().numpy().transpose(2, 3, 1, 0)
        found = model.get_layer("conv1").get_weights()[0]
        np.testing.assert_allclose(found, kernel, atol=1e-3)

    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    save({"epoch": 3, "model": net.state_dict(), "optimizer": optimizer.state_dict()})
    loads()
    save({"epoch": 3, "model_state_dict": net.state_dict()})
    loads()
    save(dict(net.named_parameters()))
    loads()
    save({name: value.half() for name, value in net.state_dict().items()})
    loads()
    last = torch.channels_last
    save(net.to(memory_format=last).state_dict())
    loads()
    save(net)
    with pytest.raises(
        WeightsError, match=r"neither a tensor .* save model.state_dict"
    ):
        load_weights(model, path)
    save({**net.state_dict(), ("epoch", 3): 1.0})
    with pytest.raises(WeightsError, match=r"or holds more than .*a tuple is out of"):
        load_weights(model, path)
    state = net.state_dict()
    # The imaginary part of a conjugate: PyTorch keeps a note that it is negated.
    kernel = state["features.0.weight"].numpy()
    negated = torch.complex(torch.zeros(kernel.shape), torch.from_numpy(-kernel)).conj()
    state["features.0.weight"] = negated.imag
    assert state["features.0.weight"].is_neg()
    save(state)
    with pytest.raises(WeightsError, match="a tensor is more than its numbers"):
        load_weights(model, path)
