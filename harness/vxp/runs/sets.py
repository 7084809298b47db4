"""Explanation sets read from disk, to be scored again."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import vxp_schemas
from vxp_schemas import typed

from vxp import explainers
from vxp.core import VxpError
from vxp.documents import store
from vxp.explainers import BoundExplainer
from vxp.kinds import KINDS, Kind
from vxp.models import Model
from vxp.runs import result
from vxp.tasks import Task


@dataclass(frozen=True, eq=False)
class CarriedSet:
    """An explanation set read from disk, with the explainer that made it."""

    bound: BoundExplainer
    set_id: str
    digest: str


def read_set(folder: Path, task: Task, model: Model, again: BoundExplainer | None = None) -> CarriedSet:
    """Check that a set belongs to this task and model; VxpError otherwise."""
    document = store.read_document(folder / "set.json", typed.Set)
    task.admits(document["kind"])
    for what, there, here, do in (
            # the card of a task of one's own names the model, so the model comes first
            ("model", document["model"], vxp_schemas.reference(model.document), "name the same with --model"),
            ("task", document["task"], task.reference, "name the same images, with the same --limit")):
        if there != here:
            was, now = (f"{r['id']}@{r['version']} ({r['digest'][:19]}...)" for r in (there, here))
            raise VxpError(f"set {folder} was made for the {what} {was}, and is to be scored as {now}: {do}")
    system = _system(folder, document)
    return CarriedSet(_declared(document["explainer"], again, system, KINDS[document["kind"]]), document["set_id"],
                      store.digest(store.read_file(folder / "set.json")))


def _system(folder: Path, document: typed.Set) -> typed.System:
    """The document of the system that made a set: beside it, or where a run or a bundle has it."""
    top = folder.resolve().parent.parent
    places = [folder / "system.json", top / "systems" / f"{document['set_id']}.json", top / "system.json"]
    place = next((p for p in places if p.is_file()), None)
    if place is None:
        raise VxpError(f"set {folder} has no system.json, which says what made its maps: expected {places[0]}, as vxp explain "
                       "and vxp import write it")
    system = store.read_document(place, typed.System)
    if result.identity(system) != document["system"]:
        raise VxpError(f"{place} is of another system than set {folder}: got {result.identity(system)}, expected "
                       f"{document['system']}")
    return system


def _declared(
    facts: typed.Explainer, again: BoundExplainer | None, system: typed.System, kind: Kind
) -> BoundExplainer:
    """The explainer of a set: the one given or installed if it is the same, else one that cannot explain again."""
    if again is None and facts["id"] in explainers.catalogue():
        again = explainers.bind(facts["id"], facts["parameters"])
    if again is not None:
        again = again.on(kind)
        if result.explainer(again) != facts:
            raise VxpError(f"the set was made by {facts}, and the explainer here is {result.explainer(again)}: "
                           "give the same one, or none")
        return dataclasses.replace(again, system=system)
    return explainers.absent(facts, system).on(kind)


def copied(given: Path, folder: Path) -> None:
    """The set's files beside the result; set.json last, since its presence says that the set is whole."""
    if (folder / "set.json").exists() or given.resolve() == folder.resolve():
        return
    document = store.read_document(given / "set.json", typed.Set)
    for described in [document["items"], *(shard["descriptor"] for shard in document["shards"])]:
        store.copy_described(given, folder, described)
    store.write_bytes(folder / "set.json", store.read_file(given / "set.json"))
