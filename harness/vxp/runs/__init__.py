"""Task x explainers -> explanation sets -> results: plans, explaining, scoring, the documents of a run."""
