"""The types of documents are those of the schemas, and a document gets its type at one door."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, get_args, get_origin, get_type_hints

import pytest
import vxp_schemas
from vxp.audit import Order, verify
from vxp.bundles import open_bundle
from vxp.documents import header, store
from vxp.errors import VxpError
from vxp.maintain import types
from vxp_schemas import typed

EXAMPLES = Path(__file__).parent / "schema_examples"


def test_the_file_is_what_the_schemas_give() -> None:
    assert types.FILE.read_text() == types.text(), "typed.py is out of date: run python -m vxp.maintain.types"


def test_check_tells_a_file_that_is_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(types, "FILE", tmp_path / "typed.py")
    for content in (None, "Status = str\n"):
        if content is not None:
            types.FILE.write_text(content)
        assert types.main(["--check"]) == 1
        assert "typed.py is out of date: run python -m vxp.maintain.types" in capsys.readouterr().err
    assert types.main([]) == 0
    assert types.main(["--check"]) == 0
    assert types.FILE.read_bytes() == Path(str(typed.__file__)).read_bytes()


@pytest.mark.parametrize("name", vxp_schemas.DOCUMENT_TYPES.values())
def test_a_type_has_the_fields_of_its_schema(name: str) -> None:
    shared = vxp_schemas.schema("defs")["$defs"]
    schema = vxp_schemas.schema(name)
    hints = get_type_hints(getattr(typed, name.capitalize()), include_extras=True)
    assert set(hints) == set(shared["header"]["properties"]) | set(schema["properties"])
    required = {key for key, hint in hints.items() if get_origin(hint) is not NotRequired}
    assert required == {*shared["header"]["required"], *schema["required"]}


@pytest.mark.parametrize("name", vxp_schemas.DOCUMENT_TYPES.values())
def test_documents_are_of_their_types(name: str) -> None:
    """By a slower reading of the types, which looks at every value: the example of the schema, and what the registry has."""
    hint = getattr(typed, name.capitalize())
    example = vxp_schemas.loads((EXAMPLES / f"{name}.json").read_bytes())
    registered = vxp_schemas.registry(f"{name}s") if name in ("task", "model", "dataset", "metric") else {}
    for document in (example, *registered.values()):
        assert _is_of(document, hint), document
    assert not _is_of({**example, "spec_version": 1}, hint)


def _is_of(value: Any, hint: Any) -> bool:
    if get_origin(hint) is NotRequired:
        return _is_of(value, get_args(hint)[0])
    if isinstance(hint, type) and hasattr(hint, "__required_keys__"):
        fields = get_type_hints(hint, include_extras=True)
        needed = {key for key, field in fields.items() if get_origin(field) is not NotRequired}
        return needed <= set(value) <= set(fields) and all(_is_of(entry, fields[key]) for key, entry in value.items())
    if get_origin(hint) is list:
        return isinstance(value, list) and all(_is_of(entry, get_args(hint)[0]) for entry in value)
    if get_origin(hint) is dict:
        return isinstance(value, Mapping) and all(_is_of(entry, get_args(hint)[1]) for entry in value.values())
    if hint is Any:
        return True
    if isinstance(hint, type):
        return isinstance(value, int if hint is float and isinstance(value, int) else hint)
    # a union of types, or a list of values
    return any(_is_of(value, part) if isinstance(part, type) else value == part for part in get_args(hint))


def test_a_document_of_another_kind_has_no_type(tmp_path: Path) -> None:
    withdrawal = {**header(typed.Withdrawal), "submission_id": "mine", "reason": "an error"}
    assert vxp_schemas.valid(withdrawal, typed.Withdrawal) is withdrawal
    with pytest.raises(vxp_schemas.InvalidDocument, match=r"/type: found .*withdrawal/v1.*, expected .*/result/v1"):
        vxp_schemas.valid(withdrawal, typed.Result)
    with pytest.raises(vxp_schemas.InvalidDocument, match="/reason: found nothing"):
        vxp_schemas.valid({k: v for k, v in withdrawal.items() if k != "reason"}, typed.Withdrawal)
    with pytest.raises(vxp_schemas.UnknownName, match=r"unknown type of a document 'ResultScore', expected .*; did you"):
        vxp_schemas.valid(withdrawal, typed.ResultScore)
    store.write_document(tmp_path / "result.json", withdrawal)
    with pytest.raises(VxpError, match=r"result.json: .*\n  /type: found .*withdrawal/v1"):
        store.read_document(tmp_path / "result.json", typed.Result)
    assert store.read_document(tmp_path / "result.json", typed.Withdrawal) == withdrawal


def test_a_root_document_of_another_kind_is_named(tmp_path: Path) -> None:
    """It was read as a submission, whose fields it has not: a KeyError."""
    withdrawal = header(typed.Withdrawal) | {"submission_id": "mine", "reason": "an error"}
    store.write_document(tmp_path / "submission.json", withdrawal)
    for read in (lambda: open_bundle(tmp_path).submission, lambda: verify(tmp_path, Order())):
        with pytest.raises(VxpError, match=r"submission.json: .*\n  /type: found .*withdrawal/v1.*, expected .*/submission/v1"):
            read()
