"""`python docs/_generate.py` writes what is made from the code: the reference pages, rows of the README, in the standard the
facts of every metric, the index, the statuses and the links of labels.

tests/test_docs.py holds the pages to what this script gives, so that a page never says what the code does not do.
"""

from __future__ import annotations

import functools
import html
import inspect
import re
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer.main
import vxp
import vxp_schemas
from vxp import core, datasets, explainers, kinds, metrics, models, tasks
from vxp.audit import tolerances
from vxp.cli import app
from vxp.core import Explainer, Metric
from vxp.documents import findings
from vxp.origin import ours
from vxp.report.words import direction
from vxp.runs import result
from vxp.validation import LEVELS

DOCS = Path(__file__).parent
SPEC = DOCS.parent / "spec"
NOTE = "<!-- Made by `python docs/_generate.py`; do not edit. -->"


def page(title: str, *blocks: str) -> str:
    return "\n\n".join([f"# {title}", NOTE, *(block for block in blocks if block)]) + "\n"


def rules_page() -> str:
    """The validator's catalogue, a section per level."""
    blocks = ["Every finding of `vxp validate` and `vxp verify` has a code of this catalogue, which the program reads as well "
              "(`vxp explain-code VXP-C002`). An error makes a bundle invalid, a warning counts under `--strict`, a flag is "
              "for a reviewer to judge. A code is never used again."]
    for level in LEVELS:
        found = [r for r in findings.rules().values() if r.level == level]
        blocks.append(f"## Level {level}\n\n" + table(
            ["code", "severity", "rule", "clause", "why", "what to do"],
            [[code(r.code), r.severity, prose(r.title), r.clause, prose(r.why), prose(r.fix)] for r in found]))
    return page("Rules of the validator", *blocks)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, or nothing where there are no rows."""
    body = [f"| {' | '.join(map(cell, row))} |" for row in rows]
    if not body:
        return ""
    return "\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *body])


def cell(text: str) -> str:
    """Text of a cell. Dialects of Markdown differ in how a bar is escaped in code; they agree on HTML."""
    bars = re.sub(r"`([^`]*\|[^`]*)`", lambda found: f"<code>{html.escape(found[1])}</code>", text)
    return bars.replace("|", "&#124;")


def prose(text: str) -> str:
    """Docstring text as Markdown: one line, and signs that Markdown would read are escaped outside of code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(p if p.startswith("`") else re.sub(r"([*_\\])", r"\\\1", p).replace("<", "&lt;") for p in parts)


def described(function: Callable[..., Any]) -> str:
    """The paragraphs of a function's docstring."""
    return "\n\n".join(prose(part) for part in (inspect.getdoc(function) or "").split("\n\n"))


def code(value: object) -> str:
    return f"`{value}`"


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    return bullets(f"**{name}**: {value}" for name, value in pairs if value)


def settings(parameters: Mapping[str, Any]) -> str:
    return ", ".join(f"{code(name)} = {code(value)}" for name, value in parameters.items()) or "none"


def bullets(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)


# ------------------------------------------------------------------------------------------------------------ commands


def cli_page() -> str:
    root = typer.main.get_command(app)
    return page("Commands", prose(root.help or ""),
                "`python -m vxp` is the same command as `vxp`, but Python then imports from the working folder first: not in a "
                "stranger's folder. Exit codes: 0 done, 2 bad input (the message says what was "
                "got, what was expected and what to do), 130 stopped by Ctrl-C.", *_commands(root, "vxp"))


def _commands(command: Any, path: str) -> list[str]:
    """The sections of a command, or of all commands of a group."""
    if hasattr(command, "commands"):
        return [part for name, child in command.commands.items() for part in _commands(child, f"{path} {name}")]
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option"]
    usage = " ".join([path, *(_usage(a) for a in arguments), *(["[OPTIONS]"] if options else [])])
    # the usage line says all of an argument without help
    rows = [*((code(_name(a)), prose(a.help), "") for a in arguments if getattr(a, "help", None)),
            *((", ".join(code(name) for name in o.opts), prose(o.help or ""), _default(o)) for o in options)]
    return [f"## {path}", prose(command.help or ""), f"```text\n{usage}\n```",
            table(("argument or option", "meaning", "default"), rows)]


