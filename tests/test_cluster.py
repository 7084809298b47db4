"""Runs on a Ray cluster of two nodes: the bytes of a run in one process, also when workers, nodes and drivers are killed; and
what is said when something is not as it should be."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from test_kills import again, disk
from test_run import scores
from test_until import METRICS, QUESTION
from vxp import explainers, models, tasks
from vxp.core import Batch, VxpError
from vxp.errors import NotWrittenError
from vxp.runs import cluster, commands, run
from vxp.runs.cluster import Place, bundled
from vxp.runs.cluster_worker import Failure, Given, Told, Worker, check, check_token, facts, write_token
from vxp.runs.context import Context, Quiet, Settings
from vxp.runs.units import System, Work

if TYPE_CHECKING:
    from conftest import Vxp

RUN = ("run", "shapes", "--explainer", "saliency", "--explainer", "grad-cam", "--limit", "24", "--device", "cpu",
       "--batch-size", "16", "--threads", "1", "--metrics", "entropy,gini,deletion|steps:4")
STORE = 80 * 2**20


@dataclass
class Nodes:
    """A cluster of two nodes with one core each, begun before it is needed and kept for the file."""

    cluster: Any
    second: Any

    @property
    def words(self) -> tuple[str, ...]:
        """The options of a command."""
        return "--executor", "ray", "--address", self.cluster.address

    def workers(self, node: Any) -> list[int]:
        """The processes of actors on a node."""
        raylet = node.all_processes["raylet"][0].process.pid
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == raylet and (place / "cmdline").read_bytes().startswith(b"ray::Worker"):
                    found.append(int(place.name))
            except OSError:  # it has just ended
                continue
        return found


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    required = os.environ.get("VXP_RAY") == "required"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patched.delenv("RAY_ADDRESS", raising=False)
        try:
            from ray.cluster_utils import Cluster

            node = {"num_cpus": 1, "object_store_memory": STORE, "include_dashboard": False}
            begun = Cluster(initialize_head=True, head_node_args=node)
            second = begun.add_node(**node)
        except Exception as error:
            if required:
                raise
            pytest.skip(f"Ray does not start here: {error}")
        try:
            yield Nodes(begun, second)
        finally:
            begun.shutdown()


@pytest.fixture
def connected(nodes: Nodes) -> Iterator[Any]:
    """Ray, with this process as a driver."""
    import ray

    ray.init(nodes.cluster.address, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one process."""
    out = tmp_path_factory.mktemp("local") / "run"
    commands.run_(order(), out, HERE)
    return out


def order(place: Place | None = None, **changes: Any) -> commands.Order:
    """What RUN asks for."""
    given: dict[str, Any] = {
        "task": "shapes", "images": None, "model": None, "data": None, "explainers": ("saliency", "grad-cam"),
        "metrics": ("entropy", "gini", "deletion|steps:4"), "device": "cpu", "limit": 24, "batch_size": 16, "threads": 1}
    return commands.Order(**(given | changes), place=place)


@dataclass
class Watched(Quiet):
    """Progress that counts, and does something once a number of items is done."""

    then: dict[int, Callable[[], None]] = field(default_factory=dict)
    titles: list[str] = field(default_factory=list)
    done: int = 0
    ran: int = 0

    def stage(self, title: str, items: int, what: str = "item") -> None:
        self.titles.append(f"{title}: {items}")

    def items(self, n: int) -> None:
        self.done += n
        for at in [at for at in self.then if at <= self.done]:
            self.then.pop(at)()

    def rows(self, n: int) -> None:
        self.ran += n


HERE = Watched()
"""What the run in one process reports."""


# ----------------------------------------------------------------------------------------------------------- what it does


def test_scores_have_the_bytes_of_a_run_in_one_process(nodes: Nodes, local: Path, tmp_path: Path) -> None:
    there, out = Watched(), tmp_path / "run"
    busy: set[int] = set()
    there.then = {at: lambda: busy.update(*map(nodes.workers, nodes.cluster.list_all_nodes())) for at in range(8, 100, 8)}
    commands.run_(order(Place(nodes.cluster.address)), out, there)
    assert scores(out) == scores(local)
    assert len(scores(out)) == 7
    for path in (*local.glob("explanations/*/payload/*"), *local.glob("results/*/curves.safetensors")):
        assert (out / path.relative_to(local)).read_bytes() == path.read_bytes()
    assert len(busy) == 2, "a worker on each node"
    # what the workers report adds up to what one process reports
    assert (there.done, there.ran, there.titles) == (HERE.done, HERE.ran, HERE.titles)


