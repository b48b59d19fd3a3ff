"""How the report writes numbers, lists and names."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from medstrata.metrics.metric import METRICS
from medstrata.runtime import console

_THIN = "\N{NARROW NO-BREAK SPACE}"
_SPACE = "\N{NO-BREAK SPACE}"

_NAMED = 3  # runs that are named before the rest is counted

_SAME = "chosen by the same share of the validation labels"

_PROTOCOLS = {
    "full": "Whole network fine-tuned",
    "frozen": "Encoder frozen, linear head",
    "full_same": f"Whole network fine-tuned, {_SAME}",
    "frozen_same": f"Encoder frozen, linear head, {_SAME}",
    "same": f"Read out, {_SAME}",
}

_CLAUSES = {
    "full": "the whole network fine-tuned",
    "frozen": "the encoder frozen",
    "full_same": f"the whole network fine-tuned and {_SAME}",
    "frozen_same": f"the encoder frozen and its head {_SAME}",
    "same": f"the read-out {_SAME}",
}

_KINDS = {
    "binary": "two classes",
    "multiclass": "several classes, one per image",
    "multilabel": "several labels, any number per image",
    "ordinal": "ordered grades",
}


def metric_name(metric: str) -> str:
    """A metric as a reader knows it."""
    return METRICS[metric].label if metric in METRICS else metric


def protocol_name(protocol: str) -> str:
    """What was trained on the labels."""
    return _PROTOCOLS.get(protocol, protocol)


def protocol_clause(protocol: str) -> str:
    """The same within a sentence."""
    return _CLAUSES.get(protocol, f"protocol {protocol}")


def kind_name(kind: str) -> str:
    """What the targets of a task are."""
    return _KINDS.get(kind, kind)


def percent(fraction: float) -> str:
    """A share in per cent: 0.01 -> 1 %."""
    return f"{100 * fraction:.3g}{_THIN}%"


def percent_slug(fraction: float) -> str:
    """The same in the name of a file: 0.001 -> 0-1-percent."""
    return f"{100 * fraction:g}-percent".replace(".", "-")


def score_text(value: float) -> str:
    """A score with three decimals and a true minus sign."""
    return f"{value:.3f}".replace("-", "−")


def signed(value: float) -> str:
    """A difference of scores, its sign always shown; no difference has none."""
    text = score_text(value)
    return text if text.startswith("−") or float(text) == 0 else f"+{text}"


def p_text(value: float) -> str:
    """A p-value in two digits."""
    return f"{value:.2g}"


def interval_text(interval: tuple[float, float]) -> str:
    """Both ends of an interval."""
    return f"{score_text(interval[0])} to {score_text(interval[1])}"


def bracketed(interval: tuple[float, float]) -> str:
    """The same in a table."""
    return f"[{score_text(interval[0])}, {score_text(interval[1])}]"


def slug(*names: str) -> str:
    """A name for files: lower-case ASCII letters and digits, joined by hyphens."""
    plain = unicodedata.normalize("NFKD", " ".join(names)).encode("ascii", "ignore").decode()
    words = re.findall(r"[a-z0-9]+", plain.lower())
    return "-".join(words)[:60].strip("-") or "unnamed"


def sentence(text: str) -> str:
    """The same with a capital at its beginning."""
    return text[:1].upper() + text[1:]


def counted(number: int, noun: str) -> str:
    """A count with its noun: 1 image, 2 images."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def patients_named(patients: int, unknown: int, known: str | None = None) -> str:
    """Of how many patients images are, in words.

    Args:
        patients: Those that are known.
        unknown: Images whose patient is not.
        known: The number of known ones as it is to be shown.
    """
    if unknown and not patients:
        return "unknown patients"
    count = f"{known or f'{patients:,}'} patient{'' if patients == 1 else 's'}"
    return f"{count} and {counted(unknown, 'image')} of unknown ones" if unknown else count


def span(numbers: Iterable[int]) -> str:
    """One number, or the smallest and the largest of several."""
    ordered = sorted(numbers)
    low, high = ordered[0], ordered[-1]
    return f"{low:,}" if low == high else f"{low:,}–{high:,}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: a, b and c."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def run_names(names: Sequence[str]) -> str:
    """Names of runs; of many, the first and how many others."""
    if len(names) <= _NAMED + 1:
        return listed(names)
    return listed([*names[:_NAMED], counted(len(names) - _NAMED, "other run")])


def duration(seconds: float) -> str:
    """A time in its two largest units, which no line breaks apart."""
    return re.sub("(?<=[0-9]) ", _THIN, console.duration(seconds)).replace(" ", _SPACE)
