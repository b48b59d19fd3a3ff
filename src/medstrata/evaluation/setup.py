"""What every evaluation of an encoder begins with: the encoder, the task and the run folder."""

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch

from medstrata.data.labels import Task, make_task
from medstrata.data.seen_patients import (
    SeenPatients,
    check_patients,
    keep_patients,
    read_patients,
)
from medstrata.data.store.store import Store
from medstrata.evaluation.feature_cache import evaluation_features
from medstrata.evaluation.result_tables import describe_store, save_subset
from medstrata.evaluation.rows import SplitRows, labelled_parts
from medstrata.evaluation.seeded_encoder import seeded_encoder
from medstrata.evaluation.settings import (
    AtlasSettings,
    FinetuneSettings,
    LabelSettings,
    ProbeSettings,
)
from medstrata.metrics.kinds import TaskKind
from medstrata.metrics.metric import primary_metric
from medstrata.models.encoders import LoadedEncoder, encoder_digest
from medstrata.models.features import StoredFeatures
from medstrata.runs.encoder_spec import EncoderSpec
from medstrata.runs.folder import is_finished, keep_audit, open_run, settings_dict, write_result
from medstrata.runs.kinds import RunKind
from medstrata.runtime.console import say
from medstrata.runtime.devices import device_name
from medstrata.runtime.random_state import TorchRandomState
from medstrata.runtime.randomness import DRAWS_VERSION, Stream


class EvaluationOptions(TypedDict, total=False):
    """What every evaluation of an encoder on a task takes by name, beside its settings.

    Attributes:
        kind: Overrides the guessed kind of the labels.
        backbone: timm's name, for all but runs.
        arm: Name in tables; by default the run's recipe, `scratch` or `imagenet`.
        features: A folder in which features of a frozen encoder are kept, for other runs that use
            the same encoder and store; none keeps none. Scores do not depend on it.
        resume: Leave a finished run as it is; start an unfinished one again.
        overwrite: Delete a run in `out` first.
        allow_leakage: Go on where the encoder was trained with labels of test patients.
    """

    kind: TaskKind | None
    backbone: str | None
    arm: str | None
    features: Path | str | None
    resume: bool
    overwrite: bool
    allow_leakage: bool


