"""How much each part of AlexNet contributes: the ablations of 2012 as data.

A row holds
    part: The part of the network.
    variant: The preset without the part; net146 is the one with it.
    change: What the variant changes.
    reference: The preset that it is compared with.
    measure: The figures that are compared, as named in `PRESETS`.
    published: The paper's result.
    caveat: What else differs, if anything does.
"""

from __future__ import annotations

from alexnet.presets import PRESETS
from alexnet.presets.shared import TEST_2010, VALIDATION

ABLATIONS: tuple[dict[str, str], ...] = (
    {
        "part": "Response normalization",
        "variant": "net148",
        "change": "no normalization",
        "reference": "net145",
        "measure": VALIDATION,
        "published": "section 3.3: 1.4 and 1.2 points",
        "caveat": "",
    },
    {
        "part": "Overlapping pooling",
        "variant": "net147",
        "change": "pools of 2x2 instead of 3x3, strides of 2 in both",
        "reference": "net145",
        "measure": VALIDATION,
        "published": "section 3.4: 0.4 and 0.3 points",
        "caveat": "less padding at conv2 and conv5, so that fc6 sees as much",
    },
    {
        "part": "The second GPU",
        "variant": "net145_half",
        "change": "one tower: half of the filters",
        "reference": "net145",
        "measure": TEST_2010,
        "published": "section 3.2: 1.7 and 1.2 points",
        "caveat": "conv5 and the dense layers keep their size",
    },
    {
        "part": "A sixth convolution across the towers",
        "variant": "net146",
        "change": "3x3 with 256 filters after the last pool",
        "reference": "net145",
        "measure": VALIDATION,
        "published": "section 6, 1 CNN*: 39.0 and 16.6 instead of 40.7 and 18.2",
        "caveat": "pre-trained on ImageNet 2011, which net145 was not",
    },
)


def cost(ablation: dict[str, str]) -> tuple[float, float]:
    """Return how many points more top-1 and top-5 error a variant has.

    Args:
        ablation: An entry of `ABLATIONS`.
    """
    top1, top5 = (
        PRESETS[ablation["variant"]]["figures"][measure]
        - PRESETS[ablation["reference"]]["figures"][measure]
        for measure in (f"{ablation['measure']}: top-{k} error" for k in (1, 5))
    )
    return top1, top5
