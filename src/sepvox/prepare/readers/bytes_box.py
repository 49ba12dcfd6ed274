"""Boxes out of a stream of raw voxels.

A *stream* is any open binary file that can seek: a file, a gzip file, a member of a zip file. *Raw voxels* lie in it one
after the other in C order, plane after plane; arrays stored in Fortran order are raw voxels with their axes reversed.
Only the rows that a box touches are read, so memory is that of the box with whole rows, one plane at a time.
"""

from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from sepvox.prepare.readers.stored import Box


def read_box(stream: BinaryIO, begin: int, shape: tuple[int, ...], dtype: np.dtype[Any], box: Box) -> NDArray[Any]:
    """Voxels of `box`, of the box's shape and of `dtype` with its byte order.

    Parameters
    ----------
    stream: open binary file.
    begin: byte at which voxel (0, 0, 0) lies.
    shape: of the whole volume, slowest axis first.
    dtype: of a voxel as stored.

    Raises
    ------
    EOFError: the stream ends within the box; the message names the plane.
    """
    planes, rows, columns = box
    row_bytes = shape[2] * dtype.itemsize
    block = np.empty(tuple(span.stop - span.start for span in box), dtype)
    wanted = block.shape[1] * row_bytes
    for i, plane in enumerate(range(planes.start, planes.stop)):
        stream.seek(begin + (plane * shape[1] + rows.start) * row_bytes)
        data = stream.read(wanted)
        if len(data) < wanted:
            raise EOFError(f"the file ends in plane {plane} of {shape[0]}")
        block[i] = np.frombuffer(data, dtype).reshape(-1, shape[2])[:, columns]
    return block
