"""As many threads as cores, and no more of OpenCV."""

import cv2
import pytest

from medstrata.runtime import threads
from medstrata.runtime.threads import image_threads


def test_threads_are_as_many_as_cores_and_opencv_adds_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "default_threads", lambda: 3)
    before = cv2.getNumThreads()
    cv2.setNumThreads(2)
    try:
        with pytest.raises(KeyError), image_threads() as executor:  # noqa: PT012
            assert executor._max_workers == 3
            assert cv2.getNumThreads() == 1
            raise KeyError
        assert cv2.getNumThreads() == 2
        with image_threads(5) as executor:
            assert executor._max_workers == 5
    finally:
        cv2.setNumThreads(before)
