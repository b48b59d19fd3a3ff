"""The nearest images in feature space, by cosine, and what they say of a label.

Legend: N images, B queries, D feature size, K neighbours, L labels or classes.
"""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from medstrata.weighted import Kind

NEIGHBOURS = 20
TEMPERATURE = 0.07
# Queries compared with all images at a time.
_BLOCK = 1024


def neighbour_probabilities(
    bank: Tensor,
    labels: Tensor,
    queries: Tensor,
    *,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> Tensor:
    """Class probabilities by a weighted vote of the nearest neighbours.

    Args:
        bank: Features with known labels, shape (N, D).
        labels: One-hot or multi-label targets of the bank, shape (N, L).
        queries: Features to be classified, shape (B, D).
        neighbours: Voters a query, at most N.
        temperature: A voter weighs exp(cosine / temperature).

    Returns:
        Shape (B, L); each row of one-hot labels sums to 1.

    Source: Wu et al. 2018, arXiv:1805.01978, section 3.4.
    """
    bank = F.normalize(bank, dim=1)
    voted = []
    for block in F.normalize(queries, dim=1).split(_BLOCK):
        cosine, voters = (block @ bank.T).topk(min(neighbours, len(bank)), dim=1)
        weights = torch.softmax(cosine / temperature, dim=1)
        voted.append((weights.unsqueeze(2) * labels[voters]).sum(1))
    return torch.cat(voted)


def knn_probabilities(
    bank: NDArray[np.float32],
    targets: NDArray[np.int64] | NDArray[np.float32],
    queries: NDArray[np.float32],
    kind: Kind,
    classes: int,
    *,
    neighbours: int = NEIGHBOURS,
    temperature: float = TEMPERATURE,
) -> NDArray[np.float32]:
    """Probabilities of a task by `neighbour_probabilities`, as the metrics read them.

    Args:
        bank: Features of labelled images, shape (N, D).
        targets: Theirs, as `Task.targets`.
        queries: Features to be classified, shape (B, D).
        kind: Of the task.
        classes: Classes or labels, L.
        neighbours: Voters a query.
        temperature: A voter weighs exp(cosine / temperature).

    Returns:
        Shape (B, 1) for binary, else (B, L). Each of several labels is voted on by the images in
        which it is known; one that no image knows is given 0.5.
    """

    def vote(features: NDArray[np.float32], labels: NDArray[np.float32]) -> NDArray[np.float32]:
        voted: NDArray[np.float32] = neighbour_probabilities(
            torch.from_numpy(features),
            torch.from_numpy(labels),
            torch.from_numpy(queries),
            neighbours=neighbours,
            temperature=temperature,
        ).numpy()
        return voted.clip(0, 1)  # rounding of a sum of weights

    if targets.ndim == 1:
        voted = vote(bank, np.eye(classes, dtype=np.float32)[targets])
        return voted[:, 1:] if kind == "binary" else voted
    known = ~np.isnan(targets)
    values = np.full((len(queries), classes), 0.5, dtype=np.float32)
    for label in np.flatnonzero(known.any(axis=0)):
        has = known[:, label]
        values[:, label] = vote(bank[has], targets[has, label, None].astype(np.float32))[:, 0]
    return values


def nearest(
    features: NDArray[np.float32], groups: NDArray[np.integer], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """The nearest images of each image, none of them from its own group.

    Args:
        features: Shape (N, D).
        groups: Group of each image, shape (N,): its own number leaves out the image alone, its
            patient all images of that patient.
        count: Neighbours wanted, K; at most N - 1 are given.

    Returns:
        Places in `features` and cosines, each (N, K), the nearest first. Where the other groups
        hold too few images, the cosines of the places beyond them are -inf.
    """
    unit, group = F.normalize(torch.from_numpy(features), dim=1), torch.tensor(groups)
    count = min(count, len(unit) - 1)
    places, cosines = [], []
    for block, own in zip(unit.split(_BLOCK), group.split(_BLOCK), strict=True):
        cosine = (block @ unit.T).masked_fill(own[:, None] == group, -torch.inf)
        values, found = cosine.topk(count, dim=1)
        places.append(found)
        cosines.append(values)
    return torch.cat(places).numpy(), torch.cat(cosines).numpy()
