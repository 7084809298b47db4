"""The documents of the standard as types, as `python -m vxp.maintain.types` writes them from the schemas.

Never edit this file. It says which fields there are and of what type; `vxp_schemas.valid` gives a document its type once the
schema accepts it.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

Status = Literal["ok", "undefined:constant-map", "undefined:constant-groups", "undefined:empty-truth", "undefined:full-truth",
    "undefined:one-frame", "undefined:no-positive-mass", "undefined:zero-map", "undefined:zero-variance",
    "undefined:zero-difference", "undefined:no-mass", "undefined:too-few-regions", "undefined:class-changed",
    "undefined:saturated", "undefined:unsure", "undefined:no-rise", "undefined:non-finite-map", "undefined:single-class",
    "undefined:constant-scores", "undefined:too-few-fragments", "undefined:too-few-frames", "undefined:no-label",
    "undefined:empty-summary", "undefined:already-there", "undefined:unchanged", "undefined:empty-text", "undefined:no-claim",
    "undefined:no-cause", "failed:non-finite-score", "failed:explainer-error", "failed:non-finite-map", "failed:out-of-memory",
    "failed:untrained-class", "failed:changed-model", "failed:model-non-finite", "not-run:budget", "not-run:no-truth",
    "not-run:reference", "not-run:no-relabelled-model", "not-run:no-explainer", "not-run:no-representation",
    "not-run:fixed-length", "not-run:output", "not-run:kind"]
"""The state of one score, from the registry's one list of codes."""

StatusCounts = dict[str, int]
"""How many items have each status; statuses that no item has are left out."""

Parameters = dict[str, Any]
"""Every protocol parameter by name, defaults filled in; the values are any JSON."""

Extensions = dict[str, Any]
"""What this standard does not define, keyed by a URI of whoever defines it. Ignoring it never turns a refusal into an
acceptance."""

RegistryStatus = Literal["active", "template", "deprecated"]
"""active: may stand in a result; template: bytes that are not available to the registry, so digests are open; deprecated:
superseded."""

Better = Literal["higher", "lower", "neither"]
"""Which direction is better; neither of a description, which is not compared."""

Division = Literal["closed", "open"]
"""closed: registered model, preprocessing, items, targets and core metrics; open: anything else."""

Resample = Literal["bilinear", "trilinear", "frames", "nearest", "none", "fragment", "frame", "second"]
"""From the native grid to the input grid: of images bilinear (align_corners false, no antialiasing), of clips trilinear, or
frames (bilinear, and nearest in time); nearest; or none where the grids are equal. Of scores of the parts of a video the unit
of the parts: a fragment of its list of shots, a frame that the model looks at, or a second."""

ExplanationKind = Literal["heatmap2d", "heatmap3d", "temporal", "regions", "regions3d", "concepts", "counterfactual", "text",
    "rules", "prototypes"]
"""Kind of explanation, which fixes the tensors of the payload."""

Explanandum = Literal["class", "frame-score", "mean-score", "rank-order"]
"""What is explained: the target class; the score of one frame; the mean score of all frames; or the order of the frames by
score."""

ExplainerFamily = Literal["gradient", "cam", "perturbation", "attention", "concept", "counterfactual", "prototype", "temporal",
    "reference", "other"]
"""What the method works with."""


class Header(TypedDict):
    """What every document begins with."""

    type: str
    spec_version: str
    created: NotRequired[str]
    generator: NotRequired[Generator]
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: NotRequired[Extensions]


class HeaderMissing(TypedDict):
    """One unknown value."""

    pointer: str
    reason: str


class Generator(TypedDict):
    """A program: its name and exact version."""

    name: str
    version: str
    commit: NotRequired[str]
    dirty: NotRequired[bool]


class Harness(TypedDict):
    """The harness that computed the scores. It is not part of the leaderboard's key."""

    version: str
    commit: NotRequired[str]
    dirty: NotRequired[bool]


class Ref(TypedDict):
    """A registry object by id, version and content; id and version without digest are not enough."""

    id: str
    version: int
    digest: str


