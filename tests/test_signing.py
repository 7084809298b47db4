"""Signatures, and whose word counts: every attack through the commands that a reviewer runs (12.6.4, 12.7.5 to 12.7.7)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import vxp_schemas
from bundle_tools import commanded, made_run, sealed
from vxp import audit, leaderboard, validation
from vxp.bundles import signing
from vxp.core import VxpError
from vxp.leaderboard import records, trust

METRICS = ("entropy", "deletion|steps:4")
LABS = {"lab-a": "Lab A", "lab-b": "Lab B", "auditor": "The Auditor", "second": "The Second Auditor", "stranger": "A Stranger"}


@pytest.fixture(scope="module", autouse=True)
def here() -> Iterator[None]:
    """The validator in this process: one of its own costs seconds each time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(validation, "apart", validation.validate)
        patched.setattr(validation, "all_apart", lambda paths, level, strict=False, record=False: [
            (p, validation.validate(p, level, record=record)) for p in paths])
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`one` of Lab A with its audit, `two` of Lab A and `rival` of Lab B, which both say to replace it; and keys for all."""
    folder = tmp_path_factory.mktemp("made")
    run = made_run(folder / "run", limit=24, metrics=METRICS)
    root = digest_of(sealed(run, folder / "one", submission_id="one", submitter=person("lab-a")))
    sealed(run, folder / "two", submission_id="two", submitter=person("lab-a"), supersedes=root)
    sealed(run, folder / "rival", submission_id="rival", submitter=person("lab-b"), supersedes=root)
    for name in ("one", "two", "rival"):
        found = audit.verify(folder / name, audit.Order(sample=None, nonce=audit.nonces.own("00"), batch_size=24))
        audit.write(found, folder / f"{name}.audit.json")
    for name in LABS:
        signing.new_key(folder / name)
    return folder


def person(name: str) -> dict[str, str]:
    return {"name": LABS[name], "contact": f"{name}@example.org"}


def digest_of(bundle: Path) -> str:
    return vxp_schemas.file_digest(bundle / "submission.json")


@pytest.fixture
def desk(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of it, in which the reviewer stands; trust.json names all but the stranger."""
    folder = Path(shutil.copytree(made, tmp_path / "desk", ignore=shutil.ignore_patterns("run")))
    monkeypatch.chdir(folder)
    (folder / "records").mkdir()
    for name, role in (("lab-a", ""), ("lab-b", ""), ("auditor", "--auditor"), ("second", "--auditor")):
        leaderboard.trust.add(Path("records"), Path(f"{name}.pub.pem"),
                              leaderboard.trust.Named(name, LABS[name], ("auditor",) if role else ()))
    return folder


Vxp = Callable[..., str]


@pytest.fixture
def vxp() -> Vxp:
    """Run a command line and return what it printed, both streams."""
    return commanded


def built(vxp: Vxp, name: str) -> dict[str, Any]:
    """The submission of this name on the board that the command builds."""
    vxp("leaderboard build --records records --out site")
    document = vxp_schemas.loads(Path("site/leaderboard.json").read_bytes())
    vxp_schemas.validate(document)
    found: dict[str, Any] = next(s for s in document["submissions"] if s["submission_id"] == name)
    return found


def changed(file: str, change: Callable[[dict[str, Any]], object], out: str) -> None:
    """A statement written by hand."""
    said = json.loads(Path(file).read_bytes())
    change(said["predicate"])
    Path(out).write_text(json.dumps(said, indent=2) + "\n")


def differs(predicate: dict[str, Any]) -> None:
    predicate.update(verdict="differs", evidence="E0")


def record_of(name: str) -> Path:
    (found,) = Path("records").glob(f"{name}-*")
    return found


# ------------------------------------------------------------------------------------------------------------------- keys


def test_a_new_key_is_its_owners_alone_and_overwrites_nothing(vxp: Vxp, tmp_path: Path) -> None:
    said = vxp(f"sign --new-key {tmp_path / 'mine'}")
    private, public = tmp_path / "mine.pem", tmp_path / "mine.pub.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert private.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert signing.private_key(private).public_key.keyid == signing.public_key(public).keyid
    assert signing.public_key(public).keyid in said
    before = private.read_bytes()
    assert "never overwritten" in vxp(f"sign --new-key {tmp_path / 'mine'}", 2)
    private.rename(tmp_path / "kept")
    assert "never overwritten" in vxp(f"sign --new-key {tmp_path / 'mine'}", 2)
    assert (tmp_path / "kept").read_bytes() == before
    assert not private.exists()


