"""Whether the machine's processor, memory and GPU can be used, and are."""

from typing import Any

from medstrata.cli.doctor.findings import Finding
from medstrata.cli.doctor.machine import Machine

_GIB = 2**30
_FAST_BF16 = frozenset({"avx512_bf16", "amx_bf16"})


def processor_findings(machine: Machine, threads: int | None) -> list[Finding]:
    """Cores, threads and instruction sets.

    Args:
        machine: Its facts.
        threads: That PyTorch starts; None where it does not load.
    """
    usable = machine.usable_cores
    words = f"{machine.cores} cores"
    if machine.quota is not None:
        words += f", limited to {machine.quota:g} cores' worth of time"
    if threads is None or threads <= usable:
        findings = [Finding("ok", "processor", words)]
    else:
        words += f", on which PyTorch starts {threads} threads"
        findings = [Finding("warn", "processor", words, f"export OMP_NUM_THREADS={usable}")]
    if not machine.flags or "asimd" in machine.flags:
        return findings
    if "avx2" not in machine.flags:
        mend = "train elsewhere; in a virtual machine, let it see the host's processor"
        return [*findings, Finding("warn", "instructions", "no AVX2: many times slower", mend)]
    best = "AVX-512" if "avx512f" in machine.flags else "AVX2"
    bf16 = "native" if machine.flags & _FAST_BF16 else "not native, so fp32 is used"
    return [*findings, Finding("ok", "instructions", f"{best}; bf16 on the processor {bf16}")]


def memory_findings(machine: Machine) -> list[Finding]:
    """Memory that can be had, and shared memory."""
    findings = []
    if (usable := machine.usable_memory) is not None:
        words = f"{usable / _GIB:.1f} GiB can be had"
        limited = machine.room is not None and (machine.free is None or machine.room < machine.free)
        if limited:
            words += ", by the limit of this container or job"
        mend = "raise its limit" if limited else "end other programs"
        if usable < _GIB:
            findings.append(Finding("wrong", "memory", words, f"{mend}: at least 1 GiB is needed"))
        elif usable < 4 * _GIB:
            mend += ", or take a small --batch_size and --contrastive.queue_size"
            findings.append(Finding("warn", "memory", words, mend))
        else:
            findings.append(Finding("ok", "memory", words))
    if machine.shared is not None:
        words = f"{machine.shared / _GIB:.2f} GiB free in /dev/shm"
        if machine.shared < _GIB // 4:
            words += ", too little for several processes with a GPU each"
            mend = "start the container with --shm-size=1g, or delete what lies there"
            findings.append(Finding("warn", "shared memory", words, mend))
        else:
            findings.append(Finding("ok", "shared memory", words))
    return findings


def device_findings(
    machine: Machine, torch: dict[str, Any] | None, silent: str = ""
) -> list[Finding]:
    """Whether a GPU is there, and PyTorch can use it.

    Args:
        machine: Its facts.
        torch: What PyTorch said of its device; None where it does not load, or does not say.
        silent: Why it does not say, though it loads.
    """
    if torch is None and silent:
        mend = "look at nvidia-smi; set CUDA_VISIBLE_DEVICES= (empty) to do without the GPU"
        return [Finding("wrong", "device", f"PyTorch loads, but not its device: {silent}", mend)]
    if torch is None:
        return [Finding("wrong", "device", "PyTorch does not load", "mend torch first, see above")]
    if torch["available"]:
        return _gpu_findings(torch)
    if not machine.nvidia:
        return [Finding("ok", "device", "no GPU: the processor is used")]
    if machine.driver is None:
        mend = "install NVIDIA's driver; in a container, start it with --gpus all"
        return [Finding("wrong", "device", "there is an NVIDIA GPU, but no driver for it", mend)]
    if torch["cuda"] is None:
        words = f"there is an NVIDIA GPU (driver {machine.driver}), but torch is built without CUDA"
        return [Finding("wrong", "device", words, "install a build of torch with CUDA")]
    words = (
        f"PyTorch, built for CUDA {torch['cuda']}, does not see the GPU (driver {machine.driver})"
    )
    mend = "update the driver, or install a build of torch for an older CUDA"
    if "too old" not in torch["why"]:
        mend = f"look at nvidia-smi and CUDA_VISIBLE_DEVICES; else {mend}"
    return [Finding("wrong", "device", f"{words}. {torch['why']}", mend)]


def _gpu_findings(torch: dict[str, Any]) -> list[Finding]:
    names = ", ".join(f"{gpu['name']} ({gpu['bytes'] / _GIB:.0f} GiB)" for gpu in torch["gpus"])
    if torch["failure"]:
        mend = "install a build of torch that knows this GPU, or update the driver"
        words = f"{names} is seen, but does not compute: {torch['failure']}"
        return [Finding("wrong", "device", words, mend)]
    found = Finding("ok", "device", f"{names}, CUDA {torch['cuda']}")
    if torch["native_bf16"] is False:
        words = "the GPU has no bf16 of its own: --precision auto computes in fp32, which is slower"
        return [found, Finding("warn", "bf16", words, "nothing to mend; newer GPUs have it")]
    return [found]
