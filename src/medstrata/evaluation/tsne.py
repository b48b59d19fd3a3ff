"""Features laid out on a plane by t-SNE, the same for the same features."""

import numpy as np
from numpy.typing import NDArray

COMPONENTS = 50
_PERPLEXITY = 30.0


def tsne_map(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Place images on a plane so that near features stay near; far distances mean little.

    Args:
        features: Shape (N, D), N 3 or more; reduced to 50 principal components first.

    Returns:
        Shape (N, 2).

    Source: van der Maaten and Hinton 2008, JMLR 9; its advice to reduce dimensions first.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    # Several threads add in an order of their own, and t-SNE makes the last bit visible.
    with threadpool_limits(limits=1):
        centred = features.astype(np.float64) - features.mean(0, dtype=np.float64)
        left, values, _ = np.linalg.svd(centred, full_matrices=False)
        reduced = left[:, :COMPONENTS] * values[:COMPONENTS]
        # t-SNE looks at three neighbours a unit of perplexity, which a small set does not have.
        perplexity = min(_PERPLEXITY, (len(features) - 1) / 3)
        # From the first two components, made small: nothing is drawn at random.
        start = reduced[:, :2] * (1e-4 / max(float(reduced[:, 0].std()), 1e-12))
        placed = TSNE(perplexity=perplexity, init=start.astype(np.float32)).fit_transform(reduced)
    return np.asarray(placed, dtype=np.float32)
