"""Trains in a process of its own, to be killed or to be one of two: OUT STORE BACKBONE RECIPE."""

import sys
from pathlib import Path

import torch

from medstrata.data.store import open_store
from medstrata.pretraining import pretrain
from medstrata.recipes import recipe


def main() -> None:
    out, store, backbone, name = sys.argv[1:5]
    torch.set_num_threads(1)
    settings = recipe(
        name,
        backbone=backbone,
        epochs=6,
        batch_size=8,
        checkpoint_every=2,
        contrastive={"queue_size": 20, "key_sub_batches": 2},
        intermediate={"projector_size": 16} if name.endswith("bt") else {},
    )
    pretrain(open_store(Path(store)), settings, Path(out), resume=True)


if __name__ == "__main__":
    main()