@pytest.mark.parametrize(("key", "said"), [
    ("lab-a.pub.pem", "holds no private key"), ("one/submission.json", "holds no private key"),
    ("nowhere.pem", "does not exist"),
])
def test_other_files_are_no_private_key(key: str, said: str, desk: Path, vxp: Vxp) -> None:
    assert said in vxp(f"sign one --key {key}", 2)
    assert not Path("one.dsse.json").exists()


def test_keys_of_another_kind_and_with_a_password_are_refused(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

    path = tmp_path / "key.pem"
    path.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(VxpError, match="expected an ed25519 key"):
        signing.private_key(path)
    path.write_bytes(ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8,
                                                                        BestAvailableEncryption(b"word")))
    with pytest.raises(VxpError, match="openssl pkey"):
        signing.private_key(path)


def test_an_envelope_is_one_that_another_program_checks(desk: Path, vxp: Vxp) -> None:
    """By the text of DSSE 1.0, with nothing of ours and nothing of securesystemslib."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    vxp("sign one --key lab-a.pem")
    envelope = json.loads(Path("one.dsse.json").read_bytes())
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"]
    key: Any = load_pem_public_key(Path("lab-a.pub.pem").read_bytes())
    key.verify(base64.b64decode(envelope["signatures"][0]["sig"]), b"DSSEv1 %d %b %d %b" % (
        len(kind), kind.encode(), len(payload), payload))
    said = json.loads(payload)
    assert (kind, said["_type"]) == ("application/vnd.in-toto+json", "https://in-toto.io/Statement/v1")
    assert said["subject"] == [{"name": "one", "digest": {"sha256": digest_of(Path("one"))[7:]}}]
    assert said["predicate"]["submitter"] == person("lab-a")
    vxp("sign two --key lab-a.pem")
    [_, said] = [json.loads(signing.read(Path(f"{name}.dsse.json")).payload) for name in ("one", "two")]
    assert said["predicate"]["supersedes"] == digest_of(Path("one"))


def test_two_sign_one_statement_and_each_once(desk: Path, vxp: Vxp) -> None:
    vxp("sign one.audit.json --key auditor.pem")
    for name in ("second", "auditor", "second"):
        vxp(f"sign one.audit.dsse.json --key {name}.pem")
    given = signing.read(Path("one.audit.dsse.json"))
    assert given.payload == Path("one.audit.json").read_bytes()
    assert sorted(keyid for keyid, _ in given.signatures) == sorted(
        signing.public_key(Path(f"{n}.pub.pem")).keyid for n in ("auditor", "second"))


def test_nothing_is_written_into_the_bundle(desk: Path, vxp: Vxp) -> None:
    assert "lies in the bundle" in vxp("sign one --key lab-a.pem --out one/mine.json", 2)


# -------------------------------------------------------------------------------------------------------------- an honest way


def test_a_signed_audit_of_a_trusted_auditor_counts(desk: Path, vxp: Vxp) -> None:
    vxp("sign one --key lab-a.pem")
    vxp("sign one.audit.json --key auditor.pem")
    said = vxp("leaderboard add one --records records --audit one.audit.dsse.json --signature one.dsse.json")
    assert "signature.json counts, signed by lab-a" in said
    assert ".json counts, signed by auditor" in said
    found = built(vxp, "one")
    assert (found["evidence"], found["shown"]) == ("E2", True)
    assert found["signature"] == {"signed_by": ["lab-a"], "trusted": True}
    [listed] = found["audits"]
    assert (listed["signed_by"], listed["trusted"], "why_not" in listed) == (["auditor"], True, False)
    assert "auditor" in next(Path("site/submissions").glob("one-*.html")).read_text()


def test_without_trust_nothing_counts_and_one_line_says_what_to_do(desk: Path, vxp: Vxp) -> None:
    Path("trust.json").unlink()
    vxp("sign one.audit.json --key auditor.pem")
    for line in ("add one --records records --audit one.audit.dsse.json", "build --records records --out site"):
        assert "vxp leaderboard trust ID --key ID.pub.pem --name NAME --auditor --records records" in vxp(f"leaderboard {line}")
    found = built(vxp, "one")
    assert (found["evidence"], found["shown"]) == ("E1", False)
    assert found["audits"][0]["why_not"] == "there is no trust.json beside the records"
    vxp("leaderboard trust auditor --key auditor.pub.pem --name 'The Auditor' --auditor --records records")
    assert built(vxp, "one")["evidence"] == "E2"


def test_statements_are_added_to_a_record_whose_maps_lie_elsewhere(desk: Path, vxp: Vxp) -> None:
    vxp("leaderboard add one --records records")
    shutil.rmtree("one")
    bundle = record_of("one") / "bundle"
    report = (record_of("one") / "report.json").read_bytes()
    vxp(f"sign {bundle} --key lab-a.pem --out mine.json")
    vxp("sign one.audit.json --key auditor.pem")
    vxp(f"leaderboard add {bundle} --records records --audit one.audit.dsse.json --signature mine.json")
    assert (record_of("one") / "report.json").read_bytes() == report
    found = built(vxp, "one")
    assert (found["evidence"], found["signature"]["trusted"]) == ("E2", True)


def test_as_many_auditors_sign_as_trust_asks_for(desk: Path, vxp: Vxp) -> None:
    document = json.loads(Path("trust.json").read_bytes())
    document["roles"]["auditors"]["threshold"] = 2
    Path("trust.json").write_text(json.dumps(document))
    vxp("sign one.audit.json --key auditor.pem")
    vxp("leaderboard add one --records records --audit one.audit.dsse.json")
    found = built(vxp, "one")
    assert (found["evidence"], found["audits"][0]["why_not"]) == ("E1", "signed by 1 of 2 auditors that trust.json asks for")
    vxp("sign one.audit.json --key second.pem --out other.json")  # on another machine; the record keeps both
    vxp("leaderboard add one --records records --audit other.json")
    found = built(vxp, "one")
    assert (found["evidence"], found["audits"][0]["signed_by"]) == ("E2", ["auditor", "second"])


def test_where_submitters_are_named_only_theirs_count(desk: Path, vxp: Vxp) -> None:
    vxp("leaderboard trust lab-a --key lab-a.pub.pem --name 'Lab A' --submitter --records records")
    vxp("sign one.audit.json --key auditor.pem")
    vxp("leaderboard add one --records records --audit one.audit.dsse.json")
    found = built(vxp, "one")
    assert found["audits"][0]["why_not"] == "the submission is not signed by a submitter of trust.json"
    vxp("sign one --key lab-a.pem")
    vxp("leaderboard add one --records records --signature one.dsse.json")
    assert built(vxp, "one")["evidence"] == "E2"


# -------------------------------------------------------------------------------------------------------------- forged audits


def test_an_unsigned_audit_is_kept_and_counts_for_nothing(desk: Path, vxp: Vxp) -> None:
    said = vxp("leaderboard add one --records records --audit one.audit.json")
    assert "does not count: unsigned" in said
    found = built(vxp, "one")
    assert found["evidence"] == "E1"
    assert found["audits"][0] | {"signed_by": [], "trusted": False, "why_not": "unsigned"} == found["audits"][0]


def test_a_forged_audit_that_a_pull_request_lays_there_counts_for_nothing(desk: Path, vxp: Vxp) -> None:
    vxp("leaderboard add one --records records")
    (record_of("one") / "audits").mkdir()
    changed("one.audit.json", lambda p: p.update(evidence="E3"), str(record_of("one") / "audits" / "0123456789ab.json"))
    found = built(vxp, "one")
    assert (found["evidence"], found["audits"][0]["why_not"]) == ("E1", "unsigned")


def test_an_audit_by_an_unknown_key_counts_for_nothing(desk: Path, vxp: Vxp) -> None:
    vxp("sign one.audit.json --key stranger.pem")
    keyid = signing.public_key(Path("stranger.pub.pem")).keyid[:12]
    why = f"signed by the key {keyid}, which trust.json does not name"
    assert f"does not count: {why}" in vxp("leaderboard add one --records records --audit one.audit.dsse.json")
    found = built(vxp, "one")
    assert (found["evidence"], found["audits"][0]["why_not"]) == ("E1", why)


def test_an_audit_by_somebody_who_is_no_auditor_counts_for_nothing(desk: Path, vxp: Vxp) -> None:
    vxp("sign one.audit.json --key lab-b.pem")
    vxp("leaderboard add one --records records --audit one.audit.dsse.json")
    found = built(vxp, "one")
    assert (found["evidence"], found["audits"][0]["why_not"]) == ("E1", "signed by lab-b, no auditor of trust.json")


def test_a_signature_over_another_root_digest_is_refused(desk: Path, vxp: Vxp) -> None:
    """VXP-I007, of each kind of statement; and laid there it stops the build."""
    vxp("sign two.audit.json --key auditor.pem")
    vxp("sign two --key lab-a.pem")
    vxp("sign two --key lab-a.pem --withdraw --reason 'A mistake.'")
    for option in ("--audit two.audit.dsse.json", "--signature two.dsse.json", "--withdrawal two.withdrawal.dsse.json"):
        assert "VXP-I007" in vxp(f"leaderboard add one --records records {option}", 1)
    assert not list(Path("records").iterdir())
    vxp("leaderboard add one --records records")
    shutil.copy("two.dsse.json", record_of("one") / "signature.json")
    assert "VXP-I007" in vxp("leaderboard build --records records --out site", 1)


def test_a_statement_of_one_kind_does_not_pass_for_another(desk: Path, vxp: Vxp) -> None:
    vxp("sign one --key lab-a.pem")
    for option, words in (("--audit", "audit of vxp verify"), ("--withdrawal", "withdrawal of vxp sign --withdraw")):
        assert words in vxp(f"leaderboard add one --records records {option} one.dsse.json", 2)


def test_a_signature_that_says_something_else_than_the_bundle_is_refused(desk: Path, vxp: Vxp) -> None:
    """VXP-I007: signed by the right key, over the right root digest, in the name of another or in place of another."""
    key = signing.private_key(Path("lab-a.pem"))
    for change in ({"supersedes": digest_of(Path("two"))}, {"submitter": person("lab-b")}, {"submission_id": "three"}):
        said = json.loads(signing.of_bundle(Path("one")))
        said["predicate"] |= change
        given = signing.signed(signing.Signed(json.dumps(said).encode()), key)
        Path("other.json").write_bytes(given.stored)
        assert "as submission.json says" in vxp("leaderboard add one --records records --signature other.json", 1)


def altered(file: str) -> None:
    """An envelope whose payload says E3, under the signature of before."""
    envelope = json.loads(Path(file).read_bytes())
    said = base64.b64decode(envelope["payload"]).replace(b'"evidence": "E2"', b'"evidence": "E3"')
    assert b'"evidence": "E3"' in said
    Path(file).write_text(json.dumps(envelope | {"payload": base64.b64encode(said).decode()}))


def test_an_envelope_with_another_payload_is_refused(desk: Path, vxp: Vxp) -> None:
    """VXP-I008; and laid there it counts for nothing."""
    vxp("sign one.audit.json --key auditor.pem")
    altered("one.audit.dsse.json")
    assert "VXP-I008" in vxp("leaderboard add one --records records --audit one.audit.dsse.json", 1)
    assert not list(Path("records").iterdir())
    vxp("leaderboard add one --records records")
    (record_of("one") / "audits").mkdir()
    shutil.copy("one.audit.dsse.json", record_of("one") / "audits" / "0123456789ab.json")
    found = built(vxp, "one")
    assert found["evidence"] == "E1"
    assert "does not fit the statement" in found["audits"][0]["why_not"]


def test_a_broken_signature_does_not_push_out_a_good_one(desk: Path, vxp: Vxp) -> None:
    """Over the same statement: by a stranger, by nobody, and by a stranger who writes the auditor's key id to it."""
    vxp("sign one.audit.json --key auditor.pem")
    vxp("leaderboard add one --records records --audit one.audit.dsse.json")
    vxp("sign one.audit.json --key stranger.pem --out junk.json")
    vxp("leaderboard add one --records records --audit junk.json")
    vxp("leaderboard add one --records records --audit one.audit.json")
    envelope = json.loads(Path("junk.json").read_bytes())
    envelope["signatures"][0]["keyid"] = signing.public_key(Path("auditor.pub.pem")).keyid
    Path("junk.json").write_text(json.dumps(envelope))
    assert "VXP-I008" in vxp("leaderboard add one --records records --audit junk.json", 1)
    found = built(vxp, "one")
    assert (found["evidence"], found["audits"][0]["signed_by"]) == ("E2", ["auditor"])


