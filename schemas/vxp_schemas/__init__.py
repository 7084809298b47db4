"""The machine-readable half of the standard: schemas, registry, the strict reader and identity by content.

Nothing here needs torch, nothing is fetched, and everything is read from the installed package.
"""

from vxp_schemas._digest import canonical, digest, file_digest
from vxp_schemas._errors import Fault, InvalidDocument, SchemaError, UnknownName, pointer
from vxp_schemas._registry import (
    STATUSES,
    Registered,
    SeenDifferences,
    ToleranceClass,
    Tolerances,
    metric_digest,
    reference,
    registry,
    registry_bytes,
    registry_document,
    rules,
    tolerances,
)
from vxp_schemas._stored import DOCUMENT_TYPES, schema
from vxp_schemas._strict import loads
from vxp_schemas._validate import type_of, valid, validate

SPEC_VERSION = "1.0.0-draft.2"

__all__ = [
    "DOCUMENT_TYPES",
    "SPEC_VERSION",
    "STATUSES",
    "Fault",
    "InvalidDocument",
    "Registered",
    "SchemaError",
    "SeenDifferences",
    "ToleranceClass",
    "Tolerances",
    "UnknownName",
    "canonical",
    "digest",
    "file_digest",
    "loads",
    "metric_digest",
    "pointer",
    "reference",
    "registry",
    "registry_bytes",
    "registry_document",
    "rules",
    "schema",
    "tolerances",
    "type_of",
    "valid",
    "validate",
]
