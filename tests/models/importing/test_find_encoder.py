"""The encoder in a file is found, given by its place, or refused."""

from pathlib import Path

from support.foreign_files import QUERY, head, under
from support.matching import build, refusal, saved, taken


def test_an_unknown_prefix_is_said_and_can_be_given(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", {**under("alpha.beta.", QUERY), **head("alpha.gamma")})
    assert "its encoder lies under alpha.beta.: give that as the prefix" in refusal(
        build("resnet18"), path
    )
    assert taken(build("resnet18"), path, prefix="alpha.beta.").line.startswith(
        "matched 120 of 120"
    )
    assert "has no encoder where the prefix layout has it" in refusal(
        build("resnet18"), path, prefix="delta."
    )


def test_two_encoders_in_one_place_are_not_guessed_between(tmp_path: Path) -> None:
    state = {**under("backbone.", QUERY), **under("net.", QUERY)}
    path = saved(tmp_path / "w.safetensors", state)
    assert "has several encoders, under 'backbone.', 'net.'; add --prefix" in refusal(
        build("resnet18"), path
    )
    taken(build("resnet18"), path, prefix="net.")
    assert "has no key encoder, but main" in refusal(
        build("resnet18"),
        saved(tmp_path / "v.safetensors", under("backbone.", QUERY)),
        encoder="key",
    )


def test_a_tensor_with_and_without_a_wrapper_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.safetensors", {**under("", QUERY), **under("module.", QUERY)})
    assert "with and without `module.`" in refusal(build("resnet18"), path)