def test_an_expired_key_is_refused_and_counts_for_nothing(desk: Path, vxp: Vxp) -> None:
    """VXP-I009: by the clock when a statement is added, so that nobody dates one back; by its date when the board is built."""
    vxp("sign one.audit.json --key auditor.pem")
    vxp("leaderboard add one --records records --audit one.audit.dsse.json")
    auditor = "leaderboard trust auditor --key auditor.pub.pem --name 'The Auditor' --records records --expires"
    vxp(f"{auditor} 2026-01-31T00:00:00Z")
    found = built(vxp, "one")
    assert found["evidence"] == "E1"
    assert "signed after the end of the key" in found["audits"][0]["why_not"]
    changed("one.audit.json", lambda p: p.update(created="2026-01-01T00:00:00Z"), "back.json")
    vxp("sign back.json --key auditor.pem")
    assert "VXP-I009" in vxp("leaderboard add one --records records --audit back.dsse.json", 1)
    vxp(f"{auditor} 2999-01-31T00:00:00Z")
    assert built(vxp, "one")["evidence"] == "E2"


def test_the_submitter_does_not_audit_himself(desk: Path, vxp: Vxp) -> None:
    """As who signed the submission, and as who is named in it and signed nothing."""
    vxp("leaderboard trust lab-a --key lab-a.pub.pem --name 'Lab A' --auditor --records records")
    vxp("sign one.audit.json --key lab-a.pem")
    vxp("leaderboard add one --records records --audit one.audit.dsse.json")
    found = built(vxp, "one")
    assert (found["evidence"], found["audits"][0]["why_not"]) == ("E1", "signed by lab-a, who submitted")
    vxp("sign one --key lab-a.pem")
    vxp("leaderboard add one --records records --signature one.dsse.json")
    found = built(vxp, "one")
    assert (found["evidence"], found["audits"][0]["why_not"]) == ("E1", "signed by lab-a, who submitted")


