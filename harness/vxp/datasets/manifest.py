"""A manifest of one's own images: a CSV or Parquet file with one row per image.

Columns: `path` of the image, relative to the manifest; and where wanted `target` (the class to explain; the model's
prediction where it is empty), `label` (the class that is right, kept with the item), `mask` (path of a mask of the
image's size, above 127 where the truth is), `cluster` (what is independent, such as the patient; by default the image)
and `id` (by default the path). A class is an index or one of the model's class names. Images and masks are read,
resized and cropped as those of a folder are.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import vxp_schemas

from vxp.catalogue import nearest
from vxp.core import VxpError
from vxp.datasets._copies import clean
from vxp.datasets._types import Item, Recipe, Sample, Source
from vxp.datasets.own_images import check_pair, pair

COLUMNS = ("path", "label", "target", "mask", "cluster", "id")
SUFFIXES = frozenset({".csv", ".parquet"})
NAME = re.compile(r"[A-Za-z0-9._/-]{1,128}")

Row = tuple[str, Mapping[str, str]]
"""Where a row is, in words for errors, and its values by column, without the empty ones."""


def manifest(path: Path, size: tuple[int, int], names: Sequence[str]) -> tuple[list[Item], Source]:
    """The items of a manifest in bytewise order of their ids, and the source that loads them at (H, W).

    names: the model's classes. Every image is decoded and hashed here. Raises VxpError with file and line for an
    unknown column, a row without path, a file that is absent or unreadable, a mask of another size, a class that the
    model does not have, an id that is not A-Z a-z 0-9 . _ / - or that is there twice.
    """
    items: dict[str, Item] = {}
    for where, row in rows(path, COLUMNS, "--images"):
        item = _item(path.parent, where, row, names)
        if item.id in items:
            raise VxpError(f"{where}: the id {item.id!r} is there twice, expected one row per id: set the column id")
        items[item.id] = item
    masked = any("mask" in item.recipe for item in items.values())
    own = Source(
        id="manifest",
        version=1,
        load=partial(_load, path.parent, size, with_mask=masked),
        missing=lambda: None,
        licence="the user's own",
        about=f"The images of the manifest {path.name}",
        truth=("mask",) if masked else (),
    )
    return sorted(items.values(), key=lambda item: item.id.encode()), own


def rows(path: Path, known: Sequence[str], option: str) -> list[Row]:
    """The rows of a manifest with any of the known columns, `path` among them; option names the file in the VxpError."""
    found = _parquet(path, known, option) if path.suffix.lower() == ".parquet" else _csv(path, known, option)
    if not found:
        raise VxpError(f"{path}: no row in it, expected one per {option[2:-1]}")
    return found


def _csv(path: Path, known: Sequence[str], option: str) -> list[Row]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            columns = _known(path, next(reader, []), known)
            rows: list[Row] = []
            for values in reader:
                if values and len(values) != len(columns):
                    raise VxpError(f"{path}, line {reader.line_num}: {len(values)} values, expected {len(columns)} "
                                   f"({','.join(columns)})")
                if values:
                    rows.append((f"{path}, line {reader.line_num}", _filled(dict(zip(columns, values, strict=True)))))
            return rows
    except FileNotFoundError:
        raise VxpError(f"{option} {path}: no such file, expected a manifest with the column path") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise VxpError(f"{path}: {error}, expected a CSV file in UTF-8") from None


def _parquet(path: Path, known: Sequence[str], option: str) -> list[Row]:
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise VxpError(f"{option} {path}: no such file, expected a manifest with the column path") from None
    except (pa.ArrowException, OSError) as error:
        raise VxpError(f"{path}: {error}, expected a Parquet file") from None
    _known(path, table.column_names, known)
    return [(f"{path}, row {n}", _filled({key: "" if value is None else str(value) for key, value in row.items()}))
            for n, row in enumerate(table.to_pylist(), start=1)]


def _known(path: Path, columns: Sequence[str], known: Sequence[str]) -> list[str]:
    named = [column.strip() for column in columns]
    for column in named:
        if column not in known:
            raise VxpError(f"{path}: the column {column!r} is unknown{nearest(column, known)}; expected {', '.join(known)}")
    if "path" not in named or len(set(named)) < len(named):
        raise VxpError(f"{path}: the columns are {', '.join(named) or 'none'}, expected path and each column once")
    return named


def _filled(row: Mapping[str, str]) -> dict[str, str]:
    return {key: value.strip() for key, value in row.items() if value.strip()}


def _item(folder: Path, where: str, row: Mapping[str, str], names: Sequence[str]) -> Item:
    if "path" not in row:
        raise VxpError(f"{where}: no path, expected the path of an image")
    files = {key: folder / row[key] for key in ("path", "mask") if key in row}
    try:
        check_pair(files["path"], files.get("mask"))
    except VxpError as error:
        raise VxpError(f"{where}: {error}") from None
    recipe = {"file": row["path"], "sha256": vxp_schemas.file_digest(files["path"])}
    if "mask" in row:
        recipe |= {"mask": row["mask"], "mask_sha256": vxp_schemas.file_digest(files["mask"])}
    return item_of(where, row, recipe, names, clean(row["path"]))


def item_of(
    where: str, row: Mapping[str, str], recipe: Recipe, names: Sequence[str], id: str, alike: str = "",
) -> Item:
    """The item of a row. id: where the row has none; alike: the cluster where the row has none, by default the id."""
    id = row.get("id", id)
    cluster = row.get("cluster", alike or id)
    for column, value in (("id", id), ("cluster", cluster)):
        if not NAME.fullmatch(value):
            raise VxpError(f"{where}: the {column} {value!r}, expected at most 128 of A-Z a-z 0-9 . _ / -")
    target, label = (_class(where, key, row.get(key), names) for key in ("target", "label"))
    return Item(id, cluster, recipe, target, () if label is None else (label,))


def _class(where: str, column: str, value: str | None, names: Sequence[str]) -> int | None:
    """The index of a class that is given by index or by name."""
    if value is None:
        return None
    if value in names:
        return list(names).index(value)
    # a column of whole numbers with gaps comes out of pandas as 3.0
    whole = re.fullmatch(r"([0-9]+)(\.0)?", value)
    if whole is None or (names and int(whole[1]) >= len(names)):
        known = f"0 to {len(names) - 1} or a class name of the model" if names else "an index (the model names no classes)"
        raise VxpError(f"{where}: the {column} {value!r}{nearest(value, names)}, expected {known}")
    return int(whole[1])


def _load(folder: Path, size: tuple[int, int], item: Item, *, with_mask: bool) -> Sample:
    mask = item.recipe.get("mask")
    return pair(folder / item.recipe["file"], folder / mask if mask else None, size, with_mask=with_mask)
