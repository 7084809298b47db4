"""Identity by content: the RFC 8785 form of a value and SHA-256 digests."""

from __future__ import annotations

import hashlib
from os import PathLike
from typing import Any

import rfc8785

from vxp_schemas._errors import Fault, InvalidDocument


def canonical(obj: Any) -> bytes:
    """The RFC 8785 (JCS) form of a JSON value. Raises InvalidDocument for what has none (NaN, 2^53, a surrogate)."""
    try:
        return rfc8785.dumps(obj)
    except (rfc8785.CanonicalizationError, RecursionError) as error:
        raise InvalidDocument([Fault("", str(error), "a finite JSON value (RFC 8785)")], what="value") from None


def digest(obj: Any) -> str:
    """`sha256:` and the hex SHA-256 of the RFC 8785 form."""
    return "sha256:" + hashlib.sha256(canonical(obj)).hexdigest()


def file_digest(path: str | PathLike[str]) -> str:
    """`sha256:` and the hex SHA-256 of a file's bytes, as descriptors carry it."""
    with open(path, "rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
