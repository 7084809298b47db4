"""A schema's faults in a document, found by jsonschema. Only whoever checks a document imports this: it takes a quarter of a
second, and the registry is read without it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from vxp_schemas._errors import MAX_PART, Fault, did_you_mean, pointer, shown
from vxp_schemas._stored import SCHEMA_NAMES, Schema, stored

BASE: Final = "https://vxp.example/schemas/v1/"


def faults(name: str, document: Any) -> Iterator[Fault]:
    """What is wrong with a document by the schema of this short name."""
    return (_fault(error) for error in _validator(name).iter_errors(document))


@cache
def _bundled() -> Registry[Any]:
    names = (*SCHEMA_NAMES, "defs")
    resources = [(f"{BASE}{name}.schema.json", DRAFT202012.create_resource(stored(name))) for name in names]
    return Registry().with_resources(resources)


@cache
def _validator(name: str) -> Any:
    # a registry of our own has no way to retrieve what it does not hold
    return _Engine(stored(name), registry=_bundled())


def fields(schema: Schema) -> dict[str, Schema]:
    """The fields that an object schema names: its own properties and those of the mixin it refers to."""
    named = fields(_target(schema["$ref"])) if "$ref" in schema else {}
    return {**named, **schema.get("properties", {})}


@cache
def _target(reference: str) -> Schema:
    # the dialect writes every reference with its file name, so one base resolves them all
    found: Schema = _bundled().resolver(BASE).lookup(reference).contents
    return found


# ------------------------------------------------------------ keywords that differ from the engine


def _reference(validator: Any, reference: str, instance: Any, _: Schema) -> Iterator[ValidationError]:
    # the engine resolves the same few references anew for every value, which is half of its time
    yield from validator.descend(instance, _target(reference))


def _pattern(_: Any, pattern_: str, instance: Any, __: Schema) -> Iterator[ValidationError]:
    # the engine searches, and Python's $ also matches before a trailing newline
    if isinstance(instance, str) and not re.fullmatch(pattern_, instance):
        yield ValidationError("does not match")


def _required(_: Any, required: list[str], instance: Any, schema_: Schema) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name in required:
            if name not in instance:
                yield ValidationError("missing", path=(name,))


def _unevaluated(_: Any, __: bool, instance: Any, schema_: Schema) -> Iterator[ValidationError]:
    # the dialect has no conditional properties, so the fields are known without evaluating, and a fault elsewhere
    # does not turn known fields into unknown ones
    if isinstance(instance, dict):
        known = fields(schema_)
        for name in instance:
            if name not in known:
                yield ValidationError("unknown", path=(name,))


def _unique(_: Any, unique: bool, instance: Any, __: Schema) -> Iterator[ValidationError]:
    # the engine compares each with each where entries are of several types
    if unique and isinstance(instance, list):
        texts = {json.dumps(entry, sort_keys=True) for entry in instance}
        if len(texts) < len(instance):
            yield ValidationError("not unique")


_Engine = extend(
    Draft202012Validator,
    {"$ref": _reference, "pattern": _pattern, "required": _required, "unevaluatedProperties": _unevaluated,
     "uniqueItems": _unique},
)


# ---------------------------------------------------------------------------- saying what is wrong


def _fault(error: ValidationError) -> Fault:
    path = list(error.absolute_path)
    if "propertyNames" in error.absolute_schema_path:
        path.append(error.instance)
        found, expected, hint = _said(error)
        return Fault(pointer(path), f"the key {found}", expected, hint)
    return Fault(pointer(path), *_said(error))


def _said(error: ValidationError) -> tuple[str, str, str]:
    """Found, expected and a hint, by the keyword that failed."""
    keyword, value, instance = error.validator, error.validator_value, error.instance
    name = str(error.absolute_path[-1]) if error.absolute_path else ""
    if keyword == "required":
        about = fields(error.schema).get(name, {}).get("description", "")
        return "nothing", f"the field {_name(name)}" + (f": {about}" if about else ""), ""
    if keyword == "unevaluatedProperties":
        known = list(fields(error.schema))
        return f"an unknown field {_name(name)}", "one of the fields " + ", ".join(known), did_you_mean(name, known)
    if keyword == "enum":
        near = did_you_mean(instance, [v for v in value if isinstance(v, str)]) if isinstance(instance, str) else ""
        return shown(instance), "one of " + ", ".join(json.dumps(v) for v in value), near
    wanted = _EXPECTED.get(str(keyword))
    expected = wanted(value) if wanted else error.message
    about = error.schema.get("description", "") if keyword == "pattern" else ""
    return shown(instance), expected + (f": {about}" if about else ""), ""


def _name(name: str) -> str:
    """A field's name in quotes, cut where it is long."""
    return repr(name) if len(name) <= MAX_PART else shown(name)


def _types(value: str | list[str]) -> str:
    return " or ".join([value] if isinstance(value, str) else value)


_EXPECTED: Final[Mapping[str, Callable[[Any], str]]] = {
    "type": _types,
    "const": lambda value: json.dumps(value),
    "pattern": lambda value: f"text of the form {value}",
    "minimum": lambda value: f"at least {value}",
    "maximum": lambda value: f"at most {value}",
    "exclusiveMinimum": lambda value: f"more than {value}",
    "exclusiveMaximum": lambda value: f"less than {value}",
    "minItems": lambda value: f"at least {value} entries",
    "maxItems": lambda value: f"at most {value} entries",
    "items": lambda _: "no further entries",
    "uniqueItems": lambda _: "entries that all differ",
    "minProperties": lambda value: f"at least {value} fields",
    "minLength": lambda value: f"text of at least {value} characters",
    "maxLength": lambda value: f"text of at most {value} characters",
}
