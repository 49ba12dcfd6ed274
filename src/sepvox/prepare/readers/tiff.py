"""TIFF: one file with the pages of a volume, or a glob of files with one section each.

A *page* is one image of a TIFF file, here one z plane; it consists of *segments*, strips or tiles. Pages and segments are
located once, when the source is opened; a read decodes only the segments that its box touches. The directories of the
pages form a chain through the file, which a truncated file breaks: the chain and the extent of every page are checked at
opening, because TIFF libraries silently return fewer pages.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from sepvox.errors import InputError
from sepvox.prepare.readers.bytes_box import read_box
from sepvox.prepare.readers.keys import refuse_key
from sepvox.prepare.readers.stored import Box, Stored, first_line, is_failing
from sepvox.prepare.readers.tiff_chain import check_chain
from sepvox.prepare.readers.tiff_header import geometry_of, header_of

_TRUNCATED = "the file is truncated; copy it again from its source"


@dataclass(frozen=True)
class Page:
    """One z plane: its file, its number there, and its segments' offsets and byte counts.

    `keyframe` is the page that describes how to decode it. `raw` says that the plane lies uncompressed in one piece.
    """

    file: Path
    number: int
    keyframe: int
    raw: bool
    offsets: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Pages:
    """Box reader of a stack of pages of one shape (y, x)."""

    pages: tuple[Page, ...]
    shape: tuple[int, int]
    stored: np.dtype[Any]

    def read(self, box: Box) -> NDArray[Any]:
        planes, rows, columns = box
        block: NDArray[Any] = np.empty(tuple(span.stop - span.start for span in box), self.stored)
        wanted = enumerate(self.pages[planes])
        for file, group in groupby(wanted, key=lambda item: item[1].file):
            with tifffile.TiffFile(file) as tiff:
                for i, page in group:
                    try:
                        block[i] = self._plane(tiff, page, rows, columns)
                    except MemoryError:
                        raise
                    except Exception as error:
                        if is_failing(error):
                            raise
                        # Codecs raise whatever they like on damaged bytes.
                        raise InputError(
                            f"{file}: page {page.number} cannot be read ({first_line(error)}): "
                            "the file is damaged or truncated; copy it again from its source"
                        ) from error
        return block

    def _plane(self, tiff: Any, page: Page, rows: slice, columns: slice) -> NDArray[Any]:
        stream = tiff.filehandle
        if page.raw:
            plane = (1, *self.shape)
            whole = read_box(stream, page.offsets[0], plane, self.stored, (slice(0, 1), rows, columns))
            return whole.reshape(whole.shape[1:])
        keyframe = tiff.pages[page.keyframe]
        height, width = keyframe.chunks
        down, across = keyframe.chunked
        part: NDArray[Any] = np.zeros((rows.stop - rows.start, columns.stop - columns.start), self.stored)
        for row in range(rows.start // height, min(down, -(-rows.stop // height))):
            for column in range(columns.start // width, min(across, -(-columns.stop // width))):
                index = row * across + column
                if page.counts[index] == 0:
                    # Sparse files leave out segments that are all nodata.
                    segment, y, x = np.full((height, width), keyframe.nodata, self.stored), row * height, column * width
                else:
                    stream.seek(page.offsets[index])
                    data = stream.read(page.counts[index])
                    if len(data) < page.counts[index]:
                        raise EOFError("the file ends within it")
                    decoded, position, _ = keyframe.decode(data, index, jpegtables=keyframe.jpegtables)
                    segment, y, x = decoded[0, :, :, 0], position[2], position[3]
                top, left = max(rows.start, y), max(columns.start, x)
                bottom, right = min(rows.stop, y + segment.shape[0]), min(columns.stop, x + segment.shape[1])
                part[top - rows.start : bottom - rows.start, left - columns.start : right - columns.start] = segment[
                    top - y : bottom - y, left - x : right - x
                ]
        return part


def open_tiff(path: Path, key: str | None, what: str) -> Stored:
    """The stack of pages in one TIFF, BigTIFF, ImageJ or OME-TIFF file.

    Raises
    ------
    InputError: not TIFF, truncated, pages that differ in shape, colours, channels or time points, or a compression that
        cannot be decoded.
    """
    refuse_key(key, "a TIFF file", str(path), what)
    stack = _stack(path, what)
    if len(stack.shape) == 2:
        raise InputError(
            f"{what}: {path}: is a 2D image of shape {stack.shape}; expected three axes: "
            f"give the sections of a volume as a glob such as {path.parent / '*'}{path.suffix}"
        )
    return stack


def open_sections(pattern: str, paths: Sequence[Path], key: str | None, what: str) -> Stored:
    """The files of a glob as sections of one volume, in natural order of their names.

    Raises
    ------
    InputError: a file that is not one 2D image, or that differs in shape or dtype from most of the others.
    """
    refuse_key(key, "a glob of sections", pattern, what)
    ordered = sorted(paths, key=natural)
    stacks = [_stack(path, what) for path in ordered]
    for path, stack in zip(ordered, stacks, strict=True):
        if len(stack.shape) != 2:
            raise InputError(
                f"{what}: {path}: has shape {stack.shape}, but every file of the glob {pattern} must be one 2D section; name a 3D file without * or ?"
            )
    kinds = Counter((stack.shape, stack.dtype) for stack in stacks)
    (shape, dtype), usual = kinds.most_common(1)[0]
    for path, stack in zip(ordered, stacks, strict=True):
        if (stack.shape, stack.dtype) != (shape, dtype):
            raise InputError(
                f"{what}: {path}: is {_kind(stack.shape, stack.dtype)}, but {usual} of the {len(stacks)} sections of {pattern} are "
                f"{_kind(shape, dtype)}; make all sections alike, or narrow the glob"
            )
    first = stacks[0]
    pages = tuple(page for stack in stacks for page in _pages(stack).pages)
    return Stored(
        voxels=Pages(pages, (shape[0], shape[1]), dtype),
        shape=(len(pages), *shape),
        dtype=dtype,
        chunks=(1, *first.chunks[-2:]),
        files=tuple(ordered),
        header=first.header | {"sections": [path.name for path in ordered]},
    )


def natural(path: Path) -> tuple[object, ...]:
    """Sort key that orders numbers in names by value: section 2 before section 10."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path)))


