"""A validation as a report: for people, for programs, and for the tools that show findings beside code."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal
from xml.sax.saxutils import quoteattr

from rich.console import Console
from rich.text import Text
from vxp_schemas import typed

from vxp import documents
from vxp.documents.findings import plain, rules
from vxp.errors import VxpError

Level = Literal["structure", "integrity", "content", "consistency", "recompute"]
Verdict = Literal["valid", "invalid", "no-errors-found (partial)", "could-not-complete"]
Evidence = Literal["E0", "E1", "E2", "E3"]
LEVELS: Final[tuple[Level, ...]] = ("structure", "integrity", "content", "consistency", "recompute")
VALID: Final = "valid"
INVALID: Final = "invalid"
PARTIAL: Final = "no-errors-found (partial)"
STOPPED: Final = "could-not-complete"
CODES: Final[Mapping[Verdict, Literal[0, 1, 3]]] = {VALID: 0, PARTIAL: 0, INVALID: 1, STOPPED: 3}
STRICT: Final = 4
SAID: Final[Mapping[str, str]] = {
    VALID: "valid: everything was checked and nothing was found",
    PARTIAL: "no errors found (partial): what did not run is listed above",
    INVALID: "invalid",
    STOPPED: "could not complete: nothing is said about the bundle",
}


def level_of(name: str) -> Level:
    """The level of this name; VxpError where none has it."""
    found = next((level for level in LEVELS if level == name), None)
    if found is None:
        raise VxpError(f"no level is called {name!r}; expected one of {', '.join(LEVELS)}")
    return found


@dataclass(frozen=True)
class Report:
    """What was checked and found. Verdict and exit code come from the same fields, here and nowhere else."""

    bundle: str
    level: Level
    root_digest: str | None
    evidence: Evidence
    checks: list[typed.ReportCheck]
    findings: list[typed.Finding] = field(default_factory=list)
    strict: bool = False
    stopped: bool = False

    def of(self, severity: str) -> list[typed.Finding]:
        return [f for f in self.findings if f["severity"] == severity]

    @property
    def flags(self) -> list[typed.Finding]:
        return self.of("flag")

    @property
    def verdict(self) -> Verdict:
        if self.of("error"):
            return INVALID
        if self.stopped:
            return STOPPED
        return VALID if all(c["ran"] for c in self.checks) else PARTIAL

    @property
    def exit_code(self) -> Literal[0, 1, 3, 4]:
        code = CODES[self.verdict]
        return STRICT if code == 0 and self.strict and self.of("warning") else code

    @property
    def last_line(self) -> str:
        counts = ", ".join(f"{len(self.of(s))} {s}{'' if len(self.of(s)) == 1 else 's'}" for s in ("error", "warning", "flag"))
        strict = "; warnings count (--strict)" if self.exit_code == STRICT else ""
        return f"{SAID[self.verdict]} ({counts}){strict}"

    def document(self) -> typed.Report:
        """The report as a document of the standard."""
        return documents.header(typed.Report) | {
            "bundle": self.bundle, **({"root_digest": self.root_digest} if self.root_digest else {}), "level": self.level,
            "verdict": self.verdict, "exit_code": self.exit_code, "evidence": self.evidence, "checks": self.checks,
            "findings": self.findings,
        }

    @staticmethod
    def read(document: typed.Report, *, strict: bool = False) -> Report:
        return Report(document["bundle"], document["level"], document.get("root_digest"), document["evidence"],
                      document["checks"], document["findings"], strict, document["verdict"] == STOPPED)


OF_MAPS: Final = frozenset(f"VXP-{code}" for code in ("F001", "F002", "F003", "F005", "F009", "F010", "F015"))
"""Flags that only maps raise, which a record is without."""


def findings_of_record(again: Report, stored: typed.Report) -> list[typed.Finding]:
    """Warnings and flags of a record (12.7.5): those that its own files give when it is validated `again`, and after them the
    flags of maps that the `stored` report has and that nothing gave again for the same file."""
    given = [f for f in again.findings if f["severity"] != "error"]
    known = {(f["code"], f["file"]) for f in given}
    return given + [f for f in stored["findings"] if f["code"] in OF_MAPS and (f["code"], f["file"]) not in known]


def show(console: Console, report: Report) -> None:
    """The report for a terminal, the verdict last."""
    show_findings(console, report.findings)
    for check in report.checks:
        said = f"ran      {check['check']}" if check["ran"] else f"not run  {check['check']}: {check['reason']}"
        console.print(Text(said), soft_wrap=True)
    if report.root_digest:
        console.print(Text(f"root     {report.root_digest}   evidence {report.evidence}"), soft_wrap=True)
    console.print(Text(f"{plain(report.bundle)}: {report.last_line}"), soft_wrap=True)


def show_findings(console: Console, findings: Sequence[typed.Finding]) -> None:
    """Each finding says where, what, what was expected, why and what to do."""
    colours = {"error": "bold red", "warning": "bold yellow", "flag": "bold cyan"}
    for finding in findings:
        console.print(Text.assemble((f"{finding['code']} {finding['severity']}", colours[finding["severity"]]), "  ",
                                    finding["file"] or "the bundle"), soft_wrap=True)
        for name, text in _lines(finding):
            console.print(Text(f"  {name:<9} {text}"), soft_wrap=True)
        console.print()


def _lines(finding: typed.Finding) -> Iterator[tuple[str, str]]:
    yield "what", finding["title"]
    for example in finding["examples"]:
        if example["where"]:
            yield "where", example["where"]
        yield "found", example["found"]
    if finding["count"] > len(finding["examples"]):
        yield "", f"and {finding['count'] - len(finding['examples'])} more of the same kind"
    yield "expected", finding["expected"]
    yield "why", f"{finding['why']} (clause {finding['clause']})"
    yield "do", finding["fix"]


def _sentence(finding: typed.Finding) -> str:
    example = finding["examples"][0]
    where = f"{example['where']}: " if example["where"] else ""
    more = f" (and {finding['count'] - 1} more)" if finding["count"] > 1 else ""
    return f"{finding['title']}. {where}found {example['found']}, expected {finding['expected']}{more}. {finding['fix']}"


def as_json(report: Report) -> str:
    return json.dumps(report.document(), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def as_junit(report: Report) -> str:
    """A test case per level and a failure per error, as continuous integration reads it."""
    cases = []
    for check in report.checks:
        own = [f for f in report.of("error") if rules()[f["code"]].level == check["check"]]
        body = "".join(f"<failure type={quoteattr(f['code'])} message={quoteattr(_clean(_sentence(f)))}/>" for f in own)
        if not check["ran"] and not own:
            body = f"<skipped message={quoteattr(_clean(check['reason']))}/>"
        cases.append((_case(check["check"], body), bool(own)))
    if report.stopped:
        cases.append((_case("completion", '<error message="could not complete"/>'), True))
    failures = sum(bad for _, bad in cases)
    return (f'<?xml version="1.0" encoding="UTF-8"?>\n<testsuite name={quoteattr(_clean(report.bundle))} tests="{len(cases)}" '
            f'failures="{failures}">\n' + "\n".join(text for text, _ in cases) + "\n</testsuite>\n")


def _case(name: str, body: str) -> str:
    return f'<testcase classname="vxp.validate" name={quoteattr(_clean(name))}>{body}</testcase>'


def _clean(text: str) -> str:
    """Text without the signs that XML does not admit."""
    return "".join(c if c in "\t\n" or " " <= c < "\ud800" or "\ue000" <= c <= "\ufffd" or c > "\uffff" else "?" for c in text)


def as_sarif(report: Report) -> str:
    """SARIF 2.1.0, as code hosts show it beside the files."""
    levels = {"error": "error", "warning": "warning", "flag": "note"}
    used = {f["code"] for f in report.findings}
    catalogue = [{"id": r.code, "shortDescription": {"text": r.title}, "fullDescription": {"text": r.why},
                  "help": {"text": f"{r.fix} (clause {r.clause})"}} for r in rules().values() if r.code in used]
    results = [{
        "ruleId": f["code"], "level": levels[f["severity"]], "message": {"text": _sentence(f)},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": f["file"] or "submission.json"}},
                       **({"logicalLocations": [{"fullyQualifiedName": e["where"]}]} if e["where"] else {})}
                      for e in f["examples"]],
    } for f in report.findings]
    driver = {"name": "vxp", "version": documents.harness()["version"], "rules": catalogue}
    run = {"tool": {"driver": driver}, "results": results,
           "invocations": [{"executionSuccessful": not report.stopped, "exitCode": report.exit_code}]}
    whole = {"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [run]}
    return json.dumps(whole, indent=2) + "\n"


def as_html(report: Report) -> str:
    """One page without scripts or anything from outside."""
    def row(name: str, text: str) -> str:
        return f"<dt>{html.escape(name)}</dt><dd>{html.escape(text)}</dd>" if name else f"<dt></dt><dd>{html.escape(text)}</dd>"

    found = "".join(
        f'<article class="{f["severity"]}"><h2><code>{f["code"]}</code> {html.escape(f["title"])} '
        f'<small>{f["severity"]}</small></h2><p class="file">{html.escape(f["file"] or "the bundle")}</p><dl>'
        + "".join(row(name, text) for name, text in _lines(f) if name != "what") + "</dl></article>" for f in report.findings)
    checks = "".join(f"<li>{'ran' if c['ran'] else 'not run'}: {html.escape(c['check'])}"
                     f"{'' if c['ran'] else ' (' + html.escape(c['reason']) + ')'}</li>" for c in report.checks)
    return PAGE.format(bundle=html.escape(report.bundle), last=html.escape(report.last_line), found=found, checks=checks,
                       kind="good" if CODES[report.verdict] == 0 else "bad", root=report.root_digest or "unknown",
                       evidence=report.evidence)


PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Validation of {bundle}</title><style>
:root {{ color-scheme:light dark; --line:#8884; --red:#c22; --amber:#a60; --blue:#06a; --green:#272; }}
@media (prefers-color-scheme:dark) {{ :root {{ --red:#f77; --amber:#fb4; --blue:#6bf; --green:#7d7; }} }}
body {{ font:16px/1.5 system-ui,sans-serif; max-width:60rem; margin:2rem auto; padding:0 1rem; overflow-wrap:anywhere; }}
h1 {{ font-size:1.5rem; margin-bottom:.2rem; }} h2 {{ font-size:1.05rem; margin:0; }}
small {{ font-weight:normal; opacity:.7; }}
.verdict {{ font-size:1.1rem; font-weight:600; }} .good {{ color:var(--green); }} .bad {{ color:var(--red); }}
article {{ border:1px solid var(--line); border-left:5px solid; border-radius:6px; padding:.8rem 1rem; margin:1rem 0; }}
.error {{ border-left-color:var(--red); }} .warning {{ border-left-color:var(--amber); }}
.flag {{ border-left-color:var(--blue); }}
.file {{ margin:.2rem 0 .6rem; font-family:ui-monospace,monospace; font-size:.9rem; opacity:.85; }}
dl {{ display:grid; grid-template-columns:max-content 1fr; gap:.15rem 1rem; margin:0; }}
dt {{ opacity:.65; }} dd {{ margin:0; }}
</style></head><body>
<h1>Validation of {bundle}</h1>
<p class="verdict {kind}">{last}</p>
<p>Root digest <code>{root}</code>, evidence {evidence}.</p>
{found}
<h2>What was checked</h2><ul>{checks}</ul>
</body></html>
"""
