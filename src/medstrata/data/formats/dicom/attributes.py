"""What may be kept of a DICOM file besides its pixels: technical facts, never a name.

Attributes come from a closed list, none of which the Basic Application Level Confidentiality
Profile (PS3.15, table E.1-1) removes. Their values are held to the terms that the standard defines,
makers and models to known ones, since people also type names into fields that are not made for
them.
"""

import re
from typing import TYPE_CHECKING

from medstrata.data.formats.dicom.frames import as_list
from medstrata.data.formats.dicom.makers import is_maker, is_model

if TYPE_CHECKING:
    from pydicom import Dataset


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_SIDES = _words("L R B U LEFT RIGHT BOTH UNPAIRED")
# Values of which every word is one of these; PS3.3 unless said otherwise.
_TERMS = {
    # C.7.3.1.1.1, with retired terms.
    "Modality": _words(
        "AR AS ASMT AU BDUS BI BMD CD CF CP CR CS CT CTPROTOCOL DD DF DG DM DMS DOC DS DX EC ECG "
        "EEG EMG EOG EPS ES FA FID FS GM HC HD IO IOL IVOCT IVUS KER KO LEN LP LS MA MG MR MS NM "
        "OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PA PLAN POS PR PT PX REG RESP RF RG "
        "RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT RX SEG SM SMR SR SRF ST "
        "STAIN TG US VA VF XA XAPROTOCOL XC"
    ),
    "PhotometricInterpretation": _words(
        "MONOCHROME1 MONOCHROME2 PALETTE COLOR RGB ARGB CMYK HSV XYB YBR FULL PARTIAL 422 420 ICT "
        "RCT"
    ),
    "PresentationIntentType": _words("FOR PRESENTATION PROCESSING"),
    # PS3.16, annex L, its older list with the words that makers add.
    "BodyPartExamined": _words(
        "ABDOMEN ABDOMENPELVIS ADRENAL AND ANKLE AORTA ARM AXILLA BACK BLADDER BODY BRAIN BREAST "
        "BRONCHUS BUTTOCK C CALCANEUS CALF CAROTID CEREBELLUM CERVICAL CERVIX CHEEK CHEST "
        "CHESTABDOMEN CHESTABDPELVIS CLAVICLE COCCYX COLON CORNEA CORONARYARTERY CSPINE CTSPINE "
        "DUODENUM EAR ELBOW ESOPHAGUS EXTREMITY EYE EYELID FACE FEMUR FINGER FOOT FOREARM "
        "GALLBLADDER HAND HEAD HEADNECK HEART HIP HUMERUS IAC ILEUM ILIUM JAW JEJUNUM KIDNEY KNEE "
        "L LARYNX LEG LIVER LOWER LSPINE LSSPINE LUMBAR LUNG MAXILLA MEDIASTINUM MOUTH NECK "
        "NECKCHEST NECKCHESTABDOMEN NECKCHESTABDPELV NOSE ORBIT OVARY PANCREAS PAROTID PATELLA "
        "PELVIS PENIS PHARYNX PROSTATE RECTUM RETINA RIB RIBS SCALP SCAPULA SCLERA SCROTUM "
        "SHOULDER SINUS SKIN SKULL SPINE SPLEEN SSPINE STERNUM STOMACH SUBMANDIBULAR T TESTIS "
        "THIGH THORACIC THORAX THUMB THYMUS THYROID TLSPINE TMJOINT TOE TONGUE TRACHEA TSPINE "
        "UPPER URETER URETHRA UTERUS VAGINA VULVA WHOLE WHOLEBODY WRIST ZYGOMA"
    ),
    # C.8.1.3 and C.8.11.5 and PS3.16, CID 4014, with the words of plain radiography.
    "ViewPosition": _words(
        "AP PA LL RL LLD RLD LLO RLO LAO RAO LPO RPO CC MLO ML LM LMO SIO FB ISO XCC XCCL XCCM AT "
        "CV LATERAL LAT FRONTAL OBLIQUE AXIAL ANTERIOR POSTERIOR DECUBITUS ERECT SUPINE PRONE "
        "XTABLE SWIMMERS LORDOTIC"
    )
    | _SIDES,
    "ImageLaterality": _SIDES,
    "Laterality": _SIDES,
    # C.7.6.1.1.1: letters of up to three directions each.
    "PatientOrientation": frozenset(
        letters
        for first in "APLRHF"
        for second in ("", *"APLRHF")
        for third in ("", *"APLRHF")
        if len(set(letters := first + second + third)) == len(letters)
    ),
    "BurnedInAnnotation": _words("YES NO"),
    "LossyImageCompression": _words("00 01"),
}
_NUMBERS = (
    *("BitsStored", "ImageOrientationPatient"),
    *("PixelSpacing", "ImagerPixelSpacing", "SliceThickness"),
)
_MAKERS = {"Manufacturer": is_maker, "ManufacturerModelName": is_model}
FACTS = (*_TERMS, *_NUMBERS, *_MAKERS)

_NUMBER = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+)?")


def facts(dataset: "Dataset") -> dict[str, str]:
    """Technical attributes of a file by keyword, those that it has and that are what they ought."""
    values = {name: fact(dataset, name) for name in FACTS}
    return {name: value for name, value in values.items() if value}


def fact(dataset: "Dataset", name: str) -> str:
    """An attribute of `FACTS` as text; empty where it is absent or not what such a one may hold."""
    parts = [str(part).strip() for part in as_list(dataset.get(name))]
    return "\\".join(parts) if all(_is_plain(name, part) for part in parts) else ""


def _is_plain(name: str, text: str) -> bool:
    if name in _MAKERS:
        return _MAKERS[name](text)
    if name in _NUMBERS:
        return len(text) <= 16 and _NUMBER.fullmatch(text) is not None
    words = re.split(r"[ _\-]+", text.upper())
    return all(word in _TERMS[name] for word in words)
