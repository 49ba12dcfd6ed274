"""Networks that classify clips, by name, as plain numbers: no tensors, no torch.

A *clip* is what they see at once: (channel, t, y, x). They yield one logit per class.

`ras2019-lenet5-3d-C1-C2` and `ras2019-lenet5-3dttn-C1-C2` are the LeNet-5 of Ras et al. 2019, C1 and C2 being the filters of
its two convolutions, in 3D and in 3DTT.
"""

import re
from dataclasses import dataclass
from typing import Final, Literal

CLASSIFIER_NAMES: Final = ("ras2019-lenet5-3d-C1-C2", "ras2019-lenet5-3dttn-C1-C2")
_LENET5 = re.compile(r"ras2019-lenet5-(?P<kind>3d|3dttn)-(?P<first>[1-9]\d{0,3})-(?P<second>[1-9]\d{0,3})")


@dataclass(frozen=True)
class LeNet5:
    """A LeNet-5 for clips of Video-MNIST.

    Attributes
    ----------
    name : str
        Name by which it is asked for.
    block : {"dense", "tt"}
        What its convolutions are.
    widths : (int, int)
        Filters of the two convolutions.
    clip : (int, int, int, int)
        Shape of a clip: channel, t, y, x.
    classes : int
        Logits.
    """

    name: str
    block: Literal["dense", "tt"]
    widths: tuple[int, int]
    clip: tuple[int, int, int, int] = (1, 30, 28, 28)
    classes: int = 10


def classifier(name: str) -> LeNet5 | None:
    """The classifier of this name, None where there is no such."""
    found = _LENET5.fullmatch(name)
    if found is None:
        return None
    return LeNet5(name, "dense" if found["kind"] == "3d" else "tt", (int(found["first"]), int(found["second"])))