def test_an_auditor_who_submits_in_anothers_name_does_not_audit_it(desk: Path, vxp: Vxp) -> None:
    vxp("sign one --key auditor.pem")
    vxp("sign one.audit.json --key auditor.pem")
    vxp("leaderboard add one --records records --audit one.audit.dsse.json --signature one.dsse.json")
    found = built(vxp, "one")
    assert (found["evidence"], found["audits"][0]["why_not"]) == ("E1", "signed by auditor, who submitted")
    assert found["signature"]["why_not"] == "signed by auditor (The Auditor), not by Lab A, the submitter"


# ------------------------------------------------------------------------------------------------------ audits that differ


def test_a_strangers_differs_hides_nobody(desk: Path, vxp: Vxp) -> None:
    vxp("sign one.audit.json --key auditor.pem")
    changed("one.audit.json", differs, "smear.json")
    vxp("sign smear.json --key stranger.pem --out smear.stranger.json")
    vxp("sign smear.json --key lab-b.pem --out smear.rival.json")
    for file in ("one.audit.dsse.json", "smear.json", "smear.stranger.json", "smear.rival.json"):
        vxp(f"leaderboard add one --records records --audit {file}")
    found = built(vxp, "one")
    assert (found["evidence"], found["refuted"], found["shown"]) == ("E2", False, True)
    assert {a["verdict"]: a["trusted"] for a in found["audits"]} == {"reproduced": True, "differs": False}