class Descriptor(TypedDict):
    """A file by path, size and content. The path is relative to the root of the run folder or bundle; in an explanation set, to
    the folder of set.json."""

    mediaType: str
    path: str
    size: int
    digest: str
    rows: NotRequired[int]
    locations: NotRequired[list[str]]


class RegistryFile(TypedDict):
    """A file of the registry by path and content."""

    path: str
    digest: str
    size: NotRequired[int]
    rows: NotRequired[int]


class Selection(TypedDict):
    """What was taken of the task: under a limit of every cluster its first item, then the second, and so on; by a sequential
    run whole clusters in drawn order."""

    items: int
    of_items: int
    clusters: int
    of_clusters: int


class Method(TypedDict):
    """An explainer with its parameters."""

    id: str
    parameters: Parameters


class Explainer(TypedDict):
    """The explainer that was scored, and what its maps mean."""

    id: str
    parameters: Parameters
    signed: bool
    resample: Resample
    target_specific: bool
    reference: bool
    family: ExplainerFamily
    explanandum: NotRequired[Explanandum]


class Ci(TypedDict):
    """An interval of a mean."""

    level: float
    method: Literal["bootstrap-t", "jackknife-t", "wilson"]
    lo: float
    hi: float
    resamples: int
    seed: int
    cluster_key: str
    n_clusters: int


class Submitter(TypedDict):
    """Who answers for the submission."""

    name: str
    affiliation: NotRequired[str]
    contact: str
    orcid: NotRequired[str]


class Implementation(TypedDict):
    """The code that ran."""

    entry_point: str
    package: NotRequired[str]
    version: NotRequired[str]
    repo: NotRequired[str]
    commit: NotRequired[str]
    dirty_diff_digest: NotRequired[str]
    source_digest: NotRequired[str]
    container_digest: NotRequired[str]


class Settings(TypedDict):
    """How it was computed: everything besides task and explainer that the bytes depend on."""

    precision: Literal["fp32", "tf32", "bf16"]
    device: str
    batch_size: int
    batch_size_run: NotRequired[int]
    threads: int
    deterministic: bool
    compile: NotRequired[bool]
    channels_last: NotRequired[bool]
    seed: int
    limit: int | None
    until: NotRequired[str]


class Finding(TypedDict):
    """One kind of fault in one file."""

    code: str
    severity: Literal["error", "warning", "flag"]
    title: str
    file: str
    count: int
    examples: list[FindingExample]
    expected: str
    why: str
    clause: str
    fix: str


class FindingExample(TypedDict):
    """Where and what."""

    where: str
    found: str


class Task(TypedDict):
    """A task card: which items, which model, which targets, which metrics, at what budget and with which statistics."""

    type: str
    spec_version: str
    created: NotRequired[str]
    generator: NotRequired[Generator]
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: NotRequired[Extensions]
    id: str
    version: int
    title: str
    about: NotRequired[str]
    status: Literal["active", "template", "deprecated", "unregistered"]
    dataset: Ref
    model: Ref
    also_models: NotRequired[list[Ref]]
    items: NotRequired[RegistryFile]
    items_digest: NotRequired[str]
    targets: Literal["predicted", "label", "list", "none"]
    input_size: list[int]
    truth: list[Literal["mask", "boxes", "cells", "fixations", "density", "users", "classes", "class_masks", "factors",
        "present", "without", "swapped", "texts"]]
    kinds: list[ExplanationKind]
    concepts: NotRequired[list[str]]
    metrics: list[str]
    primary_family: str
    cluster_key: str
    budget: TaskBudget
    seed: int
    statistics: TaskStatistics
    license: NotRequired[str]
    cite: NotRequired[list[str]]


class TaskBudget(TypedDict):
    """What a run of the task may cost."""

    items: int
    max_passes_per_map: int
    explainers: NotRequired[dict[str, Parameters]]


