"""A folder that serves as a run, from a weights file of another program."""

import hashlib
from dataclasses import asdict
from pathlib import Path

from medstrata.models.backbones import timm_name
from medstrata.models.encoders import encoder_digest, export_backbone, load_foreign
from medstrata.models.importing.find_encoder import find_encoder
from medstrata.models.settings import ImportSettings
from medstrata.runs.folder import open_run, read_result, write_result
from medstrata.runs.kinds import kind_of
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError
from medstrata.runtime.process_state import preserve_process_state


@preserve_process_state()
def import_weights(
    file: Path | str,
    out: Path | str,
    *,
    backbone: str,
    settings: ImportSettings | None = None,
    overwrite: bool = False,
) -> Path:
    """Make an encoder of another program usable wherever a pre-training run is.

    Args:
        file: Safetensors, or what torch.save wrote; in any layout of docs/guide/weights.md.
        out: Folder to write.
        backbone: timm's name of the network.
        settings: Which encoder of the file, and its input; None recognises both.
        overwrite: Delete an earlier import in the folder first.

    Returns:
        The folder, with `exported/backbone.safetensors` and `result.json`.

    Raises:
        MedstrataError: the file cannot be read safely, or does not hold every tensor of the
            backbone, or the folder holds something else than an import; nothing is written then.
    """
    file, out = Path(file), Path(out)
    chosen, backbone = settings or ImportSettings(), timm_name(backbone)
    _require_room(file, out, overwrite=overwrite)
    found = find_encoder(file, prefix=chosen.prefix, encoder=chosen.encoder)
    loaded, matched = load_foreign(
        found,
        backbone,
        image_size=chosen.image_size,
        in_channels=chosen.in_channels,
        mean=chosen.mean,
        std=chosen.std,
    )
    loaded = loaded._replace(arm=chosen.arm or loaded.arm)
    described = {
        "file": file.name,
        "sha256": _sha256(file),
        "backbone": backbone,
        "prefix": found.prefix,
        "encoder": found.encoder,
        "arm": loaded.arm,
        "preprocessing": asdict(loaded.preprocessing),
    }
    with open_run(out, described, overwrite=overwrite):
        export_backbone(out / "exported", loaded)
        write_result(
            out,
            "import",
            described,
            {
                **described,
                "encoder_digest": encoder_digest(loaded),
                "layout": found.layout,
                "matched": matched.matched,
                "total": matched.total,
                "dropped": matched.dropped,
                "notes": [*matched.notes, *matched.cautions],
            },
        )
    say(f"encoder in {out}: give it wherever a run is asked for")
    return out


def _require_room(file: Path, out: Path, *, overwrite: bool) -> None:
    """Refuse to delete anything but an earlier import, and the file itself."""
    if not out.is_dir() or not any(out.iterdir()):
        return
    earlier = read_result(out)
    if earlier is None or kind_of(earlier) != "import":
        raise MedstrataError(f"{out} exists and holds no earlier import; choose another --out")
    if not overwrite:
        raise MedstrataError(f"{out} holds an earlier import; add --overwrite to replace it")
    if file.resolve().is_relative_to(out.resolve()):
        raise MedstrataError(f"{file} lies in {out} and would be deleted; choose another --out")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
