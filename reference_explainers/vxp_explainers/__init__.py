"""Reference explainers: one file each, found by scanning the modules (entry point group `vxp.explainers`)."""
