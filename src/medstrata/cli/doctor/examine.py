"""Everything that doctor looks at, in the order in which it is said."""

import sys
from concurrent.futures import ThreadPoolExecutor

from medstrata.cli.doctor.child import Answer, ask
from medstrata.cli.doctor.disks import disk_findings
from medstrata.cli.doctor.findings import Finding
from medstrata.cli.doctor.hardware import device_findings, memory_findings, processor_findings
from medstrata.cli.doctor.machine import look
from medstrata.cli.doctor.packages import (
    READING,
    TRAINING,
    extra_findings,
    library_findings,
    python_finding,
)


def examine(store: str | None = None) -> list[Finding]:
    """Look at this machine, and at a store. Nothing is sent anywhere, and nothing stays written.

    Libraries are loaded in processes of their own, which run at the same time.

    Args:
        store: A store to open and spot-check as well.

    Returns:
        What was seen, and what to do where something is wrong.
    """
    with ThreadPoolExecutor() as executor:
        training = executor.submit(ask, "child_imports", *TRAINING.values())
        reading = executor.submit(ask, "child_imports", *READING.values())
        codecs = executor.submit(ask, "child_decodes")
        opened = executor.submit(ask, "child_opens_store", store) if store is not None else None
        disks = disk_findings()
    device = training.result().facts.get("device")
    silent = training.result().errors.get("device", "")
    machine = look()
    return [
        python_finding(sys.version_info[:3]),
        *library_findings(training.result(), reading.result()),
        *device_findings(machine, device, silent),
        *processor_findings(machine, device and device["threads"]),
        *memory_findings(machine),
        *codec_findings(codecs.result()),
        *disks,
        *extra_findings(),
        *([] if opened is None else store_findings(str(store), opened.result())),
    ]


def codec_findings(answer: Answer) -> list[Finding]:
    """Whether each image format decodes to what was encoded."""
    mend = "pip install --force-reinstall pillow deflate"
    findings = [
        Finding(
            "wrong",
            f"format {name}" if name != "end" else "formats",
            error,
            "pip install --force-reinstall 'medstrata[dicom]'" if "DICOM" in name else mend,
        )
        for name, error in answer.errors.items()
    ]
    if answer.facts:
        findings.insert(0, Finding("ok", "formats", f"decoded: {'; '.join(answer.facts)}"))
    return findings


def store_findings(location: str, answer: Answer) -> list[Finding]:
    """Whether a store opens and holds what its manifest says."""
    again = "prepare it again with --overwrite"
    if "address" in answer.facts:
        words = f"{location} is not looked at: doctor makes no network call"
        return [Finding("warn", "store", words, "give the folder of a store")]
    if "opens" not in answer.facts:
        return [Finding("wrong", "store", next(iter(answer.errors.values())))]
    facts = answer.facts["opens"]
    said = f"{location}: {facts['images']} images of {facts['size']} px, {facts['digest'][:8]}"
    findings = [Finding("ok", "store", said)]
    if answer.facts.get("digest") is False:
        words = "the manifest is not the one that was written: its digest differs"
        findings.append(Finding("wrong", "store", words, again))
    pixels = answer.facts.get("pixels", {"looked_at": 0, "differing": []})
    if pixels["differing"]:
        words = (
            f"{len(pixels['differing'])} of {pixels['looked_at']} images are not what was written, "
            f"such as {pixels['differing'][0]}"
        )
        findings.append(Finding("wrong", "store", words, again))
    elif pixels["looked_at"]:
        findings.append(Finding("ok", "store", f"{pixels['looked_at']} images are as written"))
    findings += [
        Finding("wrong", "store", f"{step}: {error}", again)
        for step, error in answer.errors.items()
    ]
    return findings
