"""The report of a study: the page, and its tables as files."""

from pathlib import Path

import medstrata as ms
from medstrata.data.synthetic.chest import make_images

make_images(Path("cxr"), images=96, size=32)
store = ms.prepare("cxr/images", "cxr.store", ms.PrepareSettings(labels="cxr/labels.csv", size=32))
for fraction in (0.5, 1.0):
    for arm in ("scratch", "scratch-again"):  # pre-trained runs for real
        settings = ms.FinetuneSettings(protocol="frozen", resamples=100, seed=len(arm))
        out = f"runs/{arm}-{fraction}"
        ms.finetune(
            "scratch", store, "finding", fraction, out, settings, backbone="resnet10t", arm=arm
        )

# --8<-- [start:report]
page = ms.write_report(["runs"], "report.html")
files = page.with_name("report-files")
for path in sorted(files.rglob("*.csv"))[:5]:
    print(path.relative_to(files))
# --8<-- [end:report]

# --8<-- [start:frames]
from medstrata.report.compare.frames import difference_frame, read_comparisons, score_frame

comparisons = read_comparisons([Path("runs")])
print(score_frame(comparisons).to_string(index=False))
print(difference_frame(comparisons).to_string(index=False))
# --8<-- [end:frames]
assert list(files.rglob("*.csv"))