def _name(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper()).strip("[]")


def _usage(argument: Any) -> str:
    return _name(argument) if argument.required else f"[{_name(argument)}]"


def _default(option: Any) -> str:
    return code(option.default) if option.default not in (None, [], ()) else ""


# ------------------------------------------------------------------------------------------------------------- metrics


def metrics_page() -> str:
    found = [m for m in metrics.catalogue().values() if ours(m.plan)]
    families = list(dict.fromkeys(m.family for m in sorted(found, key=lambda m: m.family)))
    summary = table(("metric", "family", "better", "needs"),
                    ((f"[{m.id}](#{m.id})", m.family, m.better, _needs(m)) for m in found))
    aliases = table(("alias", "stands for"), (
        (code(alias), code("|".join([target, *(f"{k}:{v}" for k, v in preset.items())])))
        for alias, (target, preset) in metrics.ALIASES.items()))
    return page(
        "Metrics",
        f"{len(found)} metrics in {len(families)} families ({', '.join(families)}). Every score is computed from the "
        "stored map, resampled to the model's input grid, and the explained class is frozen before anything is "
        "perturbed. A map with a NaN or an infinity is `undefined:non-finite-map` for all of them; the other "
        "[statuses](statuses.md) are named with each metric.",
        summary, *(section for m in found for section in _metric(m)), "## Aliases", aliases,
    )


def _needs(metric: Metric) -> str:
    truth = [f"truth: {' or '.join(metric.truth)}"] if metric.truth else []
    again = ["the explainer"] if metric.re_explains else []
    again += ["a model trained on permuted labels"] if metric.needs_relabelled else []
    return ", ".join(truth + again) or "-"


def _metric(metric: Metric) -> list[str]:
    low, high = (("no bound" if end is None else f"{end:g}") for end in metric.range)
    listed = facts((
        ("Defined in", f"[the standard](../../spec/metrics/{metric.id}.md)"),
        ("Signature", code(metrics.Bound(metric, metric.parameters).signature)),
        ("Parameters and defaults", settings(metric.parameters)),
        ("Family", metric.family), ("Explanations", ", ".join(map(code, metric.kinds))),
        ("Range", f"{low} to {high}, {direction(metric.better)}"),
        ("Truth", " or ".join(code(key) for key in metric.truth) or "none"),
        ("Asks the explainer again", _again(metric.re_explains)),
        ("Undefined", ", ".join(code(f"undefined:{status}") for status in metric.undefined) or "never"),
        ("Source", prose(metric.source)),
    ))
    caveats = f"What is known against it:\n\n{bullets(prose(c) for c in metric.caveats)}" if metric.caveats else ""
    return [f"## {metric.id}", described(metric.plan), listed, caveats]


def _again(times: int | str) -> str:
    if isinstance(times, str):
        return f"{code(times)} times per item"
    return {0: "no", 1: "once per item"}.get(times, f"{times} times per item")


# ---------------------------------------------------------------------------------------------------------- explainers


def explainers_page() -> str:
    found = [e for e in explainers.catalogue().values() if ours(e.explain)]
    methods, references = [e for e in found if not e.reference], [e for e in found if e.reference]
    return page(
        "Explainers",
        f"{len(methods)} methods and {len(references)} fixed references. The references stand beside every result, so "
        "that a reader sees floor and ceiling. Parameters are set by name: `--explainer 'rise|masks:200'` on the command "
        "line, `parameters={\"masks\": 200}` in Python. Passes are forward plus backward passes per map at the defaults; "
        "the card of a task bounds them.",
        table(("explainer", "family", "passes per map"),
              ((f"[{e.id}](#{e.id})", _family(e), str(_passes(e))) for e in methods + references)),
        *(section for e in methods + references for section in _explainer(e)),
    )


def _family(explainer: Explainer) -> str:
    return "reference" if explainer.reference else explainer.family


def _passes(explainer: Explainer) -> int:
    passes = explainer.passes
    return passes if isinstance(passes, int) else passes(**explainer.parameters)


