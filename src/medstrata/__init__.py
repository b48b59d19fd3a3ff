"""Self-supervised pre-training of medical image encoders, and proof of what it is worth."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medstrata.data.audit import audit as audit
    from medstrata.data.labels import make_task as make_task
    from medstrata.data.opening import open_store as open_store
    from medstrata.data.prepare import prepare as prepare
    from medstrata.demonstration import demo as demo
    from medstrata.embedding import embed as embed
    from medstrata.encoder_transformer import Encoder as Encoder
    from medstrata.evaluation_settings import FinetuneSettings as FinetuneSettings
    from medstrata.exporting.card import Statements as Statements
    from medstrata.exporting.export import export as export
    from medstrata.feature_atlas import atlas as atlas
    from medstrata.feature_reuse import reuse as reuse
    from medstrata.finetuning import finetune as finetune
    from medstrata.intermediate import intermediate_losses as intermediate_losses
    from medstrata.notebook import plot_metrics as plot_metrics
    from medstrata.notebook import plot_results as plot_results
    from medstrata.notebook import results as results
    from medstrata.notebook import run_metrics as run_metrics
    from medstrata.predicting import predict as predict
    from medstrata.pretraining import pretrain as pretrain
    from medstrata.probing import probe as probe
    from medstrata.recipes import recipe as recipe
    from medstrata.report.page import write_report as write_report
    from medstrata.settings import PretrainSettings as PretrainSettings
    from medstrata.studies.study import run_study as run_study
    from medstrata.studies.study import study as study
    from medstrata.weights_import import import_weights as import_weights

# Public name -> where it lives. Loaded on first use: importing the package costs nothing.
_PUBLIC = {
    "Encoder": ("medstrata.encoder_transformer", "Encoder"),
    "embed": ("medstrata.embedding", "embed"),
    "intermediate_losses": ("medstrata.intermediate", "intermediate_losses"),
    "plot_metrics": ("medstrata.notebook", "plot_metrics"),
    "plot_results": ("medstrata.notebook", "plot_results"),
    "predict": ("medstrata.predicting", "predict"),
    "results": ("medstrata.notebook", "results"),
    "run_metrics": ("medstrata.notebook", "run_metrics"),
    "FinetuneSettings": ("medstrata.evaluation_settings", "FinetuneSettings"),
    "PretrainSettings": ("medstrata.settings", "PretrainSettings"),
    "Statements": ("medstrata.exporting.card", "Statements"),
    "atlas": ("medstrata.feature_atlas", "atlas"),
    "audit": ("medstrata.data.audit", "audit"),
    "demo": ("medstrata.demonstration", "demo"),
    "export": ("medstrata.exporting.export", "export"),
    "finetune": ("medstrata.finetuning", "finetune"),
    "import_weights": ("medstrata.weights_import", "import_weights"),
    "make_task": ("medstrata.data.labels", "make_task"),
    "open_store": ("medstrata.data.opening", "open_store"),
    "prepare": ("medstrata.data.prepare", "prepare"),
    "pretrain": ("medstrata.pretraining", "pretrain"),
    "probe": ("medstrata.probing", "probe"),
    "recipe": ("medstrata.recipes", "recipe"),
    "run_study": ("medstrata.studies.study", "run_study"),
    "study": ("medstrata.studies.study", "study"),
    "reuse": ("medstrata.feature_reuse", "reuse"),
    "write_report": ("medstrata.report.page", "write_report"),
}


def __getattr__(name: str) -> object:
    if name not in _PUBLIC:
        raise AttributeError(f"medstrata has no {name!r}; it has {', '.join(_PUBLIC)}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(_PUBLIC)
