"""A run's encoder as a folder that other programs load, checked by loading it there."""

from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from medstrata.exporting.card import model_card
from medstrata.exporting.scores import card_scores
from medstrata.exporting.settings import GRAPHS, TARGETS, CardStatements, ExportSettings
from medstrata.exporting.source import ExportSource, expected_outputs, fixed_pixels, open_source
from medstrata.exporting.target import Target
from medstrata.runtime.console import say
from medstrata.runtime.documents import read_json
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.files import atomic_folder, write_text
from medstrata.runtime.import_path import load_object
from medstrata.runtime.process_state import preserve_process_state

_MEMBERS = {name for name in vars(Target) if not name.startswith("_")}


@preserve_process_state()
def export(
    run: Path | str,
    to: str,
    out: Path | str,
    settings: ExportSettings | None = None,
    *,
    results: Sequence[Path | str] = (),
    statements: CardStatements | None = None,
    overwrite: bool = False,
) -> Path:
    """Write an encoder for another program, load it there, and compare what both give.

    Args:
        run: A finished pre-training run, or a fine-tuned one with `protocol=full`.
        to: One of `medstrata.exporting.settings.TARGETS`; or the import path of a target of your
            own, see `Target`: `mypackage.targets:MyTarget`.
        out: The folder to write.
        settings: What is written.
        results: Finished fine-tuning and probe runs of this encoder, for the model card.
        statements: What only you know, for the model card.
        overwrite: Replace an earlier export at `out`.

    Returns:
        The folder, with the weights, `config.json` and `README.md`.

    Raises:
        MedstrataError: the run cannot be exported, the target does not have such a network or
            gives something else, or the folder is in use.
    """
    run, out, settings = Path(run), Path(out).resolve(), settings or ExportSettings()
    target = _target(to, settings)
    _require_free(out, overwrite=overwrite)
    source = open_source(run, head=settings.head and target.takes_head)
    target.require(source)
    scores = card_scores(source, [Path(result) for result in results])
    with atomic_folder(out) as folder:
        target.write(source, folder)
        checked = _check(to, target, source, folder)
        card = model_card(source, target, folder, scores, statements or CardStatements())
        write_text(folder / "README.md", card)
    say(checked)
    say(f"exported to {out}")
    return out


def _target(to: str, settings: ExportSettings) -> Target:
    if to not in TARGETS and ":" not in to:
        raise MedstrataError(
            f"no target {to!r}; there are {', '.join(TARGETS)}, and import paths of your own, "
            "package.module:Name"
        )
    # A name is short for the `TARGET` of the file of that name.
    own = f"{__package__}.to_{to.replace('-', '_')}:TARGET"
    target: Any = _loaded(own if to in TARGETS else to)
    options = {name: True for name in ("stages", "with_preprocessing") if getattr(settings, name)}
    fields = target.__dataclass_fields__ if is_dataclass(target) else {}
    if not options.keys() <= fields.keys():
        raise MedstrataError(
            f"stages and preprocessing belong to graphs ({', '.join(GRAPHS)}), not to {to}"
        )
    chosen: Target = replace(target, **options) if options else target
    return chosen


def _loaded(path: str) -> Target:
    named = load_object(path, "export target")
    absent = sorted(_MEMBERS - set(dir(named)))
    if absent:
        raise MedstrataError(f"export target {path} has no {', '.join(absent)}; see `Target`")
    try:
        target: Target = named() if isinstance(named, type) else named
    except TypeError as error:
        raise MedstrataError(f"export target {path} cannot be made: {error}") from error
    return target


def _require_free(out: Path, *, overwrite: bool) -> None:
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not _is_export(out):
        raise MedstrataError(f"{out} exists and is not an export; choose another --out")
    if not overwrite:
        raise MedstrataError(f"{out} already holds an export; add --overwrite to replace it")


def _is_export(folder: Path) -> bool:
    try:
        config = read_json(folder / "config.json")
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and "medstrata" in config


def _check(to: str, target: Target, source: ExportSource, folder: Path) -> str:
    """Load what was written as its users will, and compare outputs; returns what to say."""
    if find_spec(target.consumer) is None:
        return f"{to}: not checked, {target.consumer} is not installed"
    pixels = fixed_pixels(source)
    expected = expected_outputs(source, pixels)
    loaded = target.load(source, folder, pixels)
    largest = 0.0
    for name, output in loaded.outputs.items():
        difference = float((output - expected[name]).abs().max())
        if not difference <= target.tolerance * max(1.0, float(expected[name].abs().max())):
            raise MedstrataError(
                f"{target.consumer} gives other {name} than this encoder (by {difference:.2g}); "
                "nothing was written"
            )
        largest = max(largest, difference)
    held = (
        f"{', '.join(loaded.outputs)}"
        if loaded.num_loaded is None
        else f"{loaded.num_loaded} of {loaded.num_tensors} tensors"
    )
    return f"{to}: {held}, loaded by {target.consumer}, largest difference {largest:.2g}"