def _explainer(explainer: Explainer) -> list[str]:
    listed = facts((
        ("Parameters and defaults", settings(explainer.parameters)), ("Family", _family(explainer)),
        ("Explanations", ", ".join(map(code, explainer.kinds))),
        ("Models whose output is", ", ".join(map(code, explainer.outputs))),
        *([("What of the output", _explanandum(explainer))] if "temporal" in explainer.kinds else []),
        ("Values", "signed: negative is evidence against" if explainer.signed else "unsigned"),
        ("Resampled to the input grid", explainer.resample), ("Depends on the target", _yes(explainer.target_specific)),
        ("Needs", ", ".join(sorted(explainer.needs)) or "nothing but the model's outputs"),
        ("Passes per map", str(_passes(explainer))), ("Source", prose(explainer.source)),
    ))
    return [f"## {explainer.id}", described(explainer.explain), listed]


def _explanandum(explainer: Explainer) -> str:
    named = explainer.explanandum in explainer.parameters
    return f"the parameter {code(explainer.explanandum)} says it" if named else explainer.explanandum


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


# --------------------------------------------------------------------------------------------------- tasks and statuses


def tasks_page() -> str:
    cards = list(vxp_schemas.registry("tasks").values())
    return page(
        "Tasks",
        "A task is a card of the registry: which items, which model, which targets, which metrics, at what budget. "
        "`vxp list tasks --here` also says whether the data is on this machine.",
        table(("task", "title", "items", "model"),
              ((f"[{c['id']}](#{c['id']})", c["title"], str(c["budget"]["items"]), c["model"]["id"]) for c in cards)),
        *(section for card in cards for section in _task(card)),
    )


def _task(card: Mapping[str, Any]) -> list[str]:
    name = f"{card['dataset']['id']}@{card['dataset']['version']}"
    data = vxp_schemas.registry_document("datasets", name)
    budget = card["budget"]
    fixed = [code("|".join([e, *(f"{k}:{v}" for k, v in given.items())])) for e, given in budget.get("explainers", {}).items()]
    listed = facts((
        ("Data set", code(name)), ("Licence of the data", prose(data["license"])),
        ("How to get the data", prose(data.get("how_to_get", "nothing to get: it is made by the code"))),
        ("Model", ", ".join(code(m["id"]) for m in [card["model"], *card.get("also_models", [])])),
        ("Items", str(budget["items"])), ("Targets", card["targets"]), ("Input", " x ".join(map(str, card["input_size"]))),
        ("Truth", ", ".join(code(key) for key in card["truth"]) or "none"), ("Cluster of the statistics", card["cluster_key"]),
        ("Passes per map allowed", str(budget["max_passes_per_map"])),
        ("Explainers' budgets", ", ".join(fixed) or "their defaults"), ("Seed", str(card["seed"])),
        ("Metrics", ", ".join(code(m) for m in card["metrics"])),
    ))
    return [f"## {card['id']}", f"{prose(card['title'])}. {prose(card.get('about', ''))}".strip(), listed]


def statuses_page() -> str:
    return page(
        "Statuses",
        "Every score of every item has a status. Where it is not `ok` there is no number: the value is null in Parquet and "
        "NaN in tensors, and the aggregate says how many items have which status.",
        table(("status", "meaning"), ((code(k), prose(v)) for k, v in vxp_schemas.STATUSES.items())),
    )


# ---------------------------------------------------------------------------------------------------------- the standard

LABEL = re.compile(r'<a id="([a-z][a-z.-]*)"></a>')
SECTIONS = ("Definition", "Algorithm", "Parameters", "Undefined", "What it does not show", "Cost", "Sources", "Change log")
"""The sections of a metric's page, in order."""


def spec_pages() -> dict[str, str]:
    """The standard's texts with their generated parts: facts of metrics, links of labels, the index and the statuses."""
    labels = spec_labels()
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(SPEC.glob("**/*.md")) if "vectors" not in path.parts}
    known = {m.id: m for m in metrics.catalogue().values() if ours(m.plan)}
    texts = {SPEC / "metrics" / f"{id}.md": blank_page(m) for id, m in known.items()} | texts
    found = {}
    for path, text in texts.items():
        if path.parent.name == "metrics" and path.stem in known:
            text = between(text, "facts", spec_facts(known[path.stem]))
        found[path] = text
    found[SPEC / "metrics" / "index.md"] = spec_index(list(known.values()))
    found[SPEC / "statuses.md"] = statuses_page()
    return {f"../{path.relative_to(DOCS.parent)}": linked(path, text, labels) for path, text in found.items()}


