"""The references of a results repository: computed by its keepers once per task and model, never taken from a submission.

```
references/<task id>-<first 12 digits of the digest of the task's and the model's digests>/
  results/<set>/result.json  samples.parquet  references.parquet ...    of one reference, which has all of them beside it
```
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import vxp_schemas
from vxp_schemas import typed

from vxp.audit import tolerances
from vxp.core import VxpError
from vxp.documents import Beside, store
from vxp.documents.findings import Findings
from vxp.report import compare
from vxp.report.compare import Samples

FOLDER = "references"
KEPT: tuple[Beside, ...] = ("samples", "statistics", "reference_samples", "reference_statistics", "environment")
"""The files of a result that are kept: all but the curves."""

TIES = 0.01
"""So far may the mean of a reference be off whatever the score. Another processor rounds the last bit of an exponential
otherwise, which orders the equal values of centre-gaussian otherwise: 2e-4 was seen. Another model, other items or another
harness move some score by much more."""

Place = tuple[str, str]
"""The digests of a task and a model."""


def place(document: typed.Result) -> Place:
    """Task and model of a result, by digest."""
    return str(document["task"]["digest"]), str(document["model"]["digest"])


def beside(records: Path) -> Path:
    """The folder of the references of the records in this folder."""
    return records.parent / FOLDER


def keep(run: Path, records: Path) -> Path:
    """Keep the references of a finished run for the task and model that it was made on; returns their folder.

    VxpError unless the run was made in fp32 and is finished.
    """
    file = next((f for f in sorted(run.glob("results/*/result.json")) if compare.read(f).references), None)
    if file is None:
        raise VxpError(f"{run} has no result with references beside it: expected the folder of a finished vxp run")
    document = compare.read(file).document
    if document["settings"]["precision"] != "fp32":
        raise VxpError(f"{run} was computed in {document['settings']['precision']}: expected fp32, the reference precision")
    digest = vxp_schemas.digest(list(place(document))).removeprefix("sha256:")
    target = beside(records) / f"{document['task']['id']}-{digest[:12]}"
    if target.exists():
        raise VxpError(f"{target} is there already: delete it first if its figures are to be replaced")
    with store.whole(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as temporary:
            top = Path(temporary) / "references"
            store.write_bytes(top / "results" / file.parent.name / file.name, store.read_file(file))
            for described in (document[k] for k in KEPT if k in document):
                store.write_bytes(top / described["path"], store.read_described(run, described))
            os.replace(top, target)
    return target


@dataclass(frozen=True)
class References:
    """By task and model the file of the kept references, and a digest of all of them."""

    files: Mapping[Place, Path] = field(default_factory=dict)
    digests: Mapping[Place, str] = field(default_factory=dict)
    _read: dict[Path, Mapping[str, Samples]] = field(default_factory=dict)

    def of(self, document: typed.Result) -> Mapping[str, Samples]:
        """Those of the task and model of a result, by their ids; read when they are first asked for."""
        file = self.files.get(place(document))
        if file is None:
            return {}
        if file not in self._read:
            self._read[file] = compare.read(file).references
        return self._read[file]


def read_all(records: Path) -> References:
    """The references that are kept beside the records; none where none were. VxpError where a file is damaged."""
    files, digests = {}, {}
    for file in sorted(beside(records).glob("[!.]*/results/*/result.json")):
        document = store.read_document(file, typed.Result)
        for described in (document[k] for k in KEPT if k in document):
            store.read_described(file.parents[2], described)
        files[place(document)] = file
        digests[place(document)] = store.digest(store.read_file(file))  # which binds the others
    return References(files, digests)


def check(results: Sequence[Samples], kept: References, findings: Findings) -> None:
    """What a submission states of the references and what the repository computed of them must be one."""
    for samples in results:
        own, precision = kept.of(samples.document), samples.document["settings"]["precision"]
        for reference in samples.document["references"]:
            known = own.get(reference["explainer"])
            means = {} if known is None else {s["signature"]: s.get("mean") for s in known.document["scores"]}
            for score in reference["scores"]:
                signature, expected, got = score["signature"], means.get(score["signature"]), score.get("mean")
                if expected is None or got is None:
                    continue
                limit = max(TIES, tolerances.of_score(signature, (precision, "fp32"))) * max(1.0, abs(expected))
                if abs(got - expected) > limit:
                    findings.add("VXP-K030", samples.document["result_id"], f"{reference['explainer']}, {signature}",
                                 f"mean {got:.6g}", f"{expected:.6g} within {limit:.2g}, which the repository computed")


__all__ = ["FOLDER", "References", "beside", "check", "keep", "place", "read_all"]