class TaskStatistics(TypedDict):
    """How intervals and comparisons are made."""

    method: Literal["bootstrap-t"]
    level: float
    resamples: int
    min_clusters: NotRequired[int]
    correction: NotRequired[Literal["holm", "none"]]


class Dataset(TypedDict):
    """The images or clips that tasks draw from: where they come from, under which licence, and their identity by content."""

    type: str
    spec_version: str
    created: NotRequired[str]
    generator: NotRequired[Generator]
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: NotRequired[Extensions]
    id: str
    version: int
    title: str
    about: NotRequired[str]
    status: RegistryStatus
    license: str
    access: Literal["procedural", "packages", "download", "user-copy"]
    how_to_get: NotRequired[str]
    homepage: NotRequired[str]
    packages: NotRequired[list[DatasetPackage]]
    files: NotRequired[list[DatasetFile]]
    items: NotRequired[RegistryFile]
    n_items: NotRequired[int]
    content_digest: NotRequired[str]
    decoder: NotRequired[Generator]
    truth: NotRequired[list[Literal["mask", "boxes", "cells", "fixations", "density", "users", "classes", "class_masks",
        "factors", "present", "without", "swapped", "texts"]]]
    cluster_key: NotRequired[str]
    splits: NotRequired[list[str]]
    croissant: NotRequired[str]
    cite: NotRequired[list[str]]


class DatasetPackage(TypedDict):
    """One package."""

    name: str
    version: NotRequired[str]
    digest: NotRequired[str]


class DatasetFile(TypedDict):
    """One file."""

    path: str
    package: NotRequired[str]
    size: NotRequired[int]
    digest: str
    pixel_digest: NotRequired[str]
    license: NotRequired[str]
    credit: NotRequired[str]


class Model(TypedDict):
    """A model: its architecture, its weights by content, its input, its classes and a probe of its outputs."""

    type: str
    spec_version: str
    created: NotRequired[str]
    generator: NotRequired[Generator]
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: NotRequired[Extensions]
    id: str
    version: int
    title: str
    about: NotRequired[str]
    status: Literal["active", "template", "deprecated", "unregistered"]
    license: str
    load_name: NotRequired[str]
    architecture: ModelArchitecture
    weights: NotRequired[ModelWeights]
    state_dict_digest: NotRequired[str]
    num_params: NotRequired[int]
    eval_mode: NotRequired[bool]
    input: ModelInput
    output: NotRequired[Literal["classes", "events", "sequence"]]
    fusion: NotRequired[Literal["log-mean-exp", "mean", "max"]]
    classes: ModelClasses
    probe: NotRequired[ModelProbe]
    accuracy: NotRequired[ModelAccuracy]
    cite: NotRequired[list[str]]


class ModelArchitecture(TypedDict):
    """The code that builds the module."""

    package: NotRequired[str]
    version: NotRequired[str]
    symbol: str
    kwargs: NotRequired[Parameters]


class ModelWeights(TypedDict):
    """The file of the weights."""

    package: NotRequired[str]
    version: NotRequired[str]
    path: str
    mediaType: NotRequired[str]
    size: NotRequired[int]
    digest: NotRequired[str]
    locations: NotRequired[list[str]]


class ModelInput(TypedDict):
    """What the module takes."""

    size: list[int]
    channels: NotRequired[Literal["rgb"]]
    layout: NotRequired[Literal["bcthw", "btchw"]]
    normalization: ModelInputNormalization
    preprocessing: NotRequired[list[ModelInputPreprocessing]]


class ModelInputNormalization(TypedDict):
    """Per channel: inputs = (raw - mean) / std, raw in [0, 1]."""

    mean: list[float]
    std: list[float]


class ModelInputPreprocessing(TypedDict):
    """One operation."""

    op: Literal["decode", "resize", "crop", "to_float", "normalize"]
    version: int
    parameters: NotRequired[Parameters]


class ModelClasses(TypedDict):
    """What the outputs mean."""

    count: int
    source: NotRequired[str]
    names: NotRequired[list[str]]
    digest: NotRequired[str]


