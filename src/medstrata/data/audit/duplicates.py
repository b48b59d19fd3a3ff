"""Images that are there twice: equal pixel by pixel, or one picture encoded in two ways.

Legend: N samples, P pairs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medstrata.data.audit.hamming import near_pairs
from medstrata.data.audit.similarity import LocalStructure, ReadImage, detail, thumbnail_similarity

# Copies that were encoded anew (JPEG at quality 60), brightened or shrunk by a third and enlarged
# again have a likeness of 0.87 or more in 99 of 100 images of the three sets this was measured on;
# the most alike of 10,121 candidates among 5,824 chest X-rays of different films have 0.72.
LIKENESS = 0.75
_LEAST_CANDIDATES, _CANDIDATES_PER_IMAGE = 100_000, 1
_CHAIN = 5  # patients up to which a group is no chain
_BLOCK = 4096  # candidates looked at together

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Duplicates:
    """What is there twice.

    Attributes:
        exact: Number of the group of equal pixels that each sample belongs to, shape (N,).
        first: Lower sample number of each near-identical pair, shape (P,).
        second: Higher sample number, shape (P,).
        likeness: Of each pair, `LIKENESS` to 1, shape (P,).
        candidates: Pairs that were compared by their pixels.
        radius: Bits in which fingerprints of a candidate differed at most.
        complete: Whether all such pairs were looked at.
    """

    exact: Rows
    first: Rows
    second: Rows
    likeness: NDArray[np.float64]
    candidates: int
    radius: int
    complete: bool

    def exact_pairs(self) -> list[tuple[int, int]]:
        """Each sample with the first of its group of equal pixels, itself left out."""
        _, shown, group = np.unique(self.exact, return_index=True, return_inverse=True)
        first = shown[group]
        later = np.flatnonzero(first != np.arange(len(self.exact)))
        return list(zip(first[later].tolist(), later.tolist(), strict=True))

    def near_pairs(self) -> list[tuple[int, int]]:
        """The near-identical pairs as sample numbers."""
        return list(zip(self.first.tolist(), self.second.tolist(), strict=True))


def find_duplicates(manifest: pd.DataFrame, read: ReadImage) -> Duplicates:
    """Find equal and near-identical images.

    Fingerprints that differ in few bits name candidates; the pixels decide. Of images with equal
    pixels one stands for all. Near-identical means one picture encoded, brightened or resized
    anew, or two photographs of one thing that lie over each other; turned, mirrored and cut
    copies are not looked for, nor those of images without structure.

    Args:
        manifest: Has pixel_checksum and fingerprint, N rows.
        read: Gives the pixels of a sample, (H, W, C).
    """
    exact, _ = pd.factorize(manifest["pixel_checksum"])
    _, shown = np.unique(exact, return_index=True)
    fingerprint = manifest["fingerprint"].to_numpy(dtype=np.int64)[shown].view(np.uint64)
    words, group = np.unique(fingerprint, return_inverse=True)
    most = max(_LEAST_CANDIDATES, _CANDIDATES_PER_IMAGE * len(manifest))
    candidates = near_pairs(words, most)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(words)))
    # Of several images with one fingerprint each is compared with the next, which is enough to
    # chain copies, and the first stands for them beside other fingerprints.
    alike = np.flatnonzero(np.diff(group[order]) == 0)
    one = np.concatenate([order[starts[candidates.first]], order[alike]])
    other = np.concatenate([order[starts[candidates.second]], order[alike + 1]])
    first, second = shown[np.minimum(one, other)], shown[np.maximum(one, other)]
    value = _verify(first, second, read)
    order = np.lexsort((second, first))
    order = order[value[order] >= LIKENESS]
    return Duplicates(
        exact.astype(np.int64),
        first[order],
        second[order],
        value[order],
        len(first),
        candidates.radius,
        candidates.complete,
    )


def _verify(first: Rows, second: Rows, read: ReadImage) -> NDArray[np.float64]:
    """Likeness of pairs; those with neighbouring first samples together, to read images once."""
    value = np.zeros(len(first))
    order = np.lexsort((second, first))
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        details: dict[int, LocalStructure] = {
            row: detail(read(row)) for row in np.unique((first[block], second[block])).tolist()
        }
        for pair in block.tolist():
            value[pair] = thumbnail_similarity(
                details[int(first[pair])], details[int(second[pair])]
            )
    return value


def component_numbers(count: int, pairs: Sequence[tuple[int, int]]) -> Rows:
    """Number of the component of each of `count` things, named by its lowest member, (count,)."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    one, other = np.asarray(pairs, dtype=np.int32).reshape(-1, 2).T
    graph = csr_matrix((np.ones(len(one), dtype=np.int8), (one, other)), shape=(count, count))
    _, labels = connected_components(graph, directed=False)
    _, lowest, component = np.unique(labels, return_index=True, return_inverse=True)
    return np.asarray(lowest[component], dtype=np.int64)


def link_patients(
    patient_ids: pd.Series, duplicates: Duplicates, largest: float = 0.05
) -> tuple[Rows, bool]:
    """Patients that share an image bound together, to be drawn into one split.

    Args:
        patient_ids: Shape (N,).
        duplicates: Of the samples.
        largest: Share of the images above which a group that near-identical pairs have chained
            together is taken apart, all of its near-identical pairs left out.

    Returns:
        A number for each sample, equal for bound patients, shape (N,); and whether near-identical
        pairs were left out.
    """
    patient, names = pd.factorize(patient_ids)
    copies = [(int(patient[a]), int(patient[b])) for a, b in duplicates.exact_pairs()]
    near = [(int(patient[a]), int(patient[b])) for a, b in duplicates.near_pairs()]
    certain, component = (
        component_numbers(len(names), pairs) for pairs in (copies, [*copies, *near])
    )
    images = np.bincount(component[patient], minlength=len(names))
    giant = images > largest * len(patient)
    # In a small set two patients may be 5 % of the images; a chain has many.
    giant &= np.bincount(component, minlength=len(names)) > _CHAIN
    giant &= images > np.bincount(certain[patient], minlength=len(names))
    # A component is named by its lowest member, so a pair's component is that of either.
    kept = [pair for pair in near if not giant[component[pair[0]]]]
    return component_numbers(len(names), [*copies, *kept])[patient], bool(giant.any())
