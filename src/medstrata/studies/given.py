"""What a study rests on and does not make: stores and encoders, told apart by their content."""

import hashlib
import json
from pathlib import Path

from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.studies.settings import StudySettings


def named_encoder(encoder: str, data: str) -> EncoderSpec:
    """An arm's encoder for one data set, `{data}` filled in."""
    return EncoderSpec.parse(encoder.replace("{data}", data))


def given_contents(settings: StudySettings, root: Path) -> dict[str, str]:
    """Digests of the stores and encoders that a study names, by the names it uses.

    What does not exist yet, or lies at an address, is left out.

    Args:
        settings: The study.
        root: Folder that relative paths start from.
    """
    stores = {data.store for data in settings.data.values() if data.store is not None}
    encoders = {
        named_encoder(arm.encoder, data)
        for arm in settings.arms.values()
        if arm.encoder is not None
        for data in settings.data
    }
    found = {name: _store(root / name) for name in stores if "://" not in name}
    found |= {str(spec): _encoder(spec.below(root)) for spec in encoders}
    return {name: digest for name, digest in found.items() if digest is not None}


def _store(folder: Path) -> str | None:
    path = folder / "store.json"
    return str(json.loads(path.read_text("utf-8"))["digest"]) if path.is_file() else None


def _encoder(spec: EncoderSpec) -> str | None:
    """Of a weights file, or of what a run exported."""
    if spec.path is None:
        return None
    exported = spec.path / "exported" / "backbone.safetensors"
    path = exported if spec.path.is_dir() else spec.path
    if not path.is_file():
        return None
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
