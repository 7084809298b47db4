"""What is kept of a forward pass beside the readouts of its output."""

from vxp.core import Readout

VECTORS: tuple[Readout, ...] = ("output", "representation")
"""What is kept only where it is asked for, since it is long."""

__all__ = ["VECTORS"]
