"""A study with few labels: what is pre-training worth?"""

from pathlib import Path

import medstrata as ms
from medstrata.data.synthetic.chest import make_images


def main() -> None:
    make_images(Path("cxr"), images=96, size=32)

    # --8<-- [start:study]
    store = ms.prepare(
        "cxr/images", "cxr.store", ms.PrepareSettings(labels="cxr/labels.csv", size=32)
    )
    study = ms.study(
        store,
        "finding",
        {"scratch": None, "moco+mse": "fair/moco_mse"},
        "study",
        fractions=(0.5, 1.0),  # (0.01, 0.1, 1.0) for real
        seeds=1,  # 5 for real
        backbone="resnet10t",
        pretrain={"epochs": 1, "batch_size": 16, "contrastive": {"queue_size": 32}},
        protocols={"frozen": {"settings": {"resamples": 100}}},  # and full, for real
        probe=None,
        reuse=None,
        atlas=None,
    )
    # --8<-- [end:study]

    # --8<-- [start:tables]
    print(study.table().to_string(index=False))
    print(study.differences().to_string(index=False))
    print(study.report)
    # --8<-- [end:tables]
    assert set(study.table()["arm"]) == {"scratch", "moco+mse"}


if __name__ == "__main__":  # cells run in processes of their own, which read this file again
    main()
