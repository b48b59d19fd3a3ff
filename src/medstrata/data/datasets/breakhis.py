"""BreakHis: histology of breast tumours at four magnifications."""

from pathlib import Path

import pandas as pd

from medstrata.data.datasets.columns import (
    files_in,
    folders_in,
    match_names,
    require_folder,
    text_table,
)
from medstrata.data.datasets.dataset import DamagedCopy, Dataset

_BELOW = "BreaKHis_v1/histology_slides/breast"
_SUBTYPES = {
    "A": "adenosis",
    "F": "fibroadenoma",
    "PT": "phyllodes_tumor",
    "TA": "tubular_adenoma",
    "DC": "ductal_carcinoma",
    "LC": "lobular_carcinoma",
    "MC": "mucinous_carcinoma",
    "PC": "papillary_carcinoma",
}
_TUMOURS = {"B": "benign", "M": "malignant"}
_NAME = r"^SOB_([BM])_(A|F|PT|TA|DC|LC|MC|PC)-(\d+-\d+[A-Z]*)-(40|100|200|400)-\d+\.png$"


def index(root: Path) -> pd.DataFrame:
    """The table of images; see `text_table`."""
    require_folder(root)
    files = files_in(root, _folders(root), ".png")
    if files.empty:
        raise DamagedCopy(f"{root} has no {_BELOW}/*/SOB/*/*/*/*.png")
    parts = match_names(files.str.rpartition("/")[2], _NAME, root)
    patients, subtype = parts[2], parts[1].map(_SUBTYPES).astype("string")
    two = subtype.groupby(patients).transform("nunique") > 1
    return text_table(
        {
            "file": files,
            "patient_id": patients,
            "tumour": parts[0].map(_TUMOURS),
            "subtype": subtype.mask(two),
            "magnification": parts[3],
        }
    )


def _folders(root: Path) -> list[str]:
    """Folders of images: <tumour>/SOB/<subtype>/<slide>/<magnification>, below the root."""
    start = _BELOW if (root / _BELOW).is_dir() else _BELOW.partition("/")[2]
    below = [f"{start}/{tumour}/SOB" for tumour in _TUMOURS.values()]
    for _ in range(3):
        below = [f"{folder}/{name}" for folder in below for name in folders_in(root / folder)]
    return below


BREAKHIS = Dataset(
    name="breakhis",
    title="BreakHis 1.0",
    modality="histopathology, H&E, breast tumours at 40x, 100x, 200x, 400x",
    images=7_909,
    patients=81,
    labels={"tumour": tuple(_TUMOURS.values()), "subtype": tuple(_SUBTYPES.values())},
    task="tumour",
    licence="CC BY 4.0",
    citation=(
        "Spanhol, Oliveira, Petitjean, Heutte: A Dataset for Breast Cancer Histopathological Image "
        "Classification, IEEE Transactions on Biomedical Engineering 2016"
    ),
    url="https://web.inf.ufpr.br/vri/databases/breast-cancer-histopathological-database-breakhis/",
    layout=f"""\
{_BELOW}/benign/SOB/adenosis/
    SOB_B_A_14-22549AB/40X/SOB_B_A-14-22549AB-40-001.png ...
The root is the folder above BreaKHis_v1, or BreaKHis_v1.""",
    note=(
        "The authors count 82 patients: 14-13412 stands under ductal and under lobular carcinoma. "
        "It counts once here, stays in one split, and its subtype is unknown. Column "
        "`magnification` is 40, 100, 200 or 400; most papers score each apart."
    ),
    index=index,
)
