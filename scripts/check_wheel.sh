#!/usr/bin/env bash
# Build sdist and wheel, install the wheel into an empty environment, and do a small job with it.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
python="$work/venv/bin/python"
"$python" -m pip install --quiet build
"$python" -m build --outdir "$work/dist" .
"$python" -m zipfile -l "$work"/dist/*.whl | grep medstrata/py.typed > /dev/null
"$python" -m pip install --quiet "$work"/dist/*.whl
cd "$work"
venv/bin/medstrata --help > /dev/null
venv/bin/medstrata doctor
venv/bin/medstrata demo --out demo --epochs 1
test -s demo/report.html
