"""The nearest images in feature space, by cosine, and what they say of a label.

The neighbours are those of float32. Where the processor multiplies bfloat16 faster and there are
many images, bfloat16 products choose the candidates and float32 ranks them (`_screened`).

Legend: N images, B queries, D feature size, K neighbours, L labels or classes.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from medstrata.metrics.defaults import NEIGHBOURS, TEMPERATURE
from medstrata.metrics.kinds import TaskKind
from medstrata.runtime.devices import processor_has_native_bf16

# Queries compared with all images at a time, and cosines held at a time: the first binds up to
# 65,536 images, beyond it the second bounds the memory.
_BLOCK, _COSINES = 1024, 2**26
_CANDIDATES = 4  # looked at for each neighbour wanted
_SCREEN_FROM = 256  # images for each neighbour wanted; below, ranking costs what screening saves
_ROUNDING = 2.0**-8  # relative, of a number as bfloat16


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
    voted = []
    for cosine, voters in _search(
        F.normalize(bank, dim=1), F.normalize(queries, dim=1), neighbours
    ):
        weights = torch.softmax(cosine / temperature, dim=1)
        voted.append((weights.unsqueeze(2) * labels[voters]).sum(1))
    return torch.cat(voted)


def knn_probabilities(
    bank: NDArray[np.float32],
    targets: NDArray[np.int64] | NDArray[np.float32],
    queries: NDArray[np.float32],
    kind: TaskKind,
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
    blocks = _search(unit, unit, min(count, len(unit) - 1), group)
    cosines, places = zip(*blocks, strict=True)
    return torch.cat(places).numpy(), torch.cat(cosines).numpy()


class _Coarse(NamedTuple):
    """Images in bfloat16, less their mean.

    Without it all cosines of one query change by the same number, and what is rounded is smaller.
    """

    features: Tensor  # (N, D)
    longest: float  # length of the longest row
    lost: float  # length of the most that rounding took from a row


def _search(
    bank: Tensor, queries: Tensor, count: int, group: Tensor | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Cosines and places of the nearest images, the nearest first, block by block of the queries.

    Args:
        bank: Features of length 1, (N, D).
        queries: Features of length 1, (B, D).
        count: Neighbours wanted, K; at most N are given.
        group: With queries that are the bank itself, the group of each, (N,): none is found by a
            query of its own group.
    """
    count = min(count, len(bank))
    rows = max(1, min(_BLOCK, _COSINES // len(bank)))
    coarse = _coarse(bank, count)
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows]
        hidden = None if group is None else group[start : start + rows, None] == group
        if coarse is None:
            yield _ranked(block, bank, count, hidden)
            continue
        values, places, certain = _screened(block, bank, coarse, count, hidden)
        rest = ~certain
        if rest.any():
            left = None if hidden is None else hidden[rest]
            values[rest], places[rest] = _ranked(block[rest], bank, count, left)
        if 2 * int(rest.sum()) > len(block):
            coarse = None  # the images are too alike for it, and it only costs time
        yield values, places


def _ranked(
    queries: Tensor, bank: Tensor, count: int, hidden: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Cosines and places, (B, K), by the whole product; `hidden`, (B, N), are not found."""
    cosine = queries @ bank.T
    if hidden is not None:
        cosine.masked_fill_(hidden, -torch.inf)
    values, places = cosine.topk(count, dim=1)
    return values, places


def _coarse(bank: Tensor, count: int) -> _Coarse | None:
    """None where float32 is the faster way, or the only one."""
    fast = bank.device.type == "cpu" and processor_has_native_bf16()
    if not fast or bank.dtype != torch.float32 or len(bank) < _SCREEN_FROM * count:
        return None
    mean = bank.mean(0)
    features = torch.empty_like(bank, dtype=torch.bfloat16)
    longest = lost = 0.0
    for some, out in zip(bank.split(_BLOCK), features.split(_BLOCK), strict=True):
        moved = some - mean
        out.copy_(moved)
        longest = max(longest, float(out.float().norm(dim=1).max()))
        lost = max(lost, float((moved - out.float()).norm(dim=1).max()))
    return _Coarse(features, longest, lost)


def _screened(
    queries: Tensor, bank: Tensor, coarse: _Coarse, count: int, hidden: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """As `_ranked`, and for which queries, (B,), this is sure to be what float32 finds.

    A coarse cosine differs from the true one by `error` at the most: by what rounding took from
    the query and from the image (Cauchy-Schwarz), by the sum in float32, and by the rounding of
    the result. So whoever is among the nearest K lies at most two errors below the coarse K-th.
    All down to there are ranked in float32; where the candidates end before, nothing is certain.
    """
    rounded = queries.bfloat16()
    product = rounded @ coarse.features.T
    if hidden is not None:
        product.masked_fill_(hidden, -torch.inf)
    rough, candidates = product.topk(_CANDIDATES * count, dim=1)
    rough = rough.float()
    kth = rough[:, count - 1]
    length, lost = rounded.float().norm(dim=1), (queries - rounded.float()).norm(dim=1)
    error = lost * (coarse.longest + coarse.lost) + length * coarse.lost
    error += queries.shape[1] * 2.0**-24 * length * coarse.longest
    error += _ROUNDING * kth.abs()
    floor = kth - 2.1 * error  # a twentieth more, for what is rounded at the floor and here
    certain = rough[:, -1] < floor  # false where the floor is NaN: too few images are not hidden
    wanted = (rough >= floor[:, None]).sum(1).tolist()
    cosines = queries.new_empty(len(queries), count)
    places = candidates[:, :count].clone()
    # One buffer: rows that are gathered into fresh memory take twice as long.
    buffer = queries.new_empty(_CANDIDATES * count, queries.shape[1])
    for number in certain.nonzero().flatten().tolist():
        some = candidates[number, : wanted[number]]
        rows = torch.index_select(bank, 0, some, out=buffer[: len(some)])
        cosines[number], order = (rows @ queries[number]).topk(count)
        places[number] = some[order]
    return cosines, places, certain