def test_a_differs_is_not_lost_by_running_again(desk: Path, vxp: Vxp) -> None:
    changed("one.audit.json", differs, "differs.json")
    vxp("sign differs.json --key auditor.pem")
    vxp("leaderboard add one --records records --audit differs.dsse.json")
    assert built(vxp, "one")["refuted"]
    # by the same auditor without a word about it, and by another who names it
    vxp("sign one.audit.json --key auditor.pem")
    vxp("sign one.audit.json --key second.pem --replaces differs.dsse.json --out second.json")
    for file in ("one.audit.dsse.json", "second.json"):
        vxp(f"leaderboard add one --records records --audit {file}")
        found = built(vxp, "one")
        assert (found["evidence"], found["refuted"], found["shown"]) == ("E1", True, False)
    vxp("sign one.audit.json --key auditor.pem --replaces differs.dsse.json --out again.json")
    vxp("leaderboard add one --records records --audit again.json")
    found = built(vxp, "one")
    assert (found["evidence"], found["refuted"], len(found["audits"])) == ("E2", False, 3)
    [taken] = [a for a in found["audits"] if a["verdict"] == "differs"]
    assert taken["why_not"] == f"withdrawn by its auditor with {signing.name(signing.read(Path('again.json')))}"


def test_one_auditor_is_enough_to_differ(desk: Path, vxp: Vxp) -> None:
    document = json.loads(Path("trust.json").read_bytes())
    document["roles"]["auditors"]["threshold"] = 2
    Path("trust.json").write_text(json.dumps(document))
    changed("one.audit.json", differs, "differs.json")
    vxp("sign differs.json --key second.pem")
    vxp("leaderboard add one --records records --audit differs.dsse.json")
    assert built(vxp, "one")["refuted"]


