"""How much each parameter matters to what runs end with, as weights of a distance."""

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Array = npt.NDArray[np.float64]

FEWEST = 20
"""Runs below which parameters weigh alike: too few to tell."""
_TREES = 200
_LEAF = 3


def axis_weights(points: Array, criteria: Array) -> Array:
    """The weight of each axis in the squared distance, [dimensions], in all 1.

    It is the axis's share in what a random forest (scikit-learn's) explains of the ranks of the criteria, all
    of which count alike, so that no objective is favoured by what counts as near. Parameters that change
    nothing then do not make runs look far.

    Args:
        points: of the unit cube, [runs, dimensions].
        criteria: what the runs ended with, finite, [runs, criteria].
    """
    runs, dimensions = points.shape
    even = np.full(dimensions, 1 / max(1, dimensions))
    if runs < FEWEST or not dimensions or not criteria.size:
        return even
    from sklearn.ensemble import RandomForestRegressor  # type: ignore[import-untyped]  # late: it takes a second

    ranks = rankdata(criteria, axis=0)
    forest = RandomForestRegressor(_TREES, min_samples_leaf=_LEAF, random_state=0)
    shares = forest.fit(points, ranks[:, 0] if ranks.shape[1] == 1 else ranks).feature_importances_
    # Where all runs end alike, nothing is explained.
    return np.asarray(shares) if shares.sum() > 0 else even
