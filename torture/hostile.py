"""What others wrote: mutated images, names that act, settings that explode, identities."""

import csv
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

from harness import Bench, remove, run
from material import Material

_NAMES = [
    "=cmd|'!A0",
    "+1+2",
    "-2+3",
    "@SUM(1)",
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "a\u202eb",
    "<script>alert(1)</script>",
    "a\nb",
    "\\input{x}",
    "'=1",
    "x;=1",
]
_MARK = "ZzqpfxMARK"


def fuzz(bench: Bench, material: Material) -> None:
    """Damaged images of every format: an image, or a reason; no crash, hang or huge memory."""
    from support import damage

    examples = bench.tries(60)
    for form in damage.FORMATS:
        folder = bench.folder / form
        folder.mkdir()
        words = [sys.executable, damage.__file__, str(folder), "17", str(examples), form]
        paths = os.pathsep.join([*sys.path, str(Path(damage.__file__).parents[1])])
        done = subprocess.run(
            words, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, check=False
        )
        for number in range(examples):
            fell = done.returncode != 0 and number == 0
            bench.check("mutated images: an image or a reason", not fell, done.stderr[-500:])


def text(bench: Bench, material: Material) -> None:
    """Names that a terminal, a spreadsheet, a browser or LaTeX would act on act nowhere."""
    log, folder = bench.folder / "log", bench.folder / "named"
    (folder / "images").mkdir(parents=True)
    sources = sorted(material.images.glob("*.png"))
    rows = [("file", "patient_id", "=finding")]
    for number, source in enumerate(sources):
        name = f"{_NAMES[number % len(_NAMES)].replace('/', '')}{number}.png"
        shutil.copy(source, folder / "images" / name)
        patient = number % 20
        rows.append(
            (name, f"{_NAMES[patient % len(_NAMES)]}{patient}", ["@no", "=yes"][patient % 2])
        )
        if number < len(_NAMES):
            (folder / "images" / f"{name}.bad.png").write_bytes(b"no image")
    with (folder / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    store, tuned, table = folder / "a.store", folder / "tuned", folder / "predictions.csv"
    odd = ["--max-quarantine", "0.5", "--label-columns", '["=finding"]', "--split", "0.5/0.25/0.25"]
    task = ["--task", "=finding", "--backbone", "test_resnet", "--resamples", "20"]
    task += ["--protocol", "frozen"]
    for words in (
        [*("prepare", folder / "images", "--labels", folder / "labels.csv", "--out", store), *odd],
        [*("finetune", "scratch", store, *task), "--arm", _NAMES[0], "--out", tuned],
        ["predict", tuned, folder / "images", "--out", table],
        ["report", tuned, "--to", folder / "page.html"],
    ):
        ended = run(words, log)
        bench.check("hostile names: commands do their work", ended.status == 0, ended)
        acting = [one for one in ended.text if one != "\n" and unicodedata.category(one) == "Cc"]
        bench.check("hostile names: lines act on nothing", not acting, ended.text)
    for path in folder.rglob("*.csv"):
        if path.name != "labels.csv":
            bench.check("hostile names: cells act on nothing", not _acting(path), _acting(path)[:3])
    for path in folder.rglob("*.html"):
        page = path.read_text()
        bench.check("hostile names: pages are escaped", "<script>alert" not in page, path)


def _acting(path: Path) -> list[str]:
    with path.open(newline="") as stream:
        cells = [cell for row in csv.reader(stream) for cell in row]
    return [
        one for one in cells if not one.isprintable() or (one[:1] in "=+-@" and not _number(one))
    ]


def _number(cell: str) -> bool:
    try:
        float(cell or "0")
    except ValueError:
        return False
    return True


def settings(bench: Bench, material: Material) -> None:
    """YAML that nests, repeats itself, names classes or is none: one line, no code."""
    log, mark = bench.folder / "log", bench.folder / "it-ran"
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
    )
    texts = [
        bomb,
        "a: &a [*a]\n",
        f"epochs: {'[' * 5_000}{']' * 5_000}\n",
        f"epochs: !!python/object/apply:os.system ['touch {mark}']\n",
        f"class_path: os.system\ninit_args: {{command: touch {mark}}}\n",
        "epochs: many\n",
        "views:\n  wurst: 1\n",
        "\x00\x01",
        "[1, 2]\n",
        "",
        "a: [b",
        "epochs: 1" + "0" * 5_000 + "\n",
    ]
    path, out = bench.folder / "settings.yaml", bench.folder / "out"
    for text in texts[: bench.tries(len(texts))]:
        path.write_text(text)
        for words in (
            ["pretrain", material.store, "--recipe", path, "--out", out],
            ["pretrain", material.store, "--config", path, "--out", out, "--steps", "-1"],
            ["study", path, "--out", out, "--dry-run"],
        ):
            ended = run(words, log)
            ran = mark.exists()
            mark.unlink(missing_ok=True)
            remove(out)
            bench.check("hostile settings: no code runs", not ran, (words[0], text[:80]))
            bench.check("hostile settings: one line", ended.is_line, (words[:3], text[:80], ended))


def identity(bench: Bench, material: Material) -> None:
    """A mark in every text of DICOM files is in nothing that is written."""
    log, folder = bench.folder / "log", bench.folder / "dicom"
    folder.mkdir()
    for number in range(24):
        _marked(number).save_as(folder / f"{number}.dcm", enforce_file_format=True)
    labels = bench.folder / "labels.csv"
    lines = [f"{number}.dcm,{number % 2}" for number in range(24)]
    labels.write_text("\n".join(["file,finding", *lines, ""]))
    written = bench.folder / "written"
    store, run_, tuned = written / "a.store", written / "run", written / "tuned"
    task = ["--task", "finding", "--resamples", "20"]
    for words in (
        ["prepare", folder, "--labels", labels, "--split", "0.5/0.25/0.25", "--out", store],
        material.pretrain(run_, store),
        ["finetune", run_, store, *task, "--protocol", "frozen", "--out", tuned],
        ["predict", tuned, folder, "--out", written / "predictions.csv"],
        ["export", run_, "--to", "timm", "--out", written / "export"],
        ["report", run_, tuned, "--to", written / "page.html"],
    ):
        ended = run(words, log)
        bench.check("identity: commands do their work", ended.status == 0, ended)
        bench.check("identity: no mark in what is said", _MARK not in ended.text, ended.text)
    for path in written.rglob("*"):
        if path.is_file():
            held = _MARK.encode() in path.read_bytes()
            bench.check("identity: no mark in what is written", not held, path)


def _marked(number: int):  # type: ignore[no-untyped-def]
    """A small radiograph whose every text attribute holds the mark."""
    import numpy as np
    from pydicom.datadict import DicomDictionary
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    dataset = Dataset()
    for tag, (kind, _, _, _, name) in DicomDictionary.items():
        if (
            kind in ("LO", "SH", "PN", "ST", "LT", "UT")
            and name
            and tag >> 16 in (8, 0x10, 0x18, 0x20, 0x40)
        ):
            setattr(dataset, name, _MARK)
    levels = np.random.default_rng(number).integers(0, 4096, (32, 32), dtype=np.uint16)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.PatientID, dataset.Modality = f"{_MARK}{number // 2}", "DX"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 32, 32, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation, dataset.PixelData = 0, levels.tobytes()
    return dataset
