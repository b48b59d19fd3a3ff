"""The kinds of run folders, as their result.json names them."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

# `import` is an encoder that was brought in, not trained here.
RunKind = Literal["pretrain", "import", "finetune", "probe", "reuse", "atlas"]


def kind_of(result: Mapping[str, Any]) -> RunKind | None:
    """The kind of run that a result.json is of; None where it is of none that is known here."""
    kind: RunKind | None = result.get("kind")
    return kind if kind in get_args(RunKind) else None
