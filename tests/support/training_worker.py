"""Trains in its own process, to be killed or one of two: OUT STORE BACKBONE PRECISION [SHARDS]."""

import sys
from pathlib import Path

import torch

from medstrata.data.store.open import open_store
from medstrata.pretraining.loop import pretrain
from medstrata.pretraining.recipes import recipe


def main() -> None:
    out, store, backbone, precision, *shards = sys.argv[1:]
    torch.set_num_threads(1)
    settings = recipe(
        "fair/moco_bt",
        backbone=backbone,
        epochs=6,
        batch_size=8,
        precision=precision,
        checkpoint_every=2,
        contrastive={"queue_size": 20, "key_sub_batches": 2},
        intermediate={"projector_size": 16},
        shuffle_shards=int(shards[0]) if shards else None,
    )
    pretrain(open_store(store), settings, Path(out), resume=True)


if __name__ == "__main__":
    main()
