"""Self-supervised pre-training of medical image encoders, and measures of what it is worth."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medstrata.data.audit.audit import audit as audit
    from medstrata.data.labels import make_task as make_task
    from medstrata.data.prepare.prepare import prepare as prepare
    from medstrata.data.prepare.settings import PrepareSettings as PrepareSettings
    from medstrata.data.store.open import open_store as open_store
    from medstrata.evaluation.atlas import atlas as atlas
    from medstrata.evaluation.feature_reuse import reuse as reuse
    from medstrata.evaluation.finetune import finetune as finetune
    from medstrata.evaluation.probe import probe as probe
    from medstrata.evaluation.settings import AtlasSettings as AtlasSettings
    from medstrata.evaluation.settings import FinetuneSettings as FinetuneSettings
    from medstrata.evaluation.settings import ProbeSettings as ProbeSettings
    from medstrata.evaluation.settings import ReuseSettings as ReuseSettings
    from medstrata.exporting.export import export as export
    from medstrata.exporting.settings import CardStatements as CardStatements
    from medstrata.exporting.settings import ExportSettings as ExportSettings
    from medstrata.inference.embed import embed as embed
    from medstrata.inference.predict import predict as predict
    from medstrata.inference.settings import EmbedSettings as EmbedSettings
    from medstrata.inference.transformer import Encoder as Encoder
    from medstrata.models.import_weights import import_weights as import_weights
    from medstrata.models.settings import ImportSettings as ImportSettings
    from medstrata.pretraining.hooks import intermediate_losses as intermediate_losses
    from medstrata.pretraining.loop import pretrain as pretrain
    from medstrata.pretraining.recipes import recipe as recipe
    from medstrata.pretraining.settings import PretrainSettings as PretrainSettings
    from medstrata.report.notebook import plot_metrics as plot_metrics
    from medstrata.report.notebook import plot_results as plot_results
    from medstrata.report.notebook import results as results
    from medstrata.report.notebook import run_metrics as run_metrics
    from medstrata.report.page import write_report as write_report
    from medstrata.studies.demo import demo as demo
    from medstrata.studies.study import run_study as run_study
    from medstrata.studies.study import study as study

# Public name -> the module it lives in. Loaded on first use: importing the package costs nothing.
_PUBLIC = {
    "Encoder": "medstrata.inference.transformer",
    "embed": "medstrata.inference.embed",
    "intermediate_losses": "medstrata.pretraining.hooks",
    "plot_metrics": "medstrata.report.notebook",
    "plot_results": "medstrata.report.notebook",
    "predict": "medstrata.inference.predict",
    "results": "medstrata.report.notebook",
    "run_metrics": "medstrata.report.notebook",
    "ExportSettings": "medstrata.exporting.settings",
    "EmbedSettings": "medstrata.inference.settings",
    "ImportSettings": "medstrata.models.settings",
    "AtlasSettings": "medstrata.evaluation.settings",
    "ProbeSettings": "medstrata.evaluation.settings",
    "ReuseSettings": "medstrata.evaluation.settings",
    "FinetuneSettings": "medstrata.evaluation.settings",
    "PretrainSettings": "medstrata.pretraining.settings",
    "PrepareSettings": "medstrata.data.prepare.settings",
    "CardStatements": "medstrata.exporting.settings",
    "atlas": "medstrata.evaluation.atlas",
    "audit": "medstrata.data.audit.audit",
    "demo": "medstrata.studies.demo",
    "export": "medstrata.exporting.export",
    "finetune": "medstrata.evaluation.finetune",
    "import_weights": "medstrata.models.import_weights",
    "make_task": "medstrata.data.labels",
    "open_store": "medstrata.data.store.open",
    "prepare": "medstrata.data.prepare.prepare",
    "pretrain": "medstrata.pretraining.loop",
    "probe": "medstrata.evaluation.probe",
    "recipe": "medstrata.pretraining.recipes",
    "run_study": "medstrata.studies.study",
    "study": "medstrata.studies.study",
    "reuse": "medstrata.evaluation.feature_reuse",
    "write_report": "medstrata.report.page",
}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"medstrata has no {name!r}; it has {', '.join(_PUBLIC)}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    return sorted(_PUBLIC)
