"""Pre-training in two processes of this machine, as the scripts of `launch/` start it."""

import os
import subprocess
import sys
from pathlib import Path

from medstrata.data.store.store import Store

LAUNCH = Path(__file__).parents[2] / "launch"
# The programs of this environment are found, whether it is activated or not.
PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": PATH}
OPTIONS = [
    "--recipe=fair/moco_bt",
    "--backbone=test_vit",
    "--epochs=4",
    "--batch-size=8",
    "--precision=fp32",
    "--contrastive.queue-size=20",
    "--views.size=32",
    "--intermediate.projector-size=16",
]


def on_two(store: Store, out: Path, *options: str) -> None:
    launcher = str(LAUNCH / "torchrun.sh")
    subprocess.run(
        [launcher, "2", str(store.path), str(out), *OPTIONS, *options], check=True, env=ONE_THREAD
    )
