"""From the settings of a study to its cells: what is to be run, in which order, and on what."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any, Literal

from medstrata.evaluation.settings import FinetuneProtocol, Validation
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runtime.documents import read_json
from medstrata.runtime.randomness import DRAWS_VERSION
from medstrata.studies.cell_settings import finetune_settings, pretrain_settings
from medstrata.studies.settings import AnalysisName, AnalysisSettings, StudySettings

CellKind = Literal["prepare", "pretrain"] | FinetuneProtocol | AnalysisName


@dataclass(frozen=True, kw_only=True)
class StudyCell:
    """One piece of work, which ends in a folder of its own.

    Attributes:
        kind: What is done.
        data: On which data set.
        arm: With which arm; empty for `prepare`.
        fraction: Of the labels, where labels are used.
        validation: Which validation labels choose, where a classifier is trained.
        seed: Of this piece of work.
        draw: Which draw of the labels, where labels are used.
        needs: Folders of the cells that must be finished before.
        config: Everything that decides the outcome, as plain values.
    """

    kind: CellKind
    data: str
    arm: str = ""
    fraction: float | None = None
    validation: Validation = "full"
    seed: int = 0
    draw: int = 0
    needs: tuple[str, ...] = ()
    config: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def folder(self) -> str:
        """Where it ends, within the study's folder."""
        folder = _folder(self.kind, self.data, self.arm, self.fraction, self.seed, self.draw)
        return folder if self.validation == "full" else folder.replace("/", "_same/", 1)

    @property
    def digest(self) -> str:
        """Tells whether two cells do the same."""
        return hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:16]

    def __str__(self) -> str:
        words = [self.kind, self.data, self.arm]
        if self.fraction is not None:
            words.append(f"{100 * self.fraction:g} %")
        if self.validation != "full":
            words.append("of validation too")
        if self.kind != "prepare":
            words.append(f"seed {self.seed}")
        if self.fraction is not None and self.fraction < 1:
            words.append(f"draw {self.draw}")
        return " ".join(word for word in words if word)


def _folder(
    kind: CellKind,
    data: str,
    arm: str = "",
    fraction: float | None = None,
    seed: int = 0,
    draw: int = 0,
) -> str:
    if kind == "prepare":
        return f"stores/{data}.store"
    if fraction is None:
        return f"{kind}/{data}/{arm}-{seed}"
    return f"{kind}/{data}/{arm}-{fraction:g}-{seed}-{draw}"


def input_digests(settings: StudySettings, root: Path) -> dict[str, str]:
    """What tells the content of the stores and encoders that a study names, by these names.

    What does not exist yet, or lies at an address, is left out.

    Args:
        settings: The study.
        root: Folder that relative paths start from.
    """
    stores = {data.store for data in settings.data.values() if data.store is not None}
    encoders = {arm.encoder_on(data) for arm in settings.arms.values() for data in settings.data}
    for data, arm in product(settings.data, settings.arms):
        pretraining = pretrain_settings(settings, data, arm, 0)
        if pretraining is not None and pretraining.weights is not None:
            encoders.add(EncoderSpec.parse(pretraining.weights))
    digests = {name: _store_digest(root / name) for name in stores if "://" not in name}
    digests |= {str(spec): _encoder_digest(spec.resolved_from(root)) for spec in encoders if spec}
    return {name: digest for name, digest in digests.items() if digest is not None}


def _store_digest(folder: Path) -> str | None:
    path = folder / "store.json"
    return str(read_json(path)["digest"]) if path.is_file() else None


def _encoder_digest(spec: EncoderSpec) -> str | None:
    """Of a weights file, or of what a run exported."""
    if spec.path is None:
        return None
    exported = spec.path / "exported" / "backbone.safetensors"
    path = exported if spec.path.is_dir() else spec.path
    if not path.is_file():
        return None
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def plan(settings: StudySettings, digests: Mapping[str, str] | None = None) -> list[StudyCell]:
    """Every cell of a study, each after those it needs.

    Args:
        settings: The study.
        digests: Of the stores and encoders that it names; see `input_digests`.
    """
    return list(_Planner(settings, digests or {}).cells())


