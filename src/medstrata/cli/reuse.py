"""Similarity (CKA) of each stage before and after fine-tuning, on the test images."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from medstrata.cli.arguments import (
    TRAINED_ON,
    add_allow_leakage,
    add_moved_encoder,
    add_run_options,
    on_store,
)
from medstrata.evaluation.settings import ReuseSettings


def add_arguments(parser: ArgumentParser) -> None:
    """What the command takes."""
    add = parser.add_argument
    add("run", type=Path, help="Run folder of a full fine-tuning.")
    add("store", type=str, help="The store it was tuned on, or its address.")
    add_run_options(parser)
    add_allow_leakage(parser, TRAINED_ON)
    add_moved_encoder(parser)
    parser.add_class_arguments(ReuseSettings, skip={"legacy"})
    add("--legacy", action="store_true", help="Also the figure with an absolute bandwidth of 0.8.")


def run(arguments: Namespace) -> None:
    """What the command does."""
    options = on_store(ReuseSettings, arguments)
    from medstrata.evaluation.feature_reuse import reuse
    from medstrata.runtime.memory import keep_freed_memory

    keep_freed_memory()
    reuse(options.pop("run"), **options)