@dataclass(frozen=True)
class Evaluation:
    """An encoder on a task of a store, and the run folder of what is found.

    Attributes:
        out: The run folder.
        store: Images and labels.
        task: What is predicted.
        encoder: Which encoder was asked for.
        loaded: The encoder.
        arm: Its name in tables.
        recorded: What decides the run, for config.yaml and result.json.
        random_state: Draws random weights, and what training draws besides images.
        options: As the caller gave them.
        started: When, by `time.perf_counter`.
    """

    out: Path
    store: Store
    task: Task
    encoder: EncoderSpec
    loaded: LoadedEncoder
    arm: str
    recorded: Mapping[str, Any]
    random_state: TorchRandomState
    options: EvaluationOptions
    started: float

    @classmethod
    def begin(
        cls,
        encoder: str | Path | EncoderSpec,
        store: Store,
        task: str,
        out: Path | str,
        settings: FinetuneSettings | ProbeSettings | AtlasSettings,
        options: EvaluationOptions,
    ) -> "Evaluation":
        """Resolve the task and load the encoder; nothing is written yet.

        A path starts from the run folder `out`, so that both may be moved together.

        Args:
            encoder: `scratch`, `imagenet`, `imagenet=FILE`, a weights file or a run folder.
            store: Images and labels.
            task: What is predicted; see `medstrata.data.labels.make_task`.
            out: The run folder.
            settings: Has the seed and the side of the network's input.
            options: As the caller gave them.

        Raises:
            MedstrataError: the task or the encoder does not exist.
        """
        started, spec, out = time.perf_counter(), EncoderSpec.parse(encoder), Path(out)
        resolved = make_task(store, task, options.get("kind"))
        random_state = TorchRandomState(Stream.EVALUATED_WEIGHTS, settings.seed)
        loaded = seeded_encoder(
            spec,
            store,
            backbone=options.get("backbone"),
            image_size=settings.image_size,
            random_state=random_state,
        )
        arm = options.get("arm") or loaded.arm
        recorded = {
            "encoder": str(spec.relative_to(out)),
            "arm": arm,
            "backbone": loaded.architecture,
            "store": store.path.name,
            "store_digest": store.digest,
            "task": {
                "name": resolved.name,
                "kind": resolved.kind,
                "classes": list(resolved.classes),
            },
        }
        return cls(
            out, store, resolved, spec, loaded, arm, recorded, random_state, options, started
        )

    @property
    def seen(self) -> tuple[SeenPatients, ...]:
        """Whom the encoder was trained on."""
        return read_patients(self.encoder.path)

    def recording(self, settings: Mapping[str, Any]) -> "Evaluation":
        """The same with the settings that decide the run, by the names they are recorded under."""
        return replace(self, recorded={**self.recorded, **settings})

    def on_labels(
        self, fraction: float, settings: LabelSettings
    ) -> tuple["Evaluation", str, SplitRows]:
        """The same on a fraction of the labels, the metric it is judged by, and its images.

        Raises:
            MedstrataError: the fraction is out of range, a split lacks a class, or the encoder was
                trained with labels of test patients.
        """
        metric = primary_metric(self.task.kind, settings.metric)
        parts = labelled_parts(
            self.store, self.task, fraction, settings.subset_seed, settings.validation
        )
        allowed = self.options.get("allow_leakage", False)
        check_patients(self.arm, self.seen, self.store, parts.test, allow_leakage=allowed)
        decided = {"fraction": fraction, "draws": DRAWS_VERSION, **settings_dict(settings)}
        return self.recording(decided), metric, parts

    def open(self) -> AbstractContextManager[bool]:
        """Make the run folder, or take up one that was not finished; see `open_folder`."""
        return open_folder(
            self.out,
            self.store,
            self.recorded,
            resume=self.options.get("resume", False),
            overwrite=self.options.get("overwrite", False),
        )

    def record_labelled(self, parts: SplitRows) -> None:
        """Write down which images are trained on, and all patients whose labels are used."""
        save_subset(self.out, self.store, parts.train)
        used = np.concatenate([parts.train, parts.val])
        keep_patients(self.out, self.store, used, labelled=True, before=self.seen)

    def features(self, device: torch.device) -> StoredFeatures:
        """Features of every labelled image of the store by the encoder as it is."""
        return evaluation_features(self.loaded, self.store, device, self.options.get("features"))

    def finish(
        self, kind: RunKind, results: Mapping[str, Any], device: torch.device
    ) -> dict[str, Any]:
        """Write result.json, and give what it holds."""
        result = {
            **self.recorded,
            "encoder_digest": encoder_digest(self.loaded),
            "store": describe_store(self.store, self.task),
            **results,
            "seconds": time.perf_counter() - self.started,
            "device": device_name(device),
        }
        write_result(self.out, kind, self.recorded, result)
        return result


@contextmanager
def open_folder(
    out: Path, store: Store, recorded: Mapping[str, Any], *, resume: bool, overwrite: bool
) -> Iterator[bool]:
    """Make the run folder, or take up one that was not finished; no other process may meanwhile.

    Args:
        out: The run folder.
        store: Whose audit goes into it.
        recorded: Everything that decides the run.
        resume: Leave a finished run as it is; start an unfinished one again.
        overwrite: Delete a run in the folder first.

    Yields:
        Whether there is work to do; not when the run in the folder is finished.

    Raises:
        MedstrataError: as for `runs.folder.open_run`.
    """
    with open_run(out, recorded, resume=resume, overwrite=overwrite) as taken_up:
        if taken_up and is_finished(out):
            yield False
            return
        if taken_up:
            say(f"{out} was not finished; starting it again")
        keep_audit(store.path, out)
        yield True
