"""How a result is cited, and the command that computes it again."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

import vxp_schemas
from vxp_schemas import typed

from vxp.bundles import ROOT, open_bundle
from vxp.documents import own_items, store
from vxp.documents.findings import plain
from vxp.errors import VxpError
from vxp.origin import OWN_FILE

OUTSIDE = "outside:"
"""What the entry point of a system begins with whose maps were imported."""


def command(
    *, task: typed.Ref, model: typed.Ref, systems: Sequence[typed.System], metrics: Sequence[str],
    settings: typed.Settings, scored: bool = False,
) -> str:
    """The command that makes results again. IMAGES, CLIPS, FEATURES, MODEL, DATA, SET and DIR stand for what only the
    reader has, and so do the files of explainers.

    task, model: references. systems: the documents of the methods; scored: their maps were made before.
    """
    scored = scored or any(system["implementation"]["entry_point"].startswith(OUTSIDE) for system in systems)
    parts = ["vxp", "score", "SET"] if scored else ["vxp", "run"]
    card = vxp_schemas.registry("tasks").get(f"{task['id']}@{task['version']}")
    if card is None:
        own = own_items(task["id"])
        parts += [f"--{own}", own.upper()]
    elif not scored:
        parts.append(task["id"])
    if card is not None and card["status"] == "template":
        parts += ["--data", "DATA"]
    if card is None or model["id"] != card["model"]["id"]:
        known = f"{model['id']}@{model['version']}" in vxp_schemas.registry("models")
        parts += ["--model", model["id"] if known else "MODEL"]
    for system in systems if not scored else ():
        parts += ["--explainer", _explainer(system)]
    parts += ["--metrics", ",".join(metrics)]
    parts += ["--device", settings["device"], "--precision", settings["precision"], "--batch-size", str(settings["batch_size"]),
              "--threads", str(settings["threads"])]
    if "until" in settings:
        parts += ["--until", settings["until"]]
    elif settings["limit"]:
        parts += ["--limit", str(settings["limit"])]
    parts += ["--compile"] if settings.get("compile") else []
    on_cpu = settings["device"] == "cpu"
    if settings.get("channels_last", on_cpu) != on_cpu:
        parts.append("--no-channels-last" if on_cpu else "--channels-last")
    return shlex.join([*parts, "--out", "DIR"])


def _explainer(system: typed.System) -> str:
    """The explainer of a system as the command line names it: by its id, or of a file of one's own by file and name."""
    method = system["method"]
    module, _, name = system["implementation"]["entry_point"].partition(":")
    head = f"{module.removeprefix(OWN_FILE)}.py:{name}" if module.startswith(OWN_FILE) else method["name"]
    # as the parameters of a command line are read: text as it is, all else as JSON
    given = [f"|{key}:{value if isinstance(value, str) else json.dumps(value)}"
             for key, value in method["parameters"].items() if value is not None]
    return head + "".join(given)


def of_submission(submission: typed.Submission, root_digest: str, results: Sequence[typed.Result]) -> str:
    """A BibTeX entry of a sealed submission: its authors, and the digest that nothing can be changed under."""
    tasks = sorted({f"{r['task']['id']}@{r['task']['version']} ({r['model']['id']}@{r['model']['version']})" for r in results})
    year = submission["created"][:4]
    return _bibtex(f"{submission['submission_id']}-{root_digest[7:15]}", {
        "author": " and ".join(map(_author, submission["authors"])), "title": _tex(submission["title"]), "year": year,
        "howpublished": "Submission to the Visual Explanation Protocol (VXP)",
        "note": _tex(f"Tasks {', '.join(tasks)}; root digest {root_digest}; licence {submission['license']}")})


def of_result(document: typed.Result) -> str:
    """A BibTeX entry of a result that nobody has sealed: what was computed, by which harness."""
    task, model = document["task"], document["model"]
    return _bibtex(f"vxp-{document['result_id']}", {
        "title": _tex(f"{document['explainer']['id']} on {task['id']}@{task['version']}, scored by the Visual Explanation "
                      "Protocol"),
        "year": document["created"][:4], "howpublished": _tex(f"vxp {document['harness']['version']}, unpublished result"),
        "note": _tex(f"Task {task['digest']}; model {model['id']}@{model['version']} {model['digest']}; samples "
                     f"{document['samples']['digest']}")})


def cite(path: Path) -> str:
    """The entry of a bundle, or of a result by its result.json or folder; VxpError for anything else."""
    if path.is_dir() and not (path / ROOT).is_file() and (path / "result.json").is_file():
        path = path / "result.json"
    if path.suffix == ".json" and path.is_file():
        return of_result(store.read_document(path, typed.Result))
    if not path.exists():
        raise VxpError(f"{path} does not exist: expected a result.json, its folder, or a bundle")
    inside = sorted(path.glob("results/*/result.json")) if not (path / ROOT).is_file() else []
    if inside:
        raise VxpError(f"{path} holds {len(inside)} results, and one is cited: vxp cite {shlex.quote(str(inside[0].parent))}")
    bundle = open_bundle(path)
    results = [bundle.document(d["path"], typed.Result) for d in bundle.submission["results"]]
    return of_submission(bundle.submission, bundle.root_digest, results)


# BibTeX counts braces behind a backslash too, so that one in a title would end its field
SPECIAL = str.maketrans({"\\": r"\textbackslash{}", "{": r"\textbraceleft{}", "}": r"\textbraceright{}", "%": r"\%", "&": r"\&",
                         "#": r"\#", "_": r"\_", "$": r"\$", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\n": " ",
                         "\t": " "})


def _tex(text: str) -> str:
    """A stranger's text as LaTeX shows it, on one line."""
    return plain(text.translate(SPECIAL))


def _author(name: str) -> str:
    """A name; one with an `and` or a comma of its own stays whole in braces."""
    return f"{{{_tex(name)}}}" if re.search(r"(?i)\sand\s|,", name) else _tex(name)


def _bibtex(key: str, fields: Mapping[str, str]) -> str:
    lines = [f"  {name:<13}= {{{value}}}," for name, value in fields.items()]
    return f"@misc{{{re.sub('[^a-zA-Z0-9-]', '-', key)},\n" + "\n".join(lines) + "\n}\n"
