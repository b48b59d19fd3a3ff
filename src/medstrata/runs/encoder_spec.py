"""How an encoder is named: on the command line, in Python, in a study, in a run's config.yaml."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from medstrata.runtime.errors import MedstrataError


@dataclass(frozen=True)
class EncoderSpec:
    """Which encoder is meant; nothing is loaded yet.

    Attributes:
        kind: `scratch` (random weights), `imagenet`, or `path`: whatever lies at `path`.
        path: Of `path`, a run folder or a weights file; of `imagenet`, a local file of such
            weights, None for those that timm downloads.
    """

    kind: Literal["scratch", "imagenet", "path"]
    path: Path | None = None

    @classmethod
    def parse(cls, text: "str | Path | EncoderSpec") -> "EncoderSpec":
        """Read `scratch`, `imagenet`, `imagenet=FILE`, or the path of a run or a weights file.

        A `Path` always means what lies there, as `./scratch` does.

        Raises:
            MedstrataError: the text names nothing, or gives `scratch` a file.
        """
        if isinstance(text, EncoderSpec):
            return text
        if isinstance(text, Path):
            return cls("path", text)
        kind, equals, file = text.partition("=")
        if text in ("", "imagenet=") or (kind == "scratch" and equals):
            raise MedstrataError(
                f"encoder {text!r} is none; give a run folder, a weights file, `scratch`, "
                "`imagenet` or `imagenet=FILE`"
            )
        if kind == "scratch":
            return cls("scratch")
        if kind == "imagenet":
            return cls("imagenet", Path(file) if file else None)
        return cls("path", Path(text))

    def __str__(self) -> str:
        if self.kind != "path":
            return self.kind if self.path is None else f"{self.kind}={self.path}"
        text = str(self.path)
        return text if EncoderSpec.parse(text) == self else os.path.join(os.curdir, text)  # noqa: PTH118

    @property
    def name(self) -> str:
        """Short, for messages: the last part of the path, or the kind."""
        return self.kind if self.kind != "path" or self.path is None else self.path.name

    @property
    def needs_backbone(self) -> bool:
        """Whether the network must be said too; only a run folder knows its own."""
        return self.kind != "path" or (self.path is not None and self.path.is_file())

    def require_present(self) -> None:
        """Refuse what names a place where nothing is.

        Raises:
            MedstrataError: there is neither a folder nor a file.
        """
        if self.path is not None and not self.path.exists():
            raise MedstrataError(f"no run folder and no weights file at {self.path}")

    def resolved_from(self, folder: Path) -> "EncoderSpec":
        """The same, with a relative path starting from a folder."""
        return self if self.path is None else replace(self, path=folder / self.path)

    def relative_to(self, folder: Path) -> "EncoderSpec":
        """The inverse of `resolved_from`: both may then be moved together."""
        if self.path is None:
            return self
        return replace(self, path=Path(os.path.relpath(self.path, folder)))