def test_a_killed_driver_goes_on_and_a_second_is_refused(nodes: Nodes, local: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    out = tmp_path / "run"
    words = [*RUN, "--out", str(out), *nodes.words, "--workers", "1"]
    first = subprocess.Popen([sys.executable, "-m", "vxp", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while len(list((out / ".units").rglob("*.sha256"))) < 4:
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.002)
        os.kill(first.pid, signal.SIGSTOP)
        refused = run_vxp(*words)
        assert refused.returncode == 2
        assert "another run is writing" in refused.stderr
    finally:
        first.kill()
        first.wait()
    assert not list(out.glob("results/*/result.json"))
    kept = {p: p.read_bytes() for p in (out / ".units").rglob("*.sha256")}
    assert len(kept) < 3 + 2 * 3 * 7, "the driver had more to do"
    done = run_vxp(*words)
    assert done.returncode == 0, done.stderr
    assert scores(out) == scores(local)
    assert all(p.read_bytes() == content for p, content in kept.items() if p.exists())


def test_a_set_is_scored_by_workers(nodes: Nodes, local: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    (given,) = local.glob("explanations/shapes-saliency-*")
    done = run_vxp("score", given, "--metrics", "entropy,gini,deletion|steps:4", "--device", "cpu", "--batch-size", "16",
                   "--threads", "1", *nodes.words, "--workers", "1", "--out", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    found = scores(tmp_path / "out")
    assert len(found) == 6
    assert found.items() <= scores(local).items()


def test_a_run_that_stops_when_its_question_is_decided_goes_to_workers_look_by_look(nodes: Nodes, tmp_path: Path) -> None:
    question = {"until": QUESTION, "limit": None, "metrics": METRICS, "explainers": ("grad-cam",)}
    commands.run_(order(**question), tmp_path / "local", Quiet())
    commands.run_(order(Place(nodes.cluster.address, workers=1), **question), tmp_path / "run", Quiet())
    assert scores(tmp_path / "run") == scores(tmp_path / "local")
    assert len(list((tmp_path / "run" / ".units" / "shared").glob("*.sha256"))) > 3, "more than one look"


def test_ranges_stay_together_unless_they_are_few() -> None:
    work = [Work(start, start + 8, system) for start in (0, 8, 16, 24) for system in range(6)]
    assert [len(part) for part in bundled(work, 1)] == [6] * 4
    assert [len(part) for part in bundled(work, 2)] == [3] * 8
    assert [len(part) for part in bundled(work, 100)] == [1] * 24
    assert [one for part in bundled(work, 3) for one in part] == work
    assert list(bundled([], 3)) == []


# ------------------------------------------------------------------------------------------------------------ what is said


def test_a_unit_that_fails_is_named_with_its_node_and_log(nodes: Nodes, tmp_path: Path, run_vxp: Vxp) -> None:
    (tmp_path / "model.py").write_text(textwrap.dedent("""
        from vxp import models

        def factory():
            model = models.load("shapes-cnn").module
            model.register_forward_pre_hook(refuse)
            return model, {"input_size": (64, 64)}

        def refuse(module, inputs):
            if len(inputs[0]) == 7:  # those of the second range
                raise RuntimeError("seven is too much")
    """))
    done = run_vxp("run", "shapes", "--model", "model.py:factory", "--explainer", "saliency", "--limit", "15", "--metrics",
                   "gini", "--device", "cpu", "--batch-size", "16", "--threads", "1", *nodes.words, "--workers", "1", "--out",
                   "out", folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    said = " ".join(done.stderr.split())
    assert "unit shared/000008 on node" in said
    assert "failed: RuntimeError: seven is too much" in said
    log = Path(said.partition("says where: ")[2].partition(". Finished")[0])
    assert "in refuse" in log.read_text()
    assert (tmp_path / "out" / ".units" / "shared" / "000000.sha256").exists()


def worker_of(words: commands.Again, out: Path) -> tuple[Worker, list[System]]:
    """A worker of a run, in this process, and the explainers of the run."""
    context = words.context(Quiet())
    bounds = run.with_references(context.task, run.ready(context.task, context.model, [explainers.bind("saliency")]))
    systems = [System.of(context, bound) for bound in bounds]
    write_token(out, "a")
    given = Given(words, tuple(map(Told.of, systems)), out, Path.cwd(), "a", 1, facts(context, systems))
    return Worker(given), systems


def test_a_worker_with_other_weights_says_so_before_it_works(connected: Any, tmp_path: Path) -> None:
    """A model that is another each time that it is made, as one without weights of its own is in each process."""
    file = tmp_path / "model.py"
    file.write_text(textwrap.dedent("""
        from torch import nn

        def factory():
            return nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 8)), {"input_size": (64, 64)}
    """))
    words = commands.Again(order(Place(), model=f"{file}:factory"), tmp_path, Settings(threads=1, limit=8))
    worker, _ = worker_of(words, tmp_path)
    for answer in (worker.ready(), worker.do(Work(0, 8))):
        assert isinstance(answer, Failure)
        said = str(answer.error())
        assert "starting a worker on node" in said
        assert f"process {os.getpid()})" in said
        assert "this worker is not what the driver is (weights of the model: got sha256:" in said
        assert f"expected {worker.given.facts['weights of the model']}" in said
        assert "put the same weights where every node finds them" in said
    assert not list(tmp_path.rglob("*.sha256"))


def crew(ray: Any, monkeypatch: pytest.MonkeyPatch, deadly: int) -> Any:
    """Two workers that are begun without torch, and end at the work of the items that begin here; they do not begin at all
    where it is negative."""

    class Short:  # in a function, so that it is pickled with its code
        def __init__(self, deadly: int) -> None:
            if deadly < 0:
                raise ModuleNotFoundError("No module named 'vxp'")
            self.deadly = deadly

        def ready(self) -> Any:
            return SimpleNamespace(node="node of a test", rows=0, warnings=())

        def do(self, work: Any) -> Any:
            if work["start"] == self.deadly:
                os._exit(1)
            return SimpleNamespace(node="node of a test", rows=5, warnings=("a doubt",))

    monkeypatch.setattr(cluster, "Worker", Short)
    monkeypatch.setattr(cluster, "PAUSE", 0.2)
    needs = {"CPU": 1.0, "GPU": 0.0}
    return cluster._Crew(ray, [cluster._actor(ray, deadly, needs, 1) for _ in range(2)], needs,
                         [Told("saliency", "shapes-saliency-0", False)])


@dataclass(frozen=True)
class Plain(Work):
    """Work that a process reads without vxp, and so without torch."""

    def __reduce__(self) -> Any:
        return dict, ((("start", self.start),),)


WORK = [Plain(start, start + 8, 0, ("score",)) for start in range(0, 80, 8)]


def test_a_unit_that_ends_its_workers_is_named(
    connected: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(cluster, "RETRIES", 0)
    workers, watched = crew(connected, monkeypatch, 16), Watched()
    said = r"unit score/shapes-saliency-0/000016 has ended 1 workers, the last on node of a test: .*too little memory\?"
    with pytest.raises(VxpError, match=said):
        workers.do(WORK, watched)
    workers.end()
    assert "node of a test: a doubt" in caplog.text
    assert caplog.text.count("is lost") == 1


def test_a_node_without_vxp_is_said(connected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = crew(connected, monkeypatch, -1)
    says = r"a worker cannot begin: .*No module named 'vxp'\. Expected Ray and vxp, each the same, on"
    with pytest.raises(VxpError, match=says):
        workers.do(WORK, Quiet())
    workers.end()


def test_workers_that_find_no_room_are_said(connected: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "STARTS", 0.5)
    monkeypatch.setattr(cluster, "PAUSE", 0.1)
    needs = {"CPU": 2.0, "GPU": 0.0}  # more than a node has
    workers = cluster._Crew(connected, [cluster._actor(connected, 0, needs, 1)], needs, [])
    with pytest.raises(VxpError, match=r"no worker has begun in 0\.5 s; each needs 2 CPU, and the cluster has .* 1 CPU; "):
        workers.do(WORK, Quiet())
    workers.end()


def test_a_full_disk_of_a_worker_is_said_and_nothing_is_lost(connected: Any, local: Path, tmp_path: Path, run_vxp: Vxp) -> None:
    """Of a worker in this process, on a file system that is as small as that of a node may be."""
    with disk(tmp_path / "disk", "size=160k"):
        out = tmp_path / "disk" / "run"
        settings = Settings(threads=1, limit=24)
        worker, systems = worker_of(commands.Again(order(Place()), out, settings), out)
        work = [Work(a, a + 8) for a in (0, 8, 16)]
        work += [Work(a, a + 8, place, ("explain", "score")) for a in (0, 8, 16) for place in range(len(systems))]
        answers = [worker.do(one) for one in work]
        failed = [answer for answer in answers if isinstance(answer, Failure)]
        assert 0 < len(failed) < len(answers)
        error = failed[0].error()
        assert isinstance(error, NotWrittenError)
        assert str(error).startswith(("unit explain/shapes-", "unit score/shapes-"))
        assert " on node " in str(error)
        assert "No space left on device. Nothing half-written is left" in str(error)
        kept = {p: p.read_bytes() for p in (out / ".units").rglob("*.sha256")}
        again(tmp_path / "disk", "size=64m")
        assert run_vxp(*RUN, "--out", out).returncode == 0  # in one process: whoever does a unit, it is the same
        assert scores(out) == scores(local)
        assert all(p.read_bytes() == content for p, content in kept.items() if p.exists())


def test_a_cluster_without_room_is_said(nodes: Nodes, tmp_path: Path) -> None:
    with pytest.raises(VxpError, match=r"has room for a worker, which needs 64 CPU: the nodes have .* 1 CPU.*--threads"):
        commands.run_(order(Place(nodes.cluster.address), threads=64), tmp_path / "out", Quiet())


@pytest.mark.parametrize(("words", "says"), [
    ("--executor ray --address 127.0.0.1:9", "no Ray cluster answers in 10 s"),
    ("--executor ray --address ray://head:10001", "expected HOST:PORT of the cluster's head"),
    ("--executor ray --address head", "expected HOST:PORT of the cluster's head"),
    ("--executor slurm", "expected local or ray"),
    ("--workers 2", "--workers is for the workers of a cluster: add --executor ray"),
])
def test_words_that_name_no_cluster(words: str, says: str, tmp_path: Path, run_vxp: Vxp) -> None:
    pytest.importorskip("ray")
    done = run_vxp(*RUN, "--out", tmp_path / "out", *shlex.split(words))
    assert done.returncode == 2
    assert says in done.stderr


def test_a_missing_ray_is_said(tmp_path: Path, run_vxp: Vxp, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run_vxp(*RUN, "--out", tmp_path / "out", "--executor", "ray")
    assert done.returncode == 2
    assert "pip install 'vxp[ray]'" in done.stderr
    commands.run_(order(limit=2), tmp_path / "local", Quiet())  # which asks for no Ray


def test_an_explainer_that_is_a_python_object_is_refused(tmp_path: Path) -> None:
    def mine(model: Any, batch: Batch) -> Any:
        return batch.inputs.mean(1)

    task, model = tasks.load("shapes"), models.load("shapes-cnn")
    settings = Settings(threads=1, limit=8)
    words = commands.Again(order(Place()), tmp_path, settings)
    with (cluster.opened(Place(), words) as executor,
          pytest.raises(VxpError, match=r"explainer 'mine' is none of .*saliency.*file\.py:name")):
        run.run(Context.of(task, model, tmp_path / "out", settings, ["gini"]), [explainers.bind(mine)], executor)


def test_every_fact_that_differs_is_named() -> None:
    mine = {"version of vxp": "1.0", "version of torch": "2.10", "device": "NVIDIA H100", "task": "shapes@1 sha256:1"}
    check(mine, mine)
    with pytest.raises(VxpError) as raised:
        check(mine | {"version of torch": "2.11", "task": "shapes@1 sha256:2"}, mine)
    said = str(raised.value)
    assert "version of torch: got 2.11, expected 2.10" in said
    assert "task: got shapes@1 sha256:2, expected shapes@1 sha256:1" in said
    assert "install the same packages and the same files on every node" in said
    assert "put the same data where every node finds them" in said
    assert "H100" not in said


def test_a_folder_that_a_node_does_not_see_is_said(tmp_path: Path) -> None:
    write_token(tmp_path, "a" * 32)
    check_token(tmp_path, "a" * 32)
    with pytest.raises(VxpError, match=r"is not here.*--out must be a folder of a file system that all nodes share"):
        check_token(tmp_path / "elsewhere", "a" * 32)
    with pytest.raises(VxpError, match="another driver has taken the run over"):
        check_token(tmp_path, "b" * 32)


# --------------------------------------------------------------------------------------------------- at last: what is killed


def test_killed_workers_and_nodes_change_no_byte(nodes: Nodes, local: Path, tmp_path: Path) -> None:
    """The last test: the cluster has one node afterwards."""
    killed: list[int] = []

    def kill_a_worker() -> None:
        killed.extend(nodes.workers(nodes.cluster.head_node))
        os.kill(killed[0], signal.SIGKILL)

    def kill_a_node() -> None:
        # what is left of the run waits for the worker that was killed before
        os.kill(nodes.second.all_processes["raylet"][0].process.pid, signal.SIGKILL)

    watched = Watched(then={24 + 3 * 8: kill_a_worker, 24 + 9 * 8: kill_a_node})
    out = tmp_path / "run"
    commands.run_(order(Place(nodes.cluster.address)), out, watched)
    assert not watched.then
    assert len(killed) == 1
    # a worker that was killed between two units is begun again before it is asked, and nothing is said of it
    assert scores(out) == scores(local)
