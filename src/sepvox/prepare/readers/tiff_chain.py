"""The chain of page directories of a TIFF file, followed to its end.

A *directory* describes one page and ends with the offset of the next one, 0 at the end: TIFF 6.0 with offsets of 4 bytes,
BigTIFF with 8. A file that was cut off breaks the chain; TIFF libraries then return the pages before the break as if they
were all.
"""

import struct
from typing import BinaryIO


def check_chain(stream: BinaryIO, size: int) -> int:
    """Follow the chain of page directories of a TIFF or BigTIFF file to its end.

    Parameters
    ----------
    stream: the open file.
    size: its bytes.

    Returns
    -------
    int: number of directories.

    Raises
    ------
    EOFError: a directory lies beyond the end of the file; the message names its page.
    ValueError: not a TIFF file, or a chain without end.
    """
    head = stream.read(16)
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack(f"{order}H", head[2:4])[0] if order and len(head) >= 8 else None
    if order is None or version not in (42, 43):
        raise ValueError(f"it begins with {head[:4]!r}, not with a TIFF signature")
    if version == 43 and len(head) < 16:
        raise EOFError("it ends within its first 16 bytes")
    offset_format, count_format, entry = ("I", "H", 12) if version == 42 else ("Q", "Q", 20)
    start = 4 if version == 42 else 8
    (offset,) = struct.unpack_from(order + offset_format, head, start)
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise ValueError(f"the directory of page {len(seen)} leads back to an earlier one")
        seen.add(offset)
        missing = EOFError(f"the directory of page {len(seen) - 1} lies beyond the end of the file")
        if offset + struct.calcsize(order + count_format) > size:
            raise missing
        stream.seek(offset)
        (entries,) = struct.unpack(order + count_format, stream.read(struct.calcsize(order + count_format)))
        position = offset + struct.calcsize(order + count_format) + entry * entries
        if position + struct.calcsize(order + offset_format) > size:
            raise missing
        stream.seek(position)
        (offset,) = struct.unpack(order + offset_format, stream.read(struct.calcsize(order + offset_format)))
    if not seen:
        raise ValueError("it has no pages")
    return len(seen)