def spec_labels() -> dict[str, Path]:
    """Every label of a clause with the chapter that defines it."""
    return {label: path for path in sorted(SPEC.glob("*.md")) for label in LABEL.findall(path.read_text(encoding="utf-8"))}


def between(text: str, name: str, block: str) -> str:
    """The text with this block between the marks of this name."""
    start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    return re.sub(f"{re.escape(start)}.*?{re.escape(end)}", lambda _: f"{start}\n{block}\n{end}", text, count=1, flags=re.S)


def linked(path: Path, text: str, labels: Mapping[str, Path]) -> str:
    """The text with the link definitions of the labels that it cites, so that `[map]` leads to its clause."""
    body = text.partition("\n<!-- links -->")[0].rstrip("\n") + "\n"
    cited = sorted(set(re.findall(r"\[([a-z][a-z.-]*)\](?![(:\[])", re.sub(r"`[^`]*`", "", body))) & labels.keys())
    if not cited:
        return body
    above = "../" * (len(path.relative_to(SPEC).parts) - 1)
    lines = [f"[{label}]: {above}{labels[label].name}#{label}" for label in cited]
    return "\n".join([body, "<!-- links -->", "", *lines, "", "<!-- /links -->"]) + "\n"


def spec_facts(metric: Metric) -> str:
    """The facts of a metric as its registry document has them."""
    document = result.metric_document(metric)
    low, high = (("no bound" if end is None else f"{end:g}") for end in document["range"])
    again = document["re_explains"]
    rows = [
        ("id and version", code(metric.name)), ("family", document["family"]),
        ("explanations", ", ".join(code(kind) for kind in document["kinds"])),
        ("level", "one score per item" if document["level"] == "sample" else "one number per set [set]"),
        ("direction", direction(document["better"])), ("range", f"{low} to {high}"),
        ("truth", " or ".join(code(key) for key in document["truth"]) or "none"),
        ("explainer run again", _again(again) if again else "no"),
        ("signature at the defaults", code(metrics.Bound(metric, metric.parameters).signature)),
        ("undefined, first that holds", ", ".join(code(c) for c in ["non-finite-map", *document["undefined"]])),
        ("source", prose(document["source"])),
    ]
    rows.insert(-1, ("agreement (5.1.4)", _agreement(metric)))
    if document.get("needs_relabelled"):
        rows.insert(8, ("twin", "needs the model trained on permuted labels"))
    parameters = table(("parameter", "type", "default", "admitted"),
                       ((code(p["name"]), p["type"], code(p["default"]), _admitted(p)) for p in document["parameters"]))
    return "\n\n".join(part for part in ("<!-- generated; do not edit -->", table(("fact", "value"), rows), parameters) if part)


def _agreement(metric: Metric) -> str:
    """The registry's tolerances of a metric's scores: in float32, with the parameters that have their own, and coarser."""
    signature = metrics.Bound(metric, metric.parameters).signature
    known = tolerances.document()["classes"]["fp32"]["metrics"]
    own = [key.split("|")[1:] for key in known if key.startswith(f"{metric.id}|")]
    parts = [f"{tolerances.of_score(signature, ('fp32', 'fp32')):g}"]
    for given in own:
        limit = tolerances.of_score("|".join([signature, *given]), ("fp32", "fp32"))
        parts.append(f"{limit:g} with {' and '.join(map(code, given))}")
    return "; ".join([*parts, f"{tolerances.of_score(signature, ('tf32', 'bf16')):g} in tf32 or bf16"])


def _admitted(parameter: Mapping[str, Any]) -> str:
    if "values" in parameter:
        return ", ".join(code(value) for value in parameter["values"])
    low, high = parameter.get("minimum"), parameter.get("maximum")
    if low is None and high is None:
        return "any"
    return f"at least {low:g}" if high is None else f"at most {high:g}" if low is None else f"{low:g} to {high:g}"


