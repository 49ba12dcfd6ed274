"""sepvox: raw 3D volumes to scored segmentations with parallel separable 3D networks."""

__version__ = "0.1.0"