def _kind(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    return f"{'x'.join(map(str, shape))} {dtype.newbyteorder('=')}"


def _pages(stack: Stored) -> Pages:
    assert isinstance(stack.voxels, Pages)
    return stack.voxels


def _stack(path: Path, what: str) -> Stored:
    """The pages of one file, of shape (z, y, x), or (y, x) where there is one page."""
    name = f"{what}: {path}"
    try:
        with path.open("rb") as stream:
            check_chain(stream, path.stat().st_size)
        with tifffile.TiffFile(path) as tiff:
            return _located(tiff, path, name)
    except InputError:
        raise
    except EOFError as error:
        raise InputError(f"{name}: {error}: {_TRUNCATED}") from error
    except Exception as error:
        # tifffile and struct raise many types on bytes that are no TIFF.
        raise InputError(
            f"{name}: cannot be opened as TIFF ({first_line(error)}); the file is damaged or of another format"
        ) from error


def _located(tiff: Any, path: Path, name: str) -> Stored:
    series = tiff.series[0]
    if len(tiff.series) > 1 and not tiff.is_ome:
        other = tiff.series[1]
        raise InputError(
            f"{name}: page {other.keyframe.index} is {_kind(other.shape, other.dtype)}, but page 0 belongs to an image of "
            f"{_kind(series.shape, series.dtype)}; save a file whose pages all agree"
        )
    lengths = zip(series.get_axes(squeeze=False), series.get_shape(squeeze=False), strict=True)
    kept = [(axis, length) for axis, length in lengths if length > 1 or axis in "YX"]
    axes, shape = "".join(axis for axis, _ in kept), tuple(length for _, length in kept)
    # Many writers of ImageJ files call the only axis of a stack channel or time: alone, it is taken as z.
    if axes not in ("YX", *(f"{stack}YX" for stack in "ZQICT")):
        raise InputError(
            f"{name}: has shape {shape} with axes {axes}; expected one grey channel of one time point, axes ZYX: "
            "save one channel alone, with its planes as z slices"
        )
    keyframe = series.keyframe
    _require_codec(keyframe, name)
    order = keyframe.parent.byteorder
    dtype = np.dtype(series.dtype).newbyteorder(order)
    size, plane = path.stat().st_size, shape[-2] * shape[-1] * dtype.itemsize
    count = shape[0] if len(shape) == 3 else 1
    begin = series.dataoffset
    if begin is not None:
        if begin + count * plane > size:
            raise EOFError(f"page {max(0, size - begin) // plane} of {count} lies beyond the end of the file")
        pages = tuple(Page(path, i, 0, True, (begin + i * plane,), (plane,)) for i in range(count))
    else:
        pages = tuple(_page(page, i, path, keyframe, size, name) for i, page in enumerate(series.pages))
        if len(pages) != count:
            raise EOFError(f"it has {len(pages)} pages where its metadata says {count}")
    rows, columns = keyframe.chunks[:2] if not pages[0].raw else shape[-2:]
    geometry = geometry_of(tiff)
    return Stored(
        voxels=Pages(pages, (shape[-2], shape[-1]), dtype),
        shape=shape,
        dtype=dtype,
        chunks=(1,) * (len(shape) - 2) + (rows, columns),
        files=(path,),
        header=header_of(tiff),
        voxel_size=geometry.voxel_size if len(shape) == 3 else None,
        unit=geometry.unit if len(shape) == 3 else None,
    )


def _page(page: Any, number: int, path: Path, keyframe: Any, size: int, name: str) -> Page:
    if page is None:
        raise EOFError(f"page {number} is missing")
    if Path(page.parent.filehandle.path).resolve() != path.resolve():
        raise InputError(
            f"{name}: page {number} lies in another file, {page.parent.filename}; give the sections as a glob instead"
        )
    offsets, counts = tuple(page.dataoffsets), tuple(page.databytecounts)
    raw = bool(keyframe.is_memmappable and page.is_contiguous)
    end = max((o + c for o, c in zip(offsets, counts, strict=True)), default=size + 1)
    if end > size:
        raise EOFError(f"page {number} lies beyond the end of the file")
    return Page(path, number, keyframe.index, raw, offsets, counts)


def _require_codec(keyframe: Any, name: str) -> None:
    try:
        if keyframe.compression != 1:
            tifffile.TIFF.DECOMPRESSORS[keyframe.compression]
        if keyframe.predictor != 1:
            tifffile.TIFF.UNPREDICTORS[keyframe.predictor]
    except KeyError as error:
        raise InputError(
            f"{name}: is compressed with {getattr(keyframe.compression, 'name', keyframe.compression)}, which cannot be decoded here; "
            "install the Python package imagecodecs, or save the file uncompressed or with deflate"
        ) from error