def blank_page(metric: Metric) -> str:
    """The page of a metric that has none: its sections, and what of them the declaration says."""
    first = " ".join((inspect.getdoc(metric.plan) or "").partition("\n\n")[0].split())
    written = {"Definition": first, "Parameters": bullets(f"{code(name)}:" for name in metric.parameters) or "None.",
               "Algorithm": f"1. `{metric.id}.1`",
               "Undefined": bullets(f"`undefined:{status}`:" for status in metric.undefined) or "Never.",
               "What it does not show": "\n".join(metric.caveats), "Sources": metric.source,
               "Change log": "- 1: first version."}
    sections = [part for title in SECTIONS for part in (f"## {title}", written.get(title, ""))]
    return "\n\n".join([f"# {metric.id}", "<!-- facts -->\n<!-- /facts -->", *filter(None, sections)]) + "\n"


def spec_index(found: Sequence[Metric]) -> str:
    families = list(dict.fromkeys(m.family for m in sorted(found, key=lambda m: m.family)))
    parts = [part for family in families for part in (f"## {family}", table(
        ("metric", "direction", "needs"),
        ((f"[{m.id}]({m.id}.md)", direction(m.better), _needs(m)) for m in found if m.family == family)))]
    return page("Metrics", f"{len(found)} metrics, version by version, each with its normative page.", *parts)


# --------------------------------------------------------------------------------------------------------------- Python

WIDTH = 100
"""Columns of a signature on one line; a longer one has a line per parameter."""
PYTHON: Mapping[str, Sequence[tuple[str, Any]]] = {
    "In a notebook": [("explain", vxp.explain), ("score", vxp.score), ("show", vxp.show), ("Scores", vxp.Scores),
                      ("Score", vxp.Score), ("frame_scores", vxp.frame_scores), ("frame_events", vxp.frame_events),
                      ("frames_first", vxp.frames_first), ("late_fusion", vxp.late_fusion),
                      ("VxpWarning", vxp.VxpWarning)],
    "Declaring metrics and explainers": [
        ("metric", core.metric), ("explainer", core.explainer), ("outcome", core.outcome), ("VxpError", core.VxpError),
        ("painted", kinds.painted), ("encoded", kinds.encoded)],
    "What flows": [(kind.__name__, kind) for kind in (
        core.Batch, core.Bank, core.Normalization, core.Case, core.Outcome, core.Metric, core.Explainer)],
    "What a metric may ask for": [(kind.__name__, kind) for kind in (
        core.Request, *typing.get_args(core.Edit), *typing.get_args(core.Part), *typing.get_args(core.Call),
        *typing.get_args(core.State), core.Held, core.Stream)],
    "Models, tasks and data sets": [
        ("models.load", models.load), ("models.Model", models.Model), ("tasks.load", tasks.load), ("tasks.Task", tasks.Task),
        ("tasks.Loaded", tasks.Loaded), ("datasets.Source", datasets.Source), ("datasets.Item", datasets.Item),
        ("datasets.Sample", datasets.Sample)],
}
"""What the page of the Python calls shows, by section, with the names to import it by."""


def python_page() -> str:
    sections = [part for title, things in PYTHON.items()
                for part in (f"## {title}", *(block for name, thing in things for block in _python(name, thing)))]
    return page(
        "Python",
        "The calls for notebooks, the declarations, `Batch`, `Bank`, `Normalization` and `VxpError` are imported from `vxp`; "
        "the rest of this page from `vxp.core`, or from the module that its heading names.", *sections)


def _python(name: str, thing: Any) -> list[str]:
    """A function, or a class with what it offers."""
    blocks = [f"### {name}", _signature(name.rpartition(".")[2], thing), described(thing)]
    if not inspect.isclass(thing):
        return blocks
    rows, fields = [], getattr(thing, "__dataclass_fields__", {})
    for member, value in vars(thing).items():
        found = value.func if isinstance(value, functools.cached_property) else getattr(value, "fget", value)
        if member.startswith("_") or member in fields or not inspect.isfunction(found):
            continue
        shown = member if found is not value else f"{member}({', '.join(_parameters(found))})"
        returns = inspect.signature(found).return_annotation
        rows.append((code(f"{shown} -> {returns}"), described(found).replace("\n\n", " ")))
    return [*blocks, table(("member", "what it gives"), rows)]