def test_an_audit_replaces_one_of_the_same_bundle(desk: Path, vxp: Vxp) -> None:
    assert "is an audit of" in vxp("sign one.audit.json --key auditor.pem --replaces two.audit.json", 2)
    assert "itself" in vxp("sign one.audit.json --key auditor.pem --replaces one.audit.json", 2)


# ----------------------------------------------------------------------------------------- taking a place, and taking back


def submitted(vxp: Vxp, name: str, key: str) -> None:
    """Added with a signature, where a key is named, and with an audit that counts."""
    vxp(f"sign {name}.audit.json --key auditor.pem")
    if key:
        vxp(f"sign {name} --key {key}.pem")
    option = f" --signature {name}.dsse.json" if key else ""
    vxp(f"leaderboard add {name} --records records --audit {name}.audit.dsse.json{option}")


@pytest.mark.parametrize(("first", "name", "key", "why"), [
    ("lab-a", "two", "lab-a", ""),
    ("lab-a", "rival", "lab-b", "this submission is signed by lab-b, the earlier one by lab-a"),
    ("lab-a", "two", "lab-b", "this submission: signed by lab-b (Lab B), not by Lab A, the submitter"),
    ("lab-a", "two", "", "this submission: unsigned"),
    ("", "two", "lab-a", "the earlier one: unsigned"),
    ("", "two", "", "this submission: unsigned"),
])
def test_only_the_same_identity_supersedes(first: str, name: str, key: str, why: str, desk: Path, vxp: Vxp) -> None:
    submitted(vxp, "one", first)
    submitted(vxp, name, key)
    earlier, later = built(vxp, "one"), built(vxp, name)
    assert earlier["shown"] == bool(why)
    assert later["supersedes"] == {"root_digest": digest_of(Path("one")), "counts": not why} | ({"why_not": why} if why else {})
    assert later["shown"]
    assert (why in next(Path("site/submissions").glob(f"{name}-*.html")).read_text()) or not why


def test_a_withdrawal_hides_the_submission_with_its_reason(desk: Path, vxp: Vxp) -> None:
    submitted(vxp, "one", "lab-a")
    vxp("sign one --key lab-a.pem --withdraw --reason 'A wrong layer.'")
    vxp("leaderboard add one --records records --withdrawal one.withdrawal.dsse.json")
    found = built(vxp, "one")
    assert (found["shown"], found["hidden_because"]) == (False, ["withdrawn by lab-a: A wrong layer."])
    assert (found["withdrawal"]["reason"], found["withdrawal"]["trusted"]) == ("A wrong layer.", True)
    assert "A wrong layer." in next(Path("site/submissions").glob("one-*.html")).read_text()
    assert (record_of("one") / "bundle" / "submission.json").exists()


