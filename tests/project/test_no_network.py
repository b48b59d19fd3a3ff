"""From images to an export nothing asks for the network, nor leaves a trace in the home folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FLOW = """
import socket, sys
from pathlib import Path

asked = []


def watch(event, arguments):
    if event in ("socket.getaddrinfo", "socket.gethostbyname", "socket.sendto") or (
        event == "socket.connect" and arguments[0].family != socket.AF_UNIX
    ):
        asked.append((event, arguments[1:]))


sys.addaudithook(watch)

import medstrata as ms
from support.tiny import make_store

out = Path(sys.argv[1])
store = make_store(out)
settings = ms.recipe("fair/moco_mse", backbone="test_resnet", epochs=1, batch_size=8)
run = ms.pretrain(store, settings, out / "pre")
tuned = ms.finetune(
    run, store, "finding", 1.0, out / "tuned",
    ms.FinetuneSettings(epochs=1, min_steps=1, lr=0.01, resamples=20),
)
ms.probe(run, store, "finding", out / "probe", settings=ms.ProbeSettings(resamples=20))
ms.atlas(run, store, "finding", out / "atlas")
ms.embed(run, store, out / "features.npz")
ms.predict(tuned, store, out / "predictions.csv")
for target in sys.argv[2:]:
    ms.export(run, target, out / target)
ms.write_report([tuned], out / "report.html")
print(asked)
"""


def test_nothing_is_sent_and_nothing_is_left_at_home(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    home = tmp_path / "home"
    home.mkdir()
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("XDG_", "ORT_", "HF_", "MPLCONFIG"))
    }
    command = [sys.executable, "-c", FLOW, str(tmp_path / "out")]
    ran = subprocess.run(
        [*command, "onnx", "timm"],
        check=False,
        capture_output=True,
        text=True,
        env={
            **kept,
            "HOME": str(home),
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        },
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.splitlines()[-1] == "[]"
    left = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
    # Fonts that matplotlib found.
    assert not {name for name in left if not name.startswith(".cache/matplotlib/")}