class ModelProbe(TypedDict):
    """Fixed inputs and the outputs expected for them, so that silently changed weights or preprocessing are caught."""

    inputs: str
    inputs_digest: str
    logits: list[list[float]]
    atol: float


class ModelAccuracy(TypedDict):
    """Accuracy that is claimed for it."""

    top1: float
    n: int
    data: NotRequired[str]
    source: NotRequired[str]


class Metric(TypedDict):
    """A metric as it is declared. Its digest covers id, version, definition, parameters, better, range and clause only."""

    type: str
    spec_version: str
    created: NotRequired[str]
    generator: NotRequired[Generator]
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: NotRequired[Extensions]
    id: str
    version: int
    status: RegistryStatus
    definition: str
    clause: str
    family: str
    kinds: list[ExplanationKind]
    outputs: NotRequired[list[Literal["classes", "events", "sequence"]]]
    level: Literal["sample", "set"]
    better: Better
    range: list[float | None]
    parameters: list[MetricParameter]
    truth: list[Literal["mask", "boxes", "cells", "fixations", "other-fixations", "density", "users", "classes", "class_masks",
        "factors", "present", "without", "swapped", "texts"]]
    re_explains: NotRequired[int | str]
    needs_relabelled: NotRequired[bool]
    undefined: list[str]
    known_failure_modes: list[str]
    source: str


class MetricParameter(TypedDict):
    """One parameter."""

    name: str
    type: Literal["integer", "number", "string", "boolean"]
    default: int | float | str | bool
    values: NotRequired[list[int | float | str | bool]]
    minimum: NotRequired[float]
    maximum: NotRequired[float]
    description: NotRequired[str]


class Set(TypedDict):
    """The manifest of one explanation set: what was explained, by what, and where the rows and tensors are. Its paths are
    relative to its own folder, so that a set can be carried elsewhere."""

    type: str
    spec_version: str
    created: str
    generator: Generator
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: Extensions
    set_id: str
    kind: ExplanationKind
    task: Ref
    dataset: Ref
    model: Ref
    system: str
    explainer: Explainer
    n_items: SetNItems
    coverage: float
    items: Descriptor
    shards: list[SetShard]
    coordinate_frame: str
    semantics: SetSemantics
    quantization: Literal["none", "affine"]
    randomness: SetRandomness


class SetNItems(TypedDict):
    """How many items there should be and are."""

    expected: int
    present: int


class SetShard(TypedDict):
    """One shard."""

    descriptor: Descriptor
    first_row: int
    rows: int
    tensors: dict[str, SetShardTensor]


class SetShardTensor(TypedDict):
    """Type and shape of a tensor."""

    dtype: Literal["F16", "F32", "F64", "I16", "I32", "I64", "U8"]
    shape: list[int]


class SetSemantics(TypedDict):
    """What a value means, besides the explainer's signed and target_specific."""

    higher_means: Literal["evidence_for", "importance"]
    normalized: Literal["none", "minmax", "l1"]


class SetRandomness(TypedDict):
    """How random draws were seeded."""

    seed: int
    rule: Literal["none", "philox-per-item", "generator-per-item"]
    repeats: int


class Result(TypedDict):
    """The scores of one explanation set: aggregates, intervals, costs and pointers to the per-sample scores."""

    type: str
    spec_version: str
    created: str
    generator: Generator
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: Extensions
    result_id: str
    division: Division
    task: Ref
    dataset: Ref
    model: Ref
    explainer: Explainer
    set: Descriptor
    scores: list[ResultScore]
    references: list[ResultReference]
    inference: ResultInference
    cost: ResultCost
    samples: Descriptor
    reference_samples: NotRequired[Descriptor]
    reference_statistics: NotRequired[Descriptor]
    curves: NotRequired[Descriptor]
    statistics: NotRequired[Descriptor]
    environment: Descriptor
    harness: Harness
    settings: Settings
    selection: NotRequired[Selection]
    sequential: NotRequired[ResultSequential]
    flags: list[str]


