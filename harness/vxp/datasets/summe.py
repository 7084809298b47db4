"""summe: the user's own copy of the features of SumMe, 25 videos with the summaries of 15 to 18 people (Gygli et al. 2014)."""

from vxp.datasets.h5_features import copy_of

SUMME = copy_of("summe", "Features and annotations of SumMe's 25 videos", "as its authors state")
