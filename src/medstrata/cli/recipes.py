"""List the pre-training recipes."""

from jsonargparse import ArgumentParser, Namespace

from medstrata.pretraining.recipes import RECIPES
from medstrata.runtime.console import put


def add_arguments(_: ArgumentParser) -> None:
    """The command takes nothing."""


def run(_: Namespace) -> None:
    """What the command does."""
    for name, make in RECIPES.items():
        settings = make(None)
        put(
            f"{name:<32} {settings.backbone}, batch {settings.batch_size}, "
            f"temperature {settings.contrastive.temperature}, "
            f"intermediate loss {settings.intermediate.loss}\n"
        )
