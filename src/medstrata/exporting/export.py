"""A run's encoder as a folder that other programs load, proved by loading it."""

import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from medstrata.exporting.card import Statements, model_card
from medstrata.exporting.names import GRAPHS, TARGETS
from medstrata.exporting.scores import scores_of
from medstrata.exporting.source import Source, expected_outputs, fixed_pixels, open_source
from medstrata.exporting.target import Target
from medstrata.exporting.to_huggingface import HuggingFace
from medstrata.exporting.to_monai import Monai
from medstrata.exporting.to_onnx import Onnx
from medstrata.exporting.to_timm import Timm
from medstrata.exporting.to_torch_export import Program
from medstrata.exporting.to_torchvision import Torchvision
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import replacing_folder, write_text


def export(
    run: Path | str,
    to: str,
    out: Path | str,
    *,
    stages: bool = False,
    with_preprocessing: bool = False,
    head: bool = True,
    results: Sequence[Path | str] = (),
    statements: Statements | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an encoder for another program, load it there, and compare what both give.

    Args:
        run: A finished pre-training run, or a fine-tuned one with `protocol=full`.
        to: timm, torchvision, huggingface, monai, onnx or torch-export.
        out: The folder to write.
        stages: Whether an ONNX graph or program also gives the stage maps.
        with_preprocessing: Whether it takes uint8 pixels (B, H, W, C) and normalises them itself.
        head: Whether a fine-tuned run's head goes along, where the target holds one.
        results: Finished fine-tuning and probe runs of this encoder, for the model card.
        statements: What only you know, for the model card.
        overwrite: Replace an earlier export at `out`.

    Returns:
        The folder, with the weights, `config.json` and `README.md`.

    Raises:
        MedstrataError: the run cannot be exported, the target does not have such a network or
            gives something else, or the folder is in use.
    """
    run, out = Path(run), Path(out).resolve()
    target = _target(to, stages=stages, with_preprocessing=with_preprocessing)
    _require_free(out, overwrite=overwrite)
    source = open_source(run, head=head and target.takes_head)
    target.require(source)
    scores = scores_of(source, [Path(result) for result in results])
    with replacing_folder(out) as folder:
        target.write(source, folder)
        proof = _prove(to, target, source, folder)
        card = model_card(source, target, folder, scores, statements or Statements())
        write_text(folder / "README.md", card)
    say(proof)
    say(f"exported to {out}")
    return out


def _target(to: str, *, stages: bool, with_preprocessing: bool) -> Target:
    if (stages or with_preprocessing) and to not in GRAPHS:
        raise MedstrataError(
            f"stages and preprocessing belong to graphs ({', '.join(GRAPHS)}), not to {to}"
        )
    match to:
        case "timm":
            return Timm()
        case "torchvision":
            return Torchvision()
        case "huggingface":
            return HuggingFace()
        case "monai":
            return Monai()
        case "onnx":
            return Onnx(stages=stages, with_preprocessing=with_preprocessing)
        case "torch-export":
            return Program(stages=stages, with_preprocessing=with_preprocessing)
        case _:
            raise MedstrataError(f"no target {to!r}; there are {', '.join(TARGETS)}")


def _require_free(out: Path, *, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not _is_export(out):
        raise MedstrataError(f"{out} exists and is not an export; choose another --out")
    if not overwrite:
        raise MedstrataError(f"{out} already holds an export; add --overwrite to replace it")


def _is_export(folder: Path) -> bool:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "medstrata" in config


def _prove(to: str, target: Target, source: Source, folder: Path) -> str:
    """Load what was written as its users will, and compare outputs; returns what to say."""
    if find_spec(target.consumer) is None:
        return f"{to}: not checked, {target.consumer} is not installed"
    pixels = fixed_pixels(source)
    expected = expected_outputs(source, pixels)
    loaded = target.load(source, folder, pixels)
    largest = 0.0
    for name, given in loaded.outputs.items():
        difference = float((given - expected[name]).abs().max())
        if not difference <= target.tolerance * max(1.0, float(expected[name].abs().max())):
            raise MedstrataError(
                f"{target.consumer} gives other {name} than this encoder (by {difference:.2g}); "
                "nothing was written"
            )
        largest = max(largest, difference)
    held = (
        f"{', '.join(loaded.outputs)}"
        if loaded.tensors is None
        else f"{loaded.tensors} of {loaded.of} tensors"
    )
    return f"{to}: {held}, loaded by {target.consumer}, largest difference {largest:.2g}"