class ResultScore(TypedDict):
    """The aggregate of one score over the items."""

    signature: str
    metric: Ref
    family: str
    better: Better
    range: list[float | None]
    level: Literal["sample", "set"]
    n: int
    statuses: StatusCounts
    mean: NotRequired[float]
    mean_worst_bound: NotRequired[float]
    median: NotRequired[float]
    sd: NotRequired[float]
    ci: NotRequired[Ci]
    flags: NotRequired[list[str]]


class ResultReference(TypedDict):
    """One reference explanation."""

    explainer: str
    result_id: str
    scores: list[ResultReferenceScore]


class ResultReferenceScore(TypedDict):
    """One score of the reference."""

    signature: str
    n: int
    statuses: StatusCounts
    mean: NotRequired[float]
    ci: NotRequired[Ci]


class ResultInference(TypedDict):
    """How intervals and tests are made, by the task's card."""

    level: float
    resamples: int
    min_clusters: int
    correction: Literal["holm", "none"]


class ResultCost(TypedDict):
    """What it cost, as counted and measured."""

    explain: ResultCostExplain
    score: ResultCostScore
    run: NotRequired[ResultCostRun]
    peak_memory_bytes: NotRequired[int]
    device: str


class ResultCostExplain(TypedDict):
    """Making the maps."""

    forward_rows: int
    backward_rows: int
    seconds: float
    maps: int


class ResultCostScore(TypedDict):
    """Scoring the maps."""

    rows_asked: int
    rows_run: int
    frames_run: NotRequired[int]
    explain_rows: int
    seconds: float


class ResultCostRun(TypedDict):
    """Rows of the whole run, of which this result is one of several."""

    explainers: int
    rows_asked: int
    rows_run: int
    rows_shared: int


class ResultSequential(TypedDict):
    """What the looks of a run with until found of the comparisons of this result's system; absent of other runs."""

    comparisons: int
    largest_cluster: int
    looks: list[ResultSequentialLook]
    found: list[ResultSequentialFound]


class ResultSequentialLook(TypedDict):
    """One look."""

    clusters: int
    items: int
    undecided: int


class ResultSequentialFound(TypedDict):
    """A difference, this system less the other."""

    other: str
    signature: str
    n: int
    clusters: int
    delta: NotRequired[float]
    lo: float
    hi: float
    p: float
    p_adjusted: float
    decided: NotRequired[int]


class Environment(TypedDict):
    """Where it was computed: system software, packages, processors and the switches that change numbers."""

    type: str
    spec_version: str
    created: str
    generator: Generator
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: Extensions
    os: str
    kernel: NotRequired[str]
    python: str
    packages: list[EnvironmentPackage]
    lock_digest: NotRequired[str]
    container_digest: NotRequired[str]
    cpu: EnvironmentCpu
    gpus: list[EnvironmentGpu]
    cuda: NotRequired[str]
    cudnn: NotRequired[str]
    variables: dict[str, str]
    determinism: dict[str, bool | int | str]
    git: NotRequired[list[EnvironmentGit]]


class EnvironmentPackage(TypedDict):
    """One distribution."""

    name: str
    version: str
    digest: NotRequired[str]


class EnvironmentCpu(TypedDict):
    """The processor."""

    model: NotRequired[str]
    architecture: str
    cores: int
    memory_bytes: NotRequired[int]


class EnvironmentGpu(TypedDict):
    """One GPU."""

    name: str
    uuid_digest: NotRequired[str]
    memory_bytes: NotRequired[int]
    driver: NotRequired[str]


class EnvironmentGit(TypedDict):
    """One checkout."""

    name: str
    commit: str
    dirty: bool
    diff_digest: NotRequired[str]


class System(TypedDict):
    """What made the explanations: the method, its implementation and what it was trained on."""

    type: str
    spec_version: str
    created: str
    generator: Generator
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: Extensions
    method: SystemMethod
    implementation: Implementation
    normalization: Literal["none", "minmax", "l1"]
    trained_components: list[SystemTrainedComponent]
    hardware: NotRequired[str]
    availability: NotRequired[Literal["available", "preview", "internal"]]