def _signature(name: str, thing: Any) -> str:
    """The call as a block of Python; a class with its fields, an exception by its name."""
    kind = "class" if inspect.isclass(thing) else "def"
    if inspect.isclass(thing) and issubclass(thing, Exception):
        return f"```python\nclass {name}(Exception)\n```"
    parts, returns = _parameters(thing), inspect.signature(thing).return_annotation
    end = f" -> {returns}" if kind == "def" else ""
    line = f"{kind} {name}({', '.join(parts)}){end}"
    if len(line) > WIDTH:
        line = "\n".join([f"{kind} {name}(", *(f"    {part}," for part in parts), f"){end}"])
    return f"```python\n{line}\n```"


def _parameters(function: Callable[..., Any]) -> list[str]:
    """The parameters as they are written, with the * before those that go by name only."""
    parts, star = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            parts.append("*")
            star = True
        annotated = f"{parameter.name}: {parameter.annotation}"
        parts.append(annotated if parameter.default is parameter.empty else f"{annotated} = {_written(parameter.default)}")
    return parts


def _written(default: Any) -> str:
    """A default as code: a factory of a dataclass is not, and stands as dots."""
    return "..." if repr(default).startswith("<") else repr(default)


# ------------------------------------------------------------------------------------------------------ other libraries


def differences_page() -> str:
    """The page of differences, with the metrics that no row of its first tables names said to be alone."""
    text = (DOCS / "differences.md").read_text(encoding="utf-8")
    tables = text[text.index("## Where they agree") : text.index("<!-- alone -->")]
    first = " ".join(line.split("|")[1] for line in tables.splitlines() if line.startswith("|"))
    named = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", first))
    alone = [m.id for m in metrics.catalogue().values() if ours(m.plan) and m.id not in named]
    return between(text, "alone", f"No counterpart in these libraries is known of {', '.join(alone)}.")


# -------------------------------------------------------------------------------------------------------------- readme


def readme_page() -> str:
    """The README, with the rows of metrics and explainers as the catalogues have them."""
    text = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    for name, row in (("metrics", _metrics_row()), ("explainers", _explainers_row())):
        text = re.sub(rf"^\| {name} \|.*$", lambda _, name=name, row=row: f"| {name} | {row} |", text, count=1, flags=re.M)
    return text


def _metrics_row() -> str:
    found = [m for m in metrics.catalogue().values() if ours(m.plan)]
    return f"{len(found)}, {_of(found)}. " + _grouped((m.family, m.id) for m in found)


def _explainers_row() -> str:
    found = [e for e in explainers.catalogue().values() if ours(e.explain) and not e.reference]
    listed = _grouped(("trained" if e.training else e.family, e.id) for e in found)
    return f"{len(found)}, {_of(found)}. {listed} · and your own"


def _of(found: Sequence[Metric | Explainer]) -> str:
    """How many are of maps of images, of clips, of the parts of videos, and of what is none of these."""
    maps = ("heatmap2d", "heatmap3d", "temporal")
    images, clips, parts = (sum(kind in one.kinds for one in found) for kind in maps)
    others = sum(not set(maps) & set(one.kinds) for one in found)
    return f"{images} of maps of images, {clips} of clips, {parts} of parts of videos and {others} of other kinds"


def _grouped(pairs: Iterable[tuple[str, str]]) -> str:
    """The ids of every group, the largest first."""
    groups: dict[str, list[str]] = {}
    for group, id in pairs:
        groups.setdefault(group, []).append(id)
    return " · ".join(f"{group}: {', '.join(ids)}" for group, ids in sorted(groups.items(), key=lambda g: -len(g[1])))


# ----------------------------------------------------------------------------------------------------------- every page

PAGES: Mapping[str, Callable[[], str]] = {
    "reference/cli.md": cli_page, "reference/metrics.md": metrics_page, "reference/explainers.md": explainers_page,
    "reference/tasks.md": tasks_page, "reference/statuses.md": statuses_page, "reference/rules.md": rules_page,
    "reference/python.md": python_page, "differences.md": differences_page, "../README.md": readme_page,
}
"""What makes each generated page of docs/, by its path there."""


def pages() -> dict[str, str]:
    """Every generated page by its path under docs/, those of the standard included."""
    return {path: make() for path, make in PAGES.items()} | spec_pages()


def main() -> None:
    for path, text in pages().items():
        (DOCS / path).resolve().write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
