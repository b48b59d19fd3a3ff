"""Images of one patient that overlap: patches cut from one slide with a shift.

Legend: P patients, N samples, S side of a thumbnail.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medstrata.data.audit.similarity import LocalStructure, ReadImage, detail, overlap_correlation
from medstrata.runtime.randomness import Stream, permutation

CORRELATION = 0.75
_SIDE = 64
_PATIENTS, _IMAGES = 24, 40  # looked at; at most 19,000 pairs
_LEAST_AREA = 0.1  # of an image that overlaps

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Overlaps:
    """What a sample of patients shows.

    Attributes:
        patients: Looked at, of those with two images or more.
        images: Looked at.
        overlapping: Images among them that overlap with another of their patient.
        pairs: Pairs compared within patients.
        found: Pairs that overlap.
        control_pairs: Pairs compared between different patients.
        control_found: Pairs among these that were taken to overlap: how often chance does it.
        examples: Some overlapping pairs of sample numbers, with the shared part of the area.
    """

    patients: int
    images: int
    overlapping: int
    pairs: int
    found: int
    control_pairs: int
    control_found: int
    examples: tuple[tuple[int, int, float], ...]


def find_overlaps(patient_ids: NDArray[np.str_], read: ReadImage, seed: int = 0) -> Overlaps:
    """Look for overlapping images within some patients.

    Of a patient with more than 40 images a random part is looked at, so that the share found is a
    lower bound. As a control, images of different patients are compared in the same way.

    Args:
        patient_ids: Shape (N,).
        read: Gives the pixels of a sample, (H, W, C).
        seed: Decides which patients are looked at.
    """
    chosen = _choose(patient_ids, seed)
    pairs = control_pairs = control_found = 0
    overlapping: set[int] = set()
    examples: list[tuple[int, int, float]] = []
    before: _PatientImages | None = None
    for rows in chosen:
        now = _PatientImages.at(rows, read)
        one, other = np.triu_indices(len(rows), 1)
        shared = _shared_areas(now, now, one, other)
        pairs += len(one)
        for place in np.flatnonzero(shared):
            pair = (int(rows[one[place]]), int(rows[other[place]]))
            overlapping |= set(pair)
            examples.append((*pair, float(shared[place])))
        if before is not None:
            size = min(len(rows), len(before.rows))
            control = _shared_areas(now, before, np.arange(size), np.arange(size))
            control_pairs += size
            control_found += int(np.count_nonzero(control))
        before = now
    examples.sort(key=lambda example: (-example[2], example))
    return Overlaps(
        len(chosen),
        sum(map(len, chosen)),
        len(overlapping),
        pairs,
        len(examples),
        control_pairs,
        control_found,
        tuple(examples[:10]),
    )


def _choose(patient_ids: NDArray[np.str_], seed: int) -> list[Rows]:
    """Rows of some patients with two images or more."""
    _, patient, images = np.unique(patient_ids, return_inverse=True, return_counts=True)
    order = permutation(len(images), Stream.OVERLAP_PATIENTS, seed)
    several = order[images[order] > 1][:_PATIENTS]
    chosen = []
    for number in several.tolist():
        rows = np.flatnonzero(patient == number)
        part = permutation(len(rows), Stream.OVERLAP_IMAGES, seed, number)[:_IMAGES]
        chosen.append(np.sort(rows[part]))
    return chosen


@dataclass(frozen=True)
class _PatientImages:
    """Some images with the transforms that correlate them at all shifts."""

    rows: Rows
    details: list[LocalStructure]
    spectra: NDArray[np.complex64]

    @staticmethod
    def at(rows: Rows, read: ReadImage) -> "_PatientImages":
        details = [detail(read(int(row)), _SIDE) for row in rows]
        values = np.stack([one.values for one in details])
        spectra = np.fft.rfft2(values, s=(2 * _SIDE, 2 * _SIDE)).astype(np.complex64)
        return _PatientImages(rows, details, spectra)


def _shared_areas(
    a: _PatientImages, b: _PatientImages, one: Rows, other: Rows
) -> NDArray[np.float64]:
    """Share of the area in which each pair of images overlaps, 0 where it does not."""
    shared = np.zeros(len(one))
    for place, (left, right) in enumerate(zip(one.tolist(), other.tolist(), strict=True)):
        cross = a.spectra[left] * b.spectra[right].conj()
        # Of the phases alone, an overlap is a sharp peak whatever else the images hold.
        cross /= np.abs(cross) + 1e-6
        peaks = np.fft.irfft2(cross)
        down, across = np.unravel_index(int(peaks.argmax()), peaks.shape)
        shift = [int(way) - 2 * _SIDE * int(way >= _SIDE) for way in (down, across)]
        value, area = overlap_correlation(a.details[left], b.details[right], shift[0], shift[1])
        if value >= CORRELATION and area >= _LEAST_AREA:
            shared[place] = area
    return shared