class SystemMethod(TypedDict):
    """The method with everything that was set."""

    name: str
    family: ExplainerFamily
    source: NotRequired[str]
    parameters: Parameters
    parameters_passed: Parameters
    deterministic: bool
    seeds: list[int]
    needs: SystemMethodNeeds


class SystemMethodNeeds(TypedDict):
    """What the method needs from the model and the data."""

    gradients: bool
    activations: bool
    layer: NotRequired[bool]
    truth: NotRequired[bool]
    training_data: bool
    passes_per_map: int


class SystemTrainedComponent(TypedDict):
    """One trained component."""

    name: str
    weights: str
    training_data: NotRequired[list[Ref]]


class Run(TypedDict):
    """What a run folder holds the results of: written before the first unit of work, compared when a run goes on."""

    type: str
    spec_version: str
    created: str
    generator: Generator
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: Extensions
    division: Division
    task: Ref
    dataset: Ref
    model: Ref
    explainers: list[Method]
    metrics: list[str]
    settings: Settings
    selection: NotRequired[Selection]
    task_document: NotRequired[Descriptor]
    model_document: NotRequired[Descriptor]
    dataset_document: NotRequired[Descriptor]
    set: NotRequired[str]
    arguments: NotRequired[list[str]]


class Submission(TypedDict):
    """The root document of a bundle: who submits which system, and by descriptors every other file. The digest of its bytes is
    the bundle's identity."""

    type: str
    spec_version: str
    created: str
    generator: Generator
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: Extensions
    submission_id: str
    title: str
    submitter: Submitter
    authors: list[str]
    division: Division
    license: str
    conflicts_of_interest: str
    code_available: bool
    statement_of_tuning: str
    supersedes: NotRequired[str]
    system: Descriptor
    sets: list[Descriptor]
    results: list[Descriptor]
    documents: list[Descriptor]
    documentation: list[Descriptor]


class Report(TypedDict):
    """What a validator checked of a bundle and what it found."""

    type: str
    spec_version: str
    created: str
    generator: Generator
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: Extensions
    bundle: str
    root_digest: NotRequired[str]
    level: Literal["structure", "integrity", "content", "consistency", "recompute"]
    verdict: Literal["valid", "invalid", "no-errors-found (partial)", "could-not-complete"]
    exit_code: Literal[0, 1, 3, 4]
    evidence: Literal["E0", "E1", "E2", "E3"]
    checks: list[ReportCheck]
    findings: list[Finding]


class ReportCheck(TypedDict):
    """One level, or one check of it that could not be made."""

    check: str
    ran: bool
    reason: NotRequired[str]


class Audit(TypedDict):
    """The predicate of an in-toto statement about a bundle: what was computed again, on which items, how far it agreed."""

    type: str
    spec_version: str
    created: str
    generator: Generator
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: Extensions
    policy: AuditPolicy
    environment: AuditEnvironment
    scores: list[AuditScore]
    maps: list[AuditMap]
    not_checked: list[AuditNotChecked]
    findings: list[Finding]
    replaces: NotRequired[str]
    verdict: Literal["reproduced", "differs", "refused", "incomplete"]
    evidence: Literal["E0", "E1", "E2", "E3"]


class AuditPolicy(TypedDict):
    """How items were drawn and what counts as agreement."""

    tolerances: str
    sample: int | None
    nonce: str
    source: NotRequired[Literal["auditor", "commitment", "beacon", "all"]]
    commitment: NotRequired[AuditPolicyCommitment]
    beacon: NotRequired[AuditPolicyBeacon]
    confidence: float
    smallest_share: float


class AuditPolicyCommitment(TypedDict):
    """What the auditor published beforehand."""

    digest: str
    created: str


class AuditPolicyBeacon(TypedDict):
    """The round of the beacon whose randomness is the nonce."""

    chain: str
    round: int
    signature: str


