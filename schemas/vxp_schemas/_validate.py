"""Documents against their schemas: the `type` decides first, then every fault is reported at once.

The schemas are bundled and resolve among themselves; nothing is ever fetched.
"""

from __future__ import annotations

from itertools import islice
from typing import Any, TypeVar, cast

from vxp_schemas._errors import MAX_FAULTS, Fault, InvalidDocument, did_you_mean, shown, unknown
from vxp_schemas._stored import DOCUMENT_TYPES, SCHEMA_NAMES
from vxp_schemas._strict import value_faults

T = TypeVar("T")


def validate(document: Any) -> None:
    """Check a document against the schema that its `type` names.

    Raises InvalidDocument with all faults, up to 1,000: each says where (a JSON pointer), what was found and what was
    expected.
    """
    from vxp_schemas import _engine  # with jsonschema, which whoever only reads the registry does without

    broken = list(islice(value_faults(document), MAX_FAULTS))
    if broken:
        raise InvalidDocument(broken)
    name = _dispatched(document)
    faults = dict.fromkeys(islice(_engine.faults(name, document), MAX_FAULTS))
    if faults:
        raise InvalidDocument(faults, what=f"{name} document")


def valid(document: Any, kind: type[T]) -> T:
    """The document as a type of vxp_schemas.typed, such as `typed.Result`, once the schema of that name accepts it.

    Raises InvalidDocument as `validate` does, and for a document of another kind.
    """
    validate(document)
    if document["type"] != type_of(kind):
        raise InvalidDocument([Fault("/type", shown(document["type"]), type_of(kind))])
    return cast(T, document)


def type_of(kind: type) -> str:
    """The field `type` of documents of a type of vxp_schemas.typed; UnknownName for the type of a part."""
    found = next((type_ for type_, name in DOCUMENT_TYPES.items() if name == kind.__name__.lower()), None)
    if found is None:
        raise unknown(kind.__name__, map(str.capitalize, SCHEMA_NAMES), what="type of a document")
    return found


def _dispatched(document: Any) -> str:
    if not isinstance(document, dict):
        raise InvalidDocument([Fault("", shown(document), "an object with the field 'type'")])
    found = document.get("type")
    if isinstance(found, str) and found in DOCUMENT_TYPES:
        return DOCUMENT_TYPES[found]
    said = "no field 'type'" if "type" not in document else shown(found)
    hint = did_you_mean(found, list(DOCUMENT_TYPES)) if isinstance(found, str) else ""
    raise InvalidDocument([Fault("/type", said, "one of " + ", ".join(DOCUMENT_TYPES), hint)])
