"""`python -m vxp.maintain.types` writes vxp_schemas/typed.py: the documents of the schemas as types.

An object of the schemas is a TypedDict, named by its place: the entries of `scores` in a result are `ResultScore`. A list of
values is a Literal, a constant is of its value's type. Lengths, patterns and bounds are not types: the validator checks them.
`--check` writes nothing and exits 1 where the file is out of date.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import vxp_schemas

from vxp.documents import store

FILE = Path(vxp_schemas.__file__).parent / "typed.py"
WIDTH = 128
HEAD = '''"""The documents of the standard as types, as `python -m vxp.maintain.types` writes them from the schemas.

Never edit this file. It says which fields there are and of what type; `vxp_schemas.valid` gives a document its type once the
schema accepts it.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict'''
SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "None"}

Schema = Mapping[str, Any]


def text() -> str:
    """The module that the schemas of this checkout give."""
    shared = vxp_schemas.schema("defs")["$defs"]
    pieces = {name: schema for name, schema in shared.items() if _is_class(schema)}
    documents = {name: vxp_schemas.schema(name) for name in vxp_schemas.DOCUMENT_TYPES.values()}
    lines = [HEAD]
    for name, schema in shared.items():
        lines += _alias(name, schema) if _is_alias(schema) else ()
    for name, schema in (pieces | documents).items():
        lines += ["", "", *_classes(_camel(name), schema)]
    return "\n".join(lines) + "\n"


def _is_class(schema: Schema) -> bool:
    return "properties" in schema


def _is_alias(schema: Schema) -> bool:
    """Whether a shared piece has a name of its own here, other than a scalar and a list."""
    return "enum" in schema or (schema.get("type") == "object" and not _is_class(schema))


def _alias(name: str, schema: Schema) -> Iterator[str]:
    yield ""
    yield from _wrapped(f"{_camel(name)} = {_type(schema, '')}")
    yield fill(f'"""{schema["description"]}"""', WIDTH)


def _classes(name: str, schema: Schema) -> Iterator[str]:
    """The lines of an object's type, then of those of its parts. The header's fields come first, as in a document."""
    header = _piece(schema["$ref"])[1] if "$ref" in schema else {}
    yield f"class {name}(TypedDict):"
    yield fill(f'"""{schema["description"]}"""', WIDTH, initial_indent="    ", subsequent_indent="    ")
    yield ""
    required = {*header.get("required", ()), *schema["required"]}
    for key, field in {**header.get("properties", {}), **schema["properties"]}.items():
        kind = _type(field, _part(header, name, key))
        yield from _wrapped(f"    {key}: {kind if key in required else f'NotRequired[{kind}]'}")
    for key, field in schema["properties"].items():
        for part, found in _parts(field, name + _camel(key)):
            yield from ("", "", *_classes(part, found))


def _part(header: Schema, name: str, key: str) -> str:
    """The name of an object in a field; those of the header are written once, with it."""
    return ("Header" if key in header.get("properties", {}) else name) + _camel(key)


def _piece(reference: str) -> tuple[str, Schema]:
    name = reference.rpartition("/")[2]
    return name, vxp_schemas.schema("defs")["$defs"][name]


def _parts(schema: Schema, name: str) -> Iterator[tuple[str, Schema]]:
    """The objects without a name of their own in a field, each with the name that its place gives."""
    if "$ref" in schema:
        return
    if _is_class(schema):
        yield name, schema
    elif (entry := schema.get("items") or schema.get("additionalProperties")) is not None:
        yield from _parts(entry, _singular(name))


def _type(schema: Schema, name: str) -> str:
    """A value's type as Python writes it; `name` is that of an object without one of its own."""
    if "$ref" in schema:
        piece, found = _piece(schema["$ref"])
        return _camel(piece) if _is_class(found) or _is_alias(found) else _type(found, "")
    if "const" in schema:
        return type(schema["const"]).__name__
    if "enum" in schema:
        return f"Literal[{', '.join(_literal(value) for value in schema['enum'])}]"
    if _is_class(schema):
        return name
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return " | ".join(_of_type(kind, schema, name) for kind in kinds)


def _of_type(kind: str, schema: Schema, name: str) -> str:
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"dict[str, {_type(values, _singular(name)) if values else 'Any'}]"
    if kind == "array":
        # of a list by places all entries have one type in our schemas
        entry = schema["prefixItems"][0] if "prefixItems" in schema else schema["items"]
        return f"list[{_type(entry, _singular(name))}]"
    return SCALARS[kind]


def _literal(value: str | int) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _singular(name: str) -> str:
    return name.removesuffix("ies") + "y" if name.endswith("ies") else name.removesuffix("s")


def _wrapped(line: str) -> Iterator[str]:
    """The line, broken after commas where it is too long."""
    indent = " " * (8 if line.startswith(" ") else 4)
    head, *rest = line.split(", ")
    for part in rest:
        if len(head) + len(part) + 3 > WIDTH:
            yield head + ","
            head = indent + part
        else:
            head += f", {part}"
    yield head


def main(arguments: Sequence[str] = ()) -> int:
    """Write the file, or with `--check` only compare it; returns the exit code."""
    wanted = text()
    if "--check" not in arguments:
        store.write_bytes(FILE, wanted.encode())
        return 0
    if FILE.exists() and FILE.read_text() == wanted:
        return 0
    print(f"{FILE} is out of date: run python -m vxp.maintain.types", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