@pytest.mark.parametrize("key", ["stranger", "lab-b", "auditor"])
def test_a_stranger_withdraws_nothing(key: str, desk: Path, vxp: Vxp) -> None:
    """VXP-I010; and laid there it counts for nothing."""
    submitted(vxp, "one", "lab-a")
    vxp(f"sign one --key {key}.pem --withdraw --reason 'Better so.'")
    assert "VXP-I010" in vxp("leaderboard add one --records records --withdrawal one.withdrawal.dsse.json", 1)
    shutil.copy("one.withdrawal.dsse.json", record_of("one") / "withdrawal.json")
    found = built(vxp, "one")
    assert found["shown"]
    assert not found["withdrawal"]["trusted"]


def test_an_unsigned_submission_cannot_be_withdrawn(desk: Path, vxp: Vxp) -> None:
    submitted(vxp, "one", "")
    vxp("sign one --key lab-a.pem --withdraw --reason 'A wrong layer.'")
    assert "the submission: unsigned" in vxp("leaderboard add one --records records --withdrawal one.withdrawal.dsse.json", 1)
    vxp("sign one --key lab-a.pem")
    vxp("leaderboard add one --records records --signature one.dsse.json --withdrawal one.withdrawal.dsse.json")
    assert not built(vxp, "one")["shown"]


def test_a_trusted_signature_does_not_give_way(desk: Path, vxp: Vxp) -> None:
    submitted(vxp, "one", "lab-a")
    for key in ("stranger", "lab-b"):
        vxp(f"sign one --key {key}.pem")
        vxp("leaderboard add one --records records --signature one.dsse.json")
        assert built(vxp, "one")["signature"] == {"signed_by": ["lab-a"], "trusted": True}


# -------------------------------------------------------------------------------------------------------------- trust.json


ZEROS = "0" * 64


def put(document: Any, pointer: str, value: Any) -> Any:
    """A copy with one value set."""
    whole = json.loads(json.dumps(document))
    *parents, last = pointer.strip("/").split("/")
    place = whole
    for part in parents:
        place = place[part]
    place[last] = value
    return whole


@pytest.mark.parametrize(("pointer", "value", "said"), [
    ("/type", "https://vxp.example/audit/v1", "audit document"),
    ("/keys", {}, "is no key of /keys"),
    (f"/keys/{ZEROS}", {"keytype": "ed25519", "scheme": "ed25519", "keyval": {"public": ZEROS}}, "is not of this public key"),
    (f"/keys/{ZEROS}", {"keytype": "rsa", "scheme": "ed25519", "keyval": {"public": ZEROS}}, '"ed25519"'),
    ("/identities/nobody", {"name": "Nobody"}, "expected keyids or sigstore"),
    ("/identities/lab-b/name", "LAB A", "the name 'lab a' is of lab-a too"),
    ("/roles/auditors/identities", ["auditor", "somebody"], "somebody is no identity"),
    ("/roles/auditors/threshold", 3, "expected at most 2"),
    ("/roles/auditors/threshold", 0, "at least 1"),
    ("/roles/judges", {"identities": []}, "an unknown field 'judges'"),
])
def test_a_malformed_trust_is_refused_and_named(pointer: str, value: Any, said: str, desk: Path, vxp: Vxp) -> None:
    Path("trust.json").write_text(json.dumps(put(json.loads(Path("trust.json").read_bytes()), pointer, value)))
    for line in ("add one --records records", "build --records records --out site"):
        printed = vxp(f"leaderboard {line}", 2)
        assert "trust.json" in printed
        assert said in printed
    assert not list(Path("records").iterdir())
    assert not Path("site").exists()