class _Planner:
    def __init__(self, settings: StudySettings, digests: Mapping[str, str]) -> None:
        self.settings, self.digests = settings, digests
        self.known: dict[str, StudyCell] = {}
        self.tuning = {
            (data, protocol): {
                **asdict(finetune_settings(settings, data, protocol)),
                "grid": settings.protocols[protocol].grid,
                "legacy": settings.legacy,
            }
            for data in settings.data
            for protocol in settings.protocols
        }

    def cells(self) -> Iterator[StudyCell]:
        yield from self._prepare_cells()
        yield from self._pretrain_cells()
        yield from self._finetune_cells()
        yield from self._analysis_cells()

    def _prepare_cells(self) -> Iterator[StudyCell]:
        for name, data in self.settings.data.items():
            if data.prepare is not None:
                yield self._cell("prepare", name, config=dict(data.prepare))

    def _pretrain_cells(self) -> Iterator[StudyCell]:
        for seed in range(self.settings.seeds):
            for data in self.settings.data:
                for arm in self.settings.arms:
                    settings = pretrain_settings(self.settings, data, arm, seed)
                    if settings is not None:
                        name = settings.weights and str(EncoderSpec.parse(settings.weights))
                        config = asdict(settings) | self._digest("weights", name)
                        yield self._cell("pretrain", data, arm, seed=seed, config=config)

    def _finetune_cells(self) -> Iterator[StudyCell]:
        settings = self.settings
        columns = [
            (protocol, data, validation, fraction)
            for protocol in sorted(settings.protocols)
            for data in settings.data
            for validation, fraction in self._choices()
        ]
        most = max(settings.num_draws(protocol, fraction) for protocol, *_, fraction in columns)
        # Seed by seed, draw by draw, so that the table is whole early and its means settle later.
        for seed, draw in product(range(settings.seeds), range(most)):
            for protocol, data, validation, fraction in columns:
                config = {**self.tuning[data, protocol], "validation": validation}
                for arm in settings.arms:
                    started = seed < settings.num_seeds(protocol, arm)
                    if started and draw < settings.num_draws(protocol, fraction):
                        yield self._cell(protocol, data, arm, fraction, seed, draw, config)

    def _choices(self) -> Iterator[tuple[Validation, float]]:
        for validation, fractions in self.settings.validation_fractions().items():
            for fraction in self.settings.fractions:
                if fraction in fractions:
                    yield validation, fraction

    def _analysis_cells(self) -> Iterator[StudyCell]:
        for data in self.settings.data:
            for arm in self.settings.arms:
                for kind, chosen in self.settings.analyses().items():
                    config = dict(chosen.settings)
                    if kind == "reuse":
                        if "full" not in self.settings.protocols:
                            continue  # it looks into networks that are tuned
                        config["legacy"] = self.settings.legacy
                    labels = [(None, 0, 0)] if kind == "atlas" else self._labels_of(chosen)
                    for fraction, seed, draw in labels:
                        yield self._cell(kind, data, arm, fraction, seed, draw, config)

    def _labels_of(self, chosen: AnalysisSettings) -> Iterator[tuple[float, int, int]]:
        """Fraction, seed and draw; the draw is one that is fine-tuned on as well."""
        protocol = max(self.settings.protocols)  # `full`, where there is
        for fraction in chosen.fractions or self.settings.fractions:
            draws = self.settings.num_draws(protocol, fraction)
            for seed in range(min(chosen.seeds or self.settings.seeds, self.settings.seeds)):
                yield fraction, seed, seed % draws

    def _needs(
        self, kind: CellKind, data: str, arm: str, fraction: float | None, seed: int, draw: int
    ) -> Iterator[str]:
        """The store that is made first, the pre-training it starts from, the tuned network."""
        if kind != "prepare" and self.settings.data[data].prepare is not None:
            yield _folder("prepare", data)
        if kind not in ("prepare", "pretrain") and self.settings.arms[arm].recipe is not None:
            yield _folder("pretrain", data, arm, seed=seed)
        if kind == "reuse":
            yield _folder("full", data, arm, fraction, seed, draw)

    def _cell(
        self,
        kind: CellKind,
        data: str,
        arm: str = "",
        fraction: float | None = None,
        seed: int = 0,
        draw: int = 0,
        config: dict[str, Any] | None = None,
    ) -> StudyCell:
        """A cell whose `config` also says on which images, by which encoder, and after what."""
        chosen = self.settings.data[data]
        config = {**(config or {}), "draws": DRAWS_VERSION}
        if kind != "prepare":
            config["store"] = chosen.store
            config |= self._digest("store", chosen.store)
        if kind not in ("prepare", "pretrain"):
            chosen_arm = self.settings.arms[arm]
            config |= {
                "encoder": chosen_arm.encoder,
                "backbone": chosen_arm.backbone or self.settings.backbone,
            }
            if (encoder := chosen_arm.encoder_on(data)) is not None:
                config |= self._digest("encoder", str(encoder))
            config |= {"task": chosen.task, "kind": chosen.kind}
        needs = tuple(self._needs(kind, data, arm, fraction, seed, draw))
        config["after"] = {one: self.known[one].digest for one in needs}
        cell = StudyCell(
            kind=kind,
            data=data,
            arm=arm,
            fraction=fraction,
            validation=config.get("validation", "full"),
            seed=seed,
            draw=draw,
            needs=needs,
            config=json.loads(json.dumps(config)),
        )
        self.known[cell.folder] = cell
        return cell

    def _digest(self, of: str, name: str | None) -> dict[str, str]:
        """What tells the content of a store or an encoder that the study names."""
        digest = self.digests.get(name or "")
        return {} if digest is None else {f"{of}_digest": digest}


def store_path(settings: StudySettings, data: str, out: Path, root: Path) -> str:
    """Where a data set's store is, or its address.

    Args:
        settings: The study.
        data: Name of the data set.
        out: Folder of the study, where stores are that it makes.
        root: Folder that relative paths in the settings start from.
    """
    ready = settings.data[data].store
    if ready is None:
        return str(out / _folder("prepare", data))
    return ready if "://" in ready else str(root / ready)