class AuditEnvironment(TypedDict):
    """What it was computed on."""

    device: str
    precision: Literal["fp32", "tf32", "bf16"]
    batch_size: int
    threads: int


class AuditScore(TypedDict):
    """One score of one result."""

    result: str
    signature: str
    n: int
    tolerance: float
    largest: float
    mean: float
    beyond: int
    bias: NotRequired[float]
    bias_limit: NotRequired[float]
    recomputed: NotRequired[AuditScoreRecomputed]


class AuditScoreRecomputed(TypedDict):
    """What the scores that were computed again give."""

    whole: bool
    n: int
    statuses: StatusCounts
    mean: NotRequired[float]
    ci: NotRequired[Ci]


class AuditMap(TypedDict):
    """One result."""

    result: str
    explainer: str
    same_system: bool
    isolation: NotRequired[Literal["process", "bubblewrap"]]
    n: int
    tolerance: float
    largest: float
    spearman: float
    beyond: int


class AuditNotChecked(TypedDict):
    """One thing."""

    what: str
    reason: str


class Signature(TypedDict):
    """The predicate of an in-toto statement by which a submitter answers for a bundle; the statement's subject is the root
    digest."""

    type: str
    spec_version: str
    created: str
    generator: Generator
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: Extensions
    submission_id: str
    submitter: Submitter
    supersedes: NotRequired[str]


class Withdrawal(TypedDict):
    """The predicate of an in-toto statement by which a submitter takes a submission back; the statement's subject is the root
    digest."""

    type: str
    spec_version: str
    created: str
    generator: Generator
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: Extensions
    submission_id: str
    reason: str


class Trust(TypedDict):
    """Whose signatures count in a results repository: public keys, the people and groups who hold them, and their roles."""

    type: str
    spec_version: str
    created: NotRequired[str]
    generator: NotRequired[Generator]
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: Extensions
    keys: dict[str, TrustKey]
    identities: dict[str, TrustIdentity]
    roles: TrustRoles


class TrustKey(TypedDict):
    """A public key."""

    keytype: str
    scheme: str
    keyval: TrustKeyKeyval
    expires: NotRequired[str]


class TrustKeyKeyval(TypedDict):
    """The public part."""

    public: str


class TrustIdentity(TypedDict):
    """One person or group."""

    name: str
    keyids: NotRequired[list[str]]
    sigstore: NotRequired[list[TrustIdentitySigstore]]


class TrustIdentitySigstore(TypedDict):
    """A keyless identity."""

    issuer: str
    subject: str


class TrustRoles(TypedDict):
    """What the identities may do."""

    auditors: TrustRolesAuditors
    submitters: NotRequired[TrustRolesSubmitters]


class TrustRolesAuditors(TypedDict):
    """Whose audits count."""

    identities: list[str]
    threshold: int


class TrustRolesSubmitters(TypedDict):
    """Whose submissions can have more than evidence E1; absent where anybody's can."""

    identities: list[str]


class Leaderboard(TypedDict):
    """Submissions side by side, by task and model. The same records give the same document."""

    type: str
    spec_version: str
    created: NotRequired[str]
    generator: NotRequired[Generator]
    derived_from: NotRequired[str]
    missing: NotRequired[list[HeaderMissing]]
    extensions: Extensions
    latest: str
    submissions: list[LeaderboardSubmission]
    tables: list[LeaderboardTable]


class LeaderboardSubmission(TypedDict):
    """One submission."""

    record: str
    submission_id: str
    root_digest: str
    title: str
    submitter: Submitter
    authors: list[str]
    division: Division
    license: str
    created: str
    conflicts_of_interest: str
    code_available: bool
    statement_of_tuning: str
    evidence: Literal["E1", "E2", "E3", "E4"]
    refuted: bool
    shown: bool
    hidden_because: list[str]
    method: LeaderboardSubmissionMethod
    implementation: Implementation
    signature: LeaderboardSubmissionSignature
    supersedes: NotRequired[LeaderboardSubmissionSupersedes]
    withdrawal: NotRequired[LeaderboardSubmissionWithdrawal]
    audits: list[LeaderboardSubmissionAudit]
    report_digest: str
    findings: list[Finding]
    files: list[LeaderboardSubmissionFile]


