"""`python docs/_gpu.py [SECONDS]` (`make gpu`): the tests that need a GPU, then `vxp bench` against ResNet-50 at every
precision, and from it the block of docs/figures.md that names the card. All in so many seconds, by default ten minutes.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from _generate import between, code, table
from vxp.bench import SIZES
from vxp.bench.devices import GROUP as SCORES
from vxp.bench.suite import AGAINST
from vxp.runs.commands import PRECISIONS

DOCS = Path(__file__).parent
PAGE = DOCS / "figures.md"
TESTS = ("test_engine.py", "test_perturb.py", "test_synchronising.py", "test_properties.py")
ON_GPU = "gpu or cuda or device"
"""What is in the names of tests that need one."""
SECONDS = 600.0

Line = Mapping[str, Any]
"""One of `vxp bench --json`."""


def tests() -> list[str]:
    """The command that runs the tests that need a GPU."""
    return [sys.executable, "-m", "pytest", "-q", "-k", ON_GPU, *(str(DOCS.parent / "tests" / name) for name in TESTS)]


def bench(found: Path) -> list[str]:
    """The command that measures into this file."""
    each = [word for precision in PRECISIONS for word in ("--precision", precision)]
    return [sys.executable, "-m", "vxp", "bench", "--device", "cuda", "--model", f"{DOCS / '_resnet50.py'}:resnet50",
            "--items", "8", *each, "--json", str(found)]


def block(card: str, cuda: str, lines: Sequence[Line]) -> str:
    """What is in the page: the ratio of every metric at every precision, and how far scores are from those of a CPU."""
    sizes = {line["what"]: line for line in lines if line["group"] == SIZES}
    batches = ", ".join(f"{precision} {sizes[precision]['value']:g}" for precision in PRECISIONS)
    torch_ = torch.__version__.partition("+")[0]
    return "\n\n".join([
        f"ResNet-50 at 224 px, {card}, torch {torch_}, CUDA {cuda}, {time.strftime('%B %Y')}. Rows of a batch: {batches}.",
        _beside(AGAINST, lines, ".2f"),
        "Scores of eight items of `shapes`, at few rows, beside those of a CPU in fp32, over the registry's tolerances:",
        _beside(SCORES, lines, ".2g")])


def _beside(group: str, lines: Sequence[Line], form: str) -> str:
    """A table of a group of lines, a column for each precision."""
    found = {precision: {line["what"]: line for line in lines if line["group"] == f"{group}, {precision}"}
             for precision in PRECISIONS}
    return table(("measured", *PRECISIONS, "goal"), [
        (code(what) if "@" in what else what, *(format(found[p][what]["value"], form) for p in PRECISIONS),
         line["goal"].replace("<=", "≤")) for what, line in found[PRECISIONS[0]].items()])


def written(page: str, card: str, cuda: str, lines: Sequence[Line]) -> str:
    """The page with the block of this card."""
    return between(page, "gpu", block(card, cuda, lines))


def main(seconds: float = SECONDS) -> int:
    """Test, measure and write; the exit code. 2 where there is no GPU, and where the time is over."""
    if not torch.cuda.is_available():
        print("make gpu: PyTorch finds no GPU on this machine, so that nothing is tested, measured or written; install a "
              "PyTorch build and driver that match the card", file=sys.stderr)
        return 2
    end = time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "figures.json"
        for command in (tests(), bench(found)):
            try:
                ended = subprocess.run(command, cwd=DOCS.parent, timeout=max(1.0, end - time.monotonic())).returncode
            except subprocess.TimeoutExpired:
                print(f"make gpu: not done in {seconds:g} s, so that {PAGE} stays as it is; give more, make gpu SECONDS=1800",
                      file=sys.stderr)
                return 2
            if ended:
                return ended
        lines = json.loads(found.read_text())
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), torch.cuda.get_device_name(), str(torch.version.cuda), lines),
                    encoding="utf-8")
    print(f"Wrote the block of {torch.cuda.get_device_name()} into {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
