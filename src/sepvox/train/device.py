"""The device that trains, and the precision that it computes in."""

from dataclasses import dataclass

import torch

from sepvox.errors import ConfigError


@dataclass(frozen=True)
class Precision:
    """Whether and how autocast is used on a device."""

    device: torch.device
    bfloat16: bool

    @property
    def name(self) -> str:
        """As in `train.precision`."""
        return "bfloat16" if self.bfloat16 else "float32"

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bfloat16)


def choose_device(name: str, precision: str) -> Precision:
    """The device of `auto | cpu | cuda` and whether it computes in bfloat16 for `auto | float32 | bfloat16`."""
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("train.device: cuda was asked for, but torch finds no CUDA device; use auto or cpu")
    cuda = torch.cuda.is_available() and name != "cpu"
    device = torch.device("cuda" if cuda else "cpu")
    fits = cuda and torch.cuda.is_bf16_supported()
    return Precision(device, precision == "bfloat16" or (precision == "auto" and fits))