class LeaderboardSubmissionMethod(TypedDict):
    """What was submitted."""

    name: str
    family: ExplainerFamily
    parameters: Parameters


class LeaderboardSubmissionSignature(TypedDict):
    """Who signed the submission."""

    signed_by: list[str]
    trusted: bool
    why_not: NotRequired[str]


class LeaderboardSubmissionSupersedes(TypedDict):
    """The earlier submission that this one is said to replace."""

    root_digest: str
    counts: bool
    why_not: NotRequired[str]


class LeaderboardSubmissionWithdrawal(TypedDict):
    """The statement by which the submission was taken back."""

    created: str
    reason: str
    signed_by: list[str]
    trusted: bool
    why_not: NotRequired[str]


class LeaderboardSubmissionAudit(TypedDict):
    """An audit."""

    file: str
    created: str
    verdict: Literal["reproduced", "differs", "refused", "incomplete"]
    evidence: Literal["E0", "E1", "E2", "E3"]
    sample: int | None
    smallest_share: float
    nonce: str
    device: str
    precision: Literal["fp32", "tf32", "bf16"]
    scores: int
    largest: float
    not_checked: list[str]
    signed_by: list[str]
    trusted: bool
    why_not: NotRequired[str]


class LeaderboardSubmissionFile(TypedDict):
    """A file."""

    path: str
    digest: str


class LeaderboardTable(TypedDict):
    """Results of one task and model."""

    task: Ref
    dataset: Ref
    model: Ref
    items: int
    clusters: int
    few_clusters: bool
    limited: bool
    sequential: NotRequired[bool]
    selection: NotRequired[Selection]
    scores: list[LeaderboardTableScore]
    entries: list[LeaderboardTableEntry]
    references: list[LeaderboardTableReference]


class LeaderboardTableScore(TypedDict):
    """A score."""

    signature: str
    family: str
    better: Better
    level: Literal["sample", "set"]
    range: list[float | None]
    flags: NotRequired[list[str]]
    of_task: bool


class LeaderboardTableEntry(TypedDict):
    """A result."""

    record: str
    result_id: str
    division: Division
    open_because: NotRequired[list[str]]
    explainer: str
    flags: list[str]
    settings: LeaderboardTableEntrySettings
    harness: Harness
    cost: LeaderboardTableEntryCost
    scores: list[LeaderboardTableEntryScore]


class LeaderboardTableEntrySettings(TypedDict):
    """How it was computed."""

    precision: Literal["fp32", "tf32", "bf16"]
    device: str
    batch_size: int
    batch_size_run: NotRequired[int]
    threads: int
    limit: int | None
    until: NotRequired[str]
    seed: int


class LeaderboardTableEntryCost(TypedDict):
    """What it cost."""

    forward_per_map: float
    backward_per_map: float
    ms_per_map: float
    device: str
    score_rows: int
    score_seconds: float


class LeaderboardTableEntryScore(TypedDict):
    """A score."""

    signature: str
    n: int
    statuses: StatusCounts
    mean: NotRequired[float]
    ci: NotRequired[Ci]
    coverage: NotRequired[float]
    figure: NotRequired[float]
    figure_ci: NotRequired[Ci]
    audited_mean: NotRequired[float]
    evidence: Literal["E1", "E2", "E3", "E4"]
    why_not_ranked: NotRequired[str]
    tied_for_best: NotRequired[bool]
    against: NotRequired[dict[str, Literal["better", "worse", "not-separated"]]]


class LeaderboardTableReference(TypedDict):
    """A reference."""

    explainer: str
    scores: list[LeaderboardTableReferenceScore]


class LeaderboardTableReferenceScore(TypedDict):
    """A score."""

    signature: str
    n: int
    statuses: NotRequired[StatusCounts]
    mean: NotRequired[float]
    ci: NotRequired[Ci]
