"""What names an encoder: read, written, moved."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.errors import MedstrataError

PATH = st.text("ab=./", min_size=1, max_size=8).map(Path) | st.sampled_from(
    [Path("scratch"), Path("imagenet"), Path("imagenet=a"), Path("/runs/lr=0.1")]
)
SPEC = (
    st.just(EncoderSpec("scratch"))
    | st.builds(EncoderSpec, st.just("imagenet"), st.none() | PATH)
    | st.builds(EncoderSpec, st.just("path"), PATH)
)


@given(SPEC)
def test_what_is_written_reads_as_the_same(spec: EncoderSpec) -> None:
    assert EncoderSpec.parse(str(spec)) == spec == EncoderSpec.parse(spec)


@pytest.mark.parametrize(
    ("text", "kind", "path", "name"),
    [
        ("scratch", "scratch", None, "scratch"),
        ("imagenet", "imagenet", None, "imagenet"),
        ("imagenet=a/w.pth", "imagenet", "a/w.pth", "imagenet"),
        ("imagenet=lr=1.pth", "imagenet", "lr=1.pth", "imagenet"),
        ("runs/lr=0.1", "path", "runs/lr=0.1", "lr=0.1"),
        ("./scratch", "path", "scratch", "scratch"),
        (Path("imagenet"), "path", "imagenet", "imagenet"),
    ],
)
def test_kinds(text: str | Path, kind: str, path: str | None, name: str) -> None:
    spec = EncoderSpec.parse(text)
    assert (spec.kind, spec.path, spec.name) == (kind, path and Path(path), name)


@pytest.mark.parametrize("text", ["", "scratch=w.pth", "imagenet="])
def test_what_names_nothing_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(MedstrataError, match=r"encoder '.*' is none; give a run folder") as caught:
        EncoderSpec.parse(text)
    assert "\n" not in str(caught.value)


@given(SPEC, st.sampled_from([Path("/out/run"), Path("run"), Path("a/b")]))
def test_seen_from_a_folder_and_back_is_the_same_place(spec: EncoderSpec, folder: Path) -> None:
    seen = EncoderSpec.parse(str(spec.relative_to(folder))).resolved_from(folder)
    assert seen.kind == spec.kind
    assert (seen.path and seen.path.resolve()) == (spec.path and spec.path.resolve())


def test_only_a_run_knows_its_network(tmp_path: Path) -> None:
    (tmp_path / "w.pth").touch()
    assert EncoderSpec("scratch").needs_backbone
    assert EncoderSpec("imagenet").needs_backbone
    assert EncoderSpec("path", tmp_path / "w.pth").needs_backbone
    assert not EncoderSpec("path", tmp_path).needs_backbone
