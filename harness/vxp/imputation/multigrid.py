"""What both solvers of the imputation share: `imputation` by tensors, `imputation.compiled` for a CPU."""

DAMPING = 0.85
STEPS = 60
REFINEMENTS = 4
COARSEST = 5
"""A grid of at most this many points along its shorter side is solved directly."""
