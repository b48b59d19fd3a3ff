"""Where the work runs, and the precision that the hardware has."""

from typing import Literal, assert_never

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from medstrata.runtime.machine import processor_flags
from medstrata.runtime.precision import Precision


def make_accelerator(precision: Precision) -> Accelerator:
    """The device and precision of a call: a GPU where there is one, else the CPU.

    A public function that calls this gives the caller's state back by `preserve_process_state`.
    """
    # Accelerate keeps the precision of the first run for the whole process, and refuses another.
    AcceleratorState._reset_state()  # noqa: SLF001  (there is no public way)
    return Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision=mixed_precision(precision),
    )


def evaluation_device() -> torch.device:
    """Where an encoder is evaluated that does not train: a GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def mixed_precision(wanted: Precision) -> Literal["no", "bf16"]:
    """What Accelerate is told: bf16 when wanted, or when the hardware computes it natively."""
    match wanted:
        case "auto":
            return "bf16" if has_native_bf16() else "no"
        case "bf16":
            return "bf16"
        case "fp32":
            return "no"
        case _:
            assert_never(wanted)


def has_native_bf16() -> bool:
    """Whether bfloat16 products run in hardware; emulated ones are hundreds of times slower."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return processor_has_native_bf16()


def processor_has_native_bf16() -> bool:
    """As `has_native_bf16`, of the processor, whatever else there is."""
    return not processor_flags().isdisjoint(("avx512_bf16", "amx_bf16"))


def compute_precision(accelerator: Accelerator) -> Literal["fp32", "bf16"]:
    """The precision that was chosen, for result.json."""
    return "bf16" if accelerator.mixed_precision == "bf16" else "fp32"


def device_name(device: torch.device) -> str:
    """GPU name, or the processor's instruction set and threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{device.type}, {capability}, {torch.get_num_threads()} threads"
