"""tvsum: the user's own copy of the features of TVSum, 50 videos with the summaries of 20 people (Song et al. 2015)."""

from vxp.datasets.h5_features import copy_of

TVSUM = copy_of("tvsum", "Features and annotations of TVSum's 50 videos", "CC BY 3.0 (the videos)")
