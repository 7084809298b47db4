"""Every metric once more, slowly: one sample, plain loops, by the paper and the pinned definitions, in NumPy and SciPy.

A metric `some-metric` has its oracle in `some_metric.py`, a function of that name. What it needs of the sample it takes
as positional arguments with these names (see `SAMPLE`); its keyword-only arguments are the protocol's parameters,
without defaults, so that nothing is assumed twice. It returns the score where the score is defined, and divides by zero
where it is not. The oracle of a metric of the set takes `samples`, a list of such mappings, and `clusters`, their
clusters' names. `VARIANTS` lists the parameters it is compared under, `TOLERANCE` what its digits are worth.
"""

SAMPLE = {
    "model": "image [3, H, W] or clip [3, T, H, W] in the model's input space -> logits float64 [K]; sequence [D, n] "
             "-> scores of its steps [n]",
    "image": "float64 [3, H, W], model input space; of a clip [3, T, H, W], of a sequence [D, n]",
    "attribution": "float32 [h, w], the stored map on its native grid; of a clip [T, H, W], on the input grid already; of "
                   "scores of parts [n], one per step",
    "payload": "the explanation as it is stored, of any kind: of words the bytes of their JSON document, zeros behind them",
    "target": "int, the explained class, frozen",
    "foil": "int, the class that a counterfactual is to reach",
    "concepts": "str [K], the names of what truths list",
    "truth": "[H, W] or [T, H, W], the first of the metric's truth keys (bool for a region; [N, 4] for boxes; "
             "[U, frames] for summaries)",
    "objects": "int [P], the object at every position, row-major, -1 at none",
    "pieces": "int [P], the same of the parts of an image",
    "parts": "int [n], the fragment of every step, from 0",
    "shots": "(start, end) [K], the fragments as half-open ranges of frames of the video",
    "labels": "int [L], the classes that count as correct",
    "truths": "every truth of the item by its key",
    "mean": "per-channel mean of the normalisation: raw = image*std + mean",
    "std": "per-channel standard deviation of the normalisation",
    "seed": "int, the task's seed",
    "item": "str, the item's id",
    "explain": "(image, target) -> map float32 [h, w] of the same explainer and model",
    "explain_randomised": "(stream, image, target, mode='all', stage=1, stages=1) -> the same for the model with its "
                          "parameters drawn anew: all, or by stages from the output, 'cascading' or 'independent'",
    "explain_compensated": "(amount, image, target) -> the same for the model f'(x) = f(x - amount)",
    "explain_relabelled": "(image, target) -> the same for the model that was trained on permuted labels",
    "representation": "image -> float64 vector, the input of the model's last linear layer",
    "segments": "n -> int [H, W], labels 0, 1, ... of about n superpixels of the raw image",
}


class UndefinedError(ZeroDivisionError):
    """No score, for the reason of this code; where only one reason is left a plain division by zero will do."""


class NotFiniteError(ArithmeticError):
    """No score: a number that it is computed from is not finite."""
