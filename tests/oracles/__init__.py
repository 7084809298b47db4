"""Every metric once more, slowly: one sample, plain loops, by the paper and the pinned definitions, in NumPy and SciPy.

A metric `some-metric` has its oracle in `some_metric.py`, a function of that name. What it needs of the sample it takes
as positional arguments with these names (see `SAMPLE`); its keyword-only arguments are the protocol's parameters,
without defaults, so that nothing is assumed twice. It returns the score where the score is defined.
"""

SAMPLE = {
    "model": "image [3, H, W] in the model's input space -> logits float64 [K]",
    "image": "float64 [3, H, W], model input space",
    "attribution": "float32 [h, w], the stored map on its native grid",
    "target": "int, the explained class, frozen",
    "truth": "bool [H, W], the first of the metric's truth keys",
    "mean": "per-channel mean of the normalisation: raw = image*std + mean",
    "std": "per-channel standard deviation of the normalisation",
    "seed": "int, the task's seed",
    "item": "str, the item's id",
    "explain": "(image, target) -> map float32 [h, w] of the same explainer and model",
    "explain_randomised": "(stream, image, target) -> the same for the model with every parameter drawn anew",
}
