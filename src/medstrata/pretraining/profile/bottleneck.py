"""What limits a training run, in words, from what was observed of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from medstrata.pretraining.profile.roofline import Roofline
from medstrata.pretraining.profile.trace import ELEMENTWISE, PYTHON
from medstrata.runtime.memory import Memory

WAITING = "waiting for data"
LOOP = "records, progress and checkpoints"
Limit = Literal["data", "CPU", "device"]

# Shares from which something is worth a sentence.
_WAIT, _PYTHON, _OTHERS, _BANDWIDTH, _MEMORY = 0.05, 0.20, 0.10, 0.40, 0.90
_LOADER = 0.20  # of the processor time of a step on a CPU
_BANDWIDTH_BOUND = ("BatchNorm", ELEMENTWISE, "copies")


@dataclass(frozen=True, kw_only=True)
class StepMeasurements:
    """Some steps of a run.

    Attributes:
        on_gpu: Whether the step runs on a GPU.
        batch_size: Images a step on this process.
        step_seconds: From one step to the next.
        shares: What a step is made of, adding up to 1; the unknown remainder has a name.
        precision: `fp32` or `bf16`.
        flop: Floating-point operations of convolutions and products a step; None if not counted.
        ceiling: What the device can do.
        loader_rate: Two-view samples a second that all loader threads make while nothing else
            runs; None of a remote store.
        loader_rate_per_core: The same for a second of processor time.
        cores: What this process may use.
        threads: What PyTorch uses on a CPU.
        own_cores: Cores that this process kept busy on average.
        other_cores: Cores that other programs kept busy.
        memory: Peak and total, of the GPU if there is one.
    """

    on_gpu: bool
    batch_size: int
    step_seconds: float
    shares: Mapping[str, float]
    precision: str
    flop: float | None
    ceiling: Roofline
    loader_rate: float | None
    loader_rate_per_core: float | None
    cores: float
    threads: int
    own_cores: float
    other_cores: float
    memory: Memory

    @property
    def samples_per_s(self) -> float:
        """Two-view samples a second."""
        return self.batch_size / self.step_seconds

    @property
    def ceiling_share(self) -> float | None:
        """Share of the device's best rate in this precision, waiting included."""
        if self.flop is None:
            return None
        return self.ceiling.share(self.flop, self.step_seconds, self.precision)

    @property
    def loader_share(self) -> float | None:
        """On a CPU, the part of the usable processor time that making views takes."""
        if self.on_gpu or self.loader_rate_per_core is None:
            return None
        return self.samples_per_s / self.loader_rate_per_core / self.cores


def main_limit(step: StepMeasurements) -> Limit:
    """What to look at first."""
    if step.shares[WAITING] >= _WAIT and step.shares[WAITING] >= step.shares[PYTHON]:
        return "data"
    starved = step.threads > step.cores and not step.on_gpu
    if step.shares[PYTHON] >= _PYTHON or _others_share(step) >= _OTHERS or starved:
        return "CPU"
    return "device"


def _others_share(step: StepMeasurements) -> float:
    """Share of the cores that others took; of no concern where enough are left over."""
    needed = step.own_cores if step.on_gpu else max(step.own_cores, min(step.threads, step.cores))
    return max(0.0, min(step.other_cores, step.other_cores + needed - step.cores)) / step.cores


def explain(step: StepMeasurements) -> list[str]:
    """A sentence each on data, CPU, device and memory, the limit first, with what to do."""
    about = {"data": _data(step), "CPU": _cpu(step), "device": _device(step)}
    first = main_limit(step)
    rest = [sentence for name, sentence in about.items() if name != first]
    return [f"limit: {first}", about[first], *rest, _memory(step)]


def _data(step: StepMeasurements) -> str:
    wait = step.shares[WAITING]
    words = f"data: {wait:.1%} of the time the step waits for its batch"
    if step.loader_rate is not None:
        words += (
            f"; the loader alone makes {step.loader_rate:.0f} samples/s, the run takes "
            f"{step.samples_per_s:.0f}"
        )
    if wait >= _WAIT:
        return words + ". Prepare the store at a smaller size (256 px for 224), or use more cores."
    if step.loader_share is not None and step.loader_share >= _LOADER:
        return words + (
            f". Making views takes {step.loader_share:.0%} of the processor time that the step "
            "could use: prepare the store at a smaller size."
        )
    return words + ". Nothing to gain here."


def _cpu(step: StepMeasurements) -> str:
    words = (
        f"CPU: {step.own_cores:.1f} of {step.cores:g} cores busy with this run, "
        f"{step.other_cores:.1f} with other programs"
    )
    advice = []
    if not step.on_gpu and step.threads > step.cores:
        advice.append(f"PyTorch has {step.threads} threads: set OMP_NUM_THREADS={step.cores:.0f}")
    if _others_share(step) >= _OTHERS:
        advice.append("end what else runs, or set OMP_NUM_THREADS to the cores that are left")
    if step.shares[PYTHON] >= _PYTHON:
        advice.append(
            f"{step.shares[PYTHON]:.0%} of a step is Python and starting operations: give a larger "
            "--batch-size, or --compile true"
        )
    if not step.on_gpu and not advice and step.threads + 0.5 < step.cores:
        advice.append(f"PyTorch has {step.threads} threads: more (OMP_NUM_THREADS) may help")
    return f"{words}. {'; '.join(advice)}." if advice else f"{words}. Nothing to gain here."


def _device(step: StepMeasurements) -> str:
    largest = max(
        (name for name in step.shares if name not in (WAITING, LOOP, PYTHON)),
        key=lambda name: step.shares[name],
    )
    words = f"device: {largest} {step.shares[largest]:.0%} of the time"
    if step.ceiling_share is not None and step.precision in step.ceiling.product:
        words += (
            f"; {step.ceiling_share:.0%} of the {step.ceiling.best(step.precision):.0f} GFLOP/s "
            f"that {step.ceiling.device} reaches in {step.precision}"
        )
    if step.precision not in step.ceiling.product:
        return words + f". {step.precision} is emulated here, many times slower: --precision auto."
    if step.precision == "fp32" and "bf16" in step.ceiling.product:
        gain = step.ceiling.best("bf16") / step.ceiling.best("fp32")
        return words + f". bf16 is up to {gain:.1f} times as fast here: --precision auto."
    return words + ". Faster only with smaller images, a smaller network, or another device."


def _memory(step: StepMeasurements) -> str:
    peak, total = step.memory
    if peak is None:
        words = f"memory: {total:.1f} GiB"
    else:
        words = f"memory: {peak:.1f} of {total:.1f} GiB at the peak"
    bound = sum(step.shares.get(name, 0.0) for name in _BANDWIDTH_BOUND)
    words += (
        f"; BatchNorm, elementwise and copies, which wait for memory more than they compute, take "
        f"{bound:.0%}"
    )
    if peak is not None and peak >= _MEMORY * total:
        return words + ". Nearly full: give a smaller --batch-size and --accumulate 2."
    if bound >= _BANDWIDTH and step.precision == "fp32" and "bf16" in step.ceiling.product:
        return words + ". bf16 halves what they move: --precision auto."
    return words + "."