def test_a_key_of_two_identities_is_refused(desk: Path, vxp: Vxp) -> None:
    before = Path("trust.json").read_bytes()
    assert "is of lab-a too" in vxp("leaderboard trust other --key lab-a.pub.pem --name Other --records records", 2)
    assert "choose another id" in vxp("leaderboard trust lab-a --key stranger.pub.pem --name Other --records records", 2)
    assert "trust.json" in vxp("leaderboard trust lab-a --key lab-a.pub.pem --name 'Lab A' --expires soon --records records", 2)
    assert Path("trust.json").read_bytes() == before


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[]", b'{"type": "https://vxp.example/trust/v1"}'])
def test_a_trust_that_is_no_document_is_refused(text: bytes, desk: Path, vxp: Vxp) -> None:
    Path("trust.json").write_bytes(text)
    assert "trust.json" in vxp("leaderboard build --records records --out site", 2)


def test_a_trust_that_is_a_pipe_is_not_waited_for(desk: Path, vxp: Vxp) -> None:
    Path("trust.json").unlink()
    os.mkfifo("trust.json")
    assert "no regular file" in vxp("leaderboard build --records records --out site", 2)


# ------------------------------------------------------------------------------------------------------------------ envelopes


@pytest.mark.parametrize("change", [
    lambda e: e.pop("signatures"), lambda e: e.update(signatures=[]), lambda e: e.update(signatures=e["signatures"] * 17),
    lambda e: e.update(signatures={"keyid": "x"}), lambda e: e["signatures"][0].update(sig="not base64!"),
    lambda e: e["signatures"][0].update(keyid=3), lambda e: e.update(payload=7), lambda e: e.update(payload="%%%"),
    lambda e: e.update(payloadType="text/plain"), lambda e: e.update(payload=base64.b64encode(b"{").decode()),
])
def test_an_envelope_that_is_none_is_said_in_words(change: Callable[[Any], object], desk: Path, vxp: Vxp) -> None:
    vxp("sign one.audit.json --key auditor.pem")
    envelope = json.loads(Path("one.audit.dsse.json").read_bytes())
    change(envelope)
    Path("bad.json").write_text(json.dumps(envelope))
    assert "bad.json" in vxp("leaderboard add one --records records --audit bad.json", 2)
    assert not list(Path("records").iterdir())


# -------------------------------------------------------------------------------------------------------------------- keyless


def keyless(desk: Path) -> None:
    """A Sigstore bundle over the audit, of the form that sigstore writes, by nobody; and a trust that names somebody."""
    payload = base64.b64encode(Path("one.audit.json").read_bytes()).decode()
    bundle = {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "verificationMaterial": {}, "dsseEnvelope": {
        "payload": payload, "payloadType": "application/vnd.in-toto+json", "signatures": [{"sig": "AAAA"}]}}
    Path("keyless.json").write_text(json.dumps(bundle))
    document = json.loads(Path("trust.json").read_bytes())
    document["identities"]["auditor"]["sigstore"] = [{"issuer": "https://issuer.example", "subject": "auditor@example.org"}]
    Path("trust.json").write_text(json.dumps(document))


def test_a_keyless_statement_needs_sigstore_or_is_checked_by_it(desk: Path, vxp: Vxp) -> None:
    keyless(desk)
    try:
        import sigstore  # noqa: F401
    except ImportError:
        assert "pip install 'vxp[sigstore]'" in vxp("leaderboard add one --records records --audit keyless.json", 2)
        assert not list(Path("records").iterdir())
    else:
        assert "does not count: signed by a keyless identity" in vxp(
            "leaderboard add one --records records --audit keyless.json")


def test_a_keyless_statement_of_nobody_whom_trust_names_counts_for_nothing(desk: Path, vxp: Vxp) -> None:
    before = Path("trust.json").read_bytes()
    keyless(desk)
    Path("trust.json").write_bytes(before)
    vxp("leaderboard add one --records records --audit keyless.json")
    found = built(vxp, "one")
    assert (found["evidence"], found["audits"][0]["why_not"]) == (
        "E1", "signed by a keyless identity, which trust.json does not name")
    assert found["audits"][0]["file"].endswith(".sigstore.json")


def test_the_records_of_the_module_are_those_of_the_commands(desk: Path, vxp: Vxp) -> None:
    """What `read_all` says of a record is what the board says."""
    submitted(vxp, "one", "lab-a")
    [record], wrong = records.read_all(Path("records"))
    assert not wrong
    assert (record.identity, record.evidence, record.withdrawn) == ("lab-a", "E2", None)
    assert trust.read(Path("records")).auditors == {"auditor", "second"}
