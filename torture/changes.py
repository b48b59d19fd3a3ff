"""Stores, checkpoints, encoders and weights that changed on the disk, or were made to harm."""

import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import Bench, contents, differing, remove, run
from material import Material

Change = Callable[[Path], None]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, len(data), max(1, len(data) // 40)):
        data[place] ^= 0x5A
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _deep(path: Path) -> None:
    path.write_text("[" * 5_000 + "]" * 5_000)


CHANGES: dict[str, Change] = {
    "flipped": _flip,
    "cut": _cut,
    "empty": _empty,
    "zeros": _zero,
    "missing": Path.unlink,
}


def _kinds(path: Path) -> dict[str, Change]:
    return CHANGES | ({"deep": _deep} if path.suffix in (".json", ".jsonl", ".yaml") else {})


def stores(bench: Bench, material: Material) -> None:
    """Each file of a store changed: pre-training, audit and embedding refuse it in one line."""
    log, copy = bench.folder / "log", bench.folder / "store"
    for name in ("store.json", "manifest.parquet", "images-00000.npy"):
        for kind, change in _kinds(material.store / name).items():
            remove(copy)
            shutil.copytree(material.store, copy)
            change(copy / name)
            for words in (
                ["audit", copy],
                material.pretrain(bench.folder / "run", copy),
                ["embed", material.pretrained, copy, "--out", bench.folder / "features.npz"],
            ):
                # Levels are levels: other pixels are found by the audit alone, which reads all.
                if name.startswith("images") and kind == "flipped" and words[0] != "audit":
                    continue
                ended = run(words, log)
                bench.check(
                    f"changed store: {words[0]} refuses it", ended.is_line, (name, kind, ended)
                )
            remove(bench.folder / "run")


def runs(bench: Bench, material: Material) -> None:
    """Each file of a run changed: refused in one line, or the same end as without."""
    log, out = bench.folder / "log", bench.folder / "run"
    wanted = contents(material.pretrained)
    unfinished = [path for path in _files(material.pretrained) if path.name != "result.json"]
    for path in unfinished:
        for kind, change in _kinds(path).items():
            remove(out)
            shutil.copytree(material.pretrained, out)
            (out / "result.json").unlink()
            change(out / path.relative_to(material.pretrained))
            ended = run([*material.pretrain(out), "--resume"], log)
            same = ended.status == 0 and not differing(contents(out), wanted)
            note = (path.name, kind, ended)
            bench.check("changed run: --resume, refused or same end", same or ended.is_line, note)
    for path in _files(material.tuned / "exported"):
        for kind, change in _kinds(path).items():
            remove(out)
            shutil.copytree(material.tuned, out)
            change(out / path.relative_to(material.tuned))
            predictions = bench.folder / "predictions.csv"
            ended = run(["predict", out, material.store, "--out", predictions], log)
            harmless = path.suffix in (".md", ".py")
            bench.check(
                "changed classifier: predict refuses it",
                ended.is_line or (harmless and ended.status == 0),
                (path.name, kind, ended),
            )
    for name in ("backbone.safetensors", "config.json"):
        for kind, change in _kinds(Path(name)).items():
            remove(out)
            shutil.copytree(material.pretrained, out)
            change(out / "exported" / name)
            for words in (
                material.freeze(bench.folder / "tuned", out),
                ["export", out, "--to", "timm", "--out", bench.folder / "export"],
                ["embed", out, material.store, "--out", bench.folder / "features.npz"],
            ):
                ended = run(words, log)
                note = (name, kind, ended)
                bench.check(f"changed encoder: {words[0]} refuses it", ended.is_line, note)
            remove(bench.folder / "tuned")
            remove(bench.folder / "export")


def _files(folder: Path) -> list[Path]:
    passing = (".lock", ".png", ".html")
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix not in passing]
    return sorted(path for path in found if path.name not in ("environment.json", "audit.json"))


class _Runs:
    """What runs a command as it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        import os

        return os.system, (f"touch {self.mark}",)


def weights(bench: Bench, material: Material) -> None:
    """Weights files that would run code, or ask for more than they hold: nothing runs, one line."""
    log, mark = bench.folder / "log", bench.folder / "it-ran"
    for name, data in _hostile(mark):
        path = bench.folder / name
        path.write_bytes(data)
        out = bench.folder / "imported"
        for words in (
            ["import-weights", path, "--architecture", "test_resnet", "--out", out],
            [*material.freeze(bench.folder / "tuned", path)],
        ):
            ended = run(words, log)
            ran = mark.exists()
            mark.unlink(missing_ok=True)
            bench.check("hostile weights: no code runs", not ran, (name, words[0]))
            bench.check("hostile weights: one line", ended.is_line, (name, words[0], ended))


def _hostile(mark: Path) -> Iterator[tuple[str, bytes]]:
    import io

    import torch

    harmful = {"state_dict": _Runs(mark)}
    for protocol in range(2, 5):
        yield f"raw{protocol}.pth", pickle.dumps(harmful, protocol)
    for zipped in (True, False):
        stream = io.BytesIO()
        torch.save(harmful, stream, _use_new_zipfile_serialization=zipped)
        yield f"saved{zipped}.pt", stream.getvalue()
    whole = io.BytesIO()
    torch.save({"a": torch.zeros(1000)}, whole)
    for part in (0, 10, 100, len(whole.getvalue()) - 30):
        yield f"cut{part}.pt", whole.getvalue()[:part]
    yield "long.safetensors", (2**60).to_bytes(8, "little") + b"{}"
    yield "deep.safetensors", (10_000).to_bytes(8, "little") + b"[" * 10_000
    for shape, ends in (("[1000000]", "[0, 4]"), ("[1]", "[4, 0]"), ("[-1]", "[0, 4]")):
        head = f'{{"a": {{"dtype": "F32", "shape": {shape}, "data_offsets": {ends}}}}}'.encode()
        yield f"lies{shape}.safetensors", len(head).to_bytes(8, "little") + head + bytes(4)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**26))
    yield "bomb.pt", bomb.getvalue()
