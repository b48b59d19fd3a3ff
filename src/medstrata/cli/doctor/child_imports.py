"""A child of doctor's: imports libraries, and lets PyTorch say what it sees.

python -m medstrata.cli.doctor.child_imports torch torchvision
"""

import sys
from functools import partial
from importlib import import_module
from typing import Any

from medstrata.cli.doctor.child import report


def main() -> None:
    """Import each module that is named; after `torch`, ask it for its device."""
    for name in sys.argv[1:]:
        report(name, partial(_imported, name))
    if "torch" in sys.modules:
        report("device", _device)


def _imported(name: str) -> None:
    import_module(name)


def _device() -> dict[str, Any]:
    import torch

    facts: dict[str, Any] = {
        "cuda": torch.version.cuda or torch.version.hip,
        "threads": torch.get_num_threads(),
        "available": torch.cuda.is_available(),
        "native_bf16": _native_bf16(),
        "why": "",
        "gpus": [],
        "failure": "",
    }
    if facts["available"]:
        for number in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(number)
            facts["gpus"].append({"name": gpu.name, "bytes": gpu.total_memory})
        facts["failure"] = _failure()
    elif facts["cuda"]:
        facts["why"] = _why_not()
    return facts


def _failure() -> str:
    """Why a small product on the GPU goes wrong, as where this build has no code for it."""
    import torch

    try:
        torch.ones(64, 64, device="cuda").matmul(torch.ones(64, 64, device="cuda")).sum().item()
    except RuntimeError as error:
        return str(error).partition("\n")[0]
    return ""


def _why_not() -> str:
    """PyTorch's own words for not seeing a GPU."""
    import torch

    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        return str(error).partition("\n")[0]
    return ""


def _native_bf16() -> bool | None:
    """Whether bfloat16 is quick here; None where Accelerate, which that rests on, is broken."""
    try:
        from medstrata.runtime.devices import has_native_bf16
    except Exception:  # noqa: BLE001  (its own step says why)
        return None
    return has_native_bf16()


if __name__ == "__main__":
    main()
