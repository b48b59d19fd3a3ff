"""Where the time of a training step goes: its operations, by what they are for."""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.autograd import profiler

from medstrata.pretraining.losses import IntermediateLosses
from medstrata.pretraining.profile.measure import timed

# What an operation is for, by a piece of its name; the first that fits. The rest is elementwise.
_KINDS = {
    "convolutions": ("conv",),
    "BatchNorm": ("batch_norm", "batchnorm"),
    "attention": ("attention", "softmax"),
    "products (heads, linear layers)": ("mm", "linear", "matmul", "dot"),
    "copies": ("copy", "aten::to", "contiguous", "clone", "cat", "index", "memcpy", "memset"),
}
ELEMENTWISE, NCE, INTERMEDIATE = "elementwise", "InfoNCE", "intermediate losses"
UPDATES, PYTHON = "optimizer and key encoder", "Python and PyTorch's engine"
# What decides over the kind, by a piece of the name of an operation or of one that encloses it.
_PLACES = {
    UPDATES: ("Optimizer.", "_foreach_lerp"),
    NCE: ("QueueLogSumExp", "softplus", "Softplus"),
    INTERMEDIATE: (INTERMEDIATE,),
}
# Only encloses others, or waits for the device.
_IDLE = ("autograd::engine", "cudaDeviceSynchronize", "cudaStreamSynchronize")


def trace_steps(
    run: Callable[[], object], losses: IntermediateLosses, device: torch.device
) -> tuple[dict[str, float], float]:
    """Run something under PyTorch's profiler.

    Args:
        run: One training step.
        losses: The losses whose part is told from that of the encoders.
        device: On CUDA the times are those of the kernels, else of the calling thread.

    Returns:
        Seconds of each part, the largest first, and seconds in all. What is not in a part is
        Python, PyTorch's engine, or on CUDA a device without work; the tracing itself included.
    """
    cuda = device.type == "cuda"
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else it writes its own lines to stderr
    with (
        _marked(losses),
        profiler.profile(use_device="cuda" if cuda else None, use_kineto=cuda) as trace,
    ):
        seconds = timed(run, device)
    parts = _sum_up(trace.function_events or [], cuda)
    return dict(sorted(parts.items(), key=lambda part: -part[1])), seconds


@contextmanager
def _marked(losses: IntermediateLosses) -> Iterator[None]:
    """Let what the intermediate losses compute carry their name in the trace."""
    marked = profiler.record_function(INTERMEDIATE)  # a decorator, too
    # An attribute of the object hides the method of its class, until it is deleted.
    losses.__dict__.update(pool=marked(losses.pool), forward=marked(losses.forward))
    try:
        yield
    finally:
        del losses.__dict__["pool"], losses.__dict__["forward"]


def _sum_up(events: Any, cuda: bool) -> dict[str, float]:
    # A gradient is computed for the same part as what it is the gradient of; autograd numbers both.
    marked = {
        event.sequence_nr
        for event in events
        if event.sequence_nr >= 0 and _place(event) == INTERMEDIATE
    }
    parts: dict[str, float] = {}
    for event in events:
        if event.device_type.name != "CPU":
            continue  # a kernel, whose time stands with the operation that started it as well
        micros = event.self_device_time_total if cuda else event.self_cpu_time_total
        # What is compiled starts its kernels under an annotation alone.
        compiled = event.is_user_annotation and cuda and event.kernels
        if micros <= 0 or any(word in event.name for word in _IDLE):
            continue
        if event.is_user_annotation and not compiled:
            continue
        *_, root = _enclosing(event)
        part = INTERMEDIATE if root.sequence_nr in marked else _place(event)
        name = event.kernels[0].name if compiled else event.name
        part = part or _first(_KINDS, name.lower()) or ELEMENTWISE
        parts[part] = parts.get(part, 0.0) + micros / 1e6
    return parts


def _enclosing(event: Any) -> Iterator[Any]:
    """An event, and what encloses it, the innermost first."""
    while event is not None:
        yield event
        event = event.cpu_parent


def _place(event: Any) -> str | None:
    return next(filter(None, (_first(_PLACES, one.name) for one in _enclosing(event))), None)


def _first(names: Mapping[str, tuple[str, ...]], text: str) -> str | None:
    """The first name of which a piece is in a text."""
    return next((name for name, words in names.items() if any(one in text for one in words)), None)


def as_shares(parts: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Shares of a traced step, what is in no part included; they add up to 1."""
    whole = max(seconds, sum(parts.values()))  # kernels may overlap each other
    shares = {name: taken / whole for name, taken in parts.items()}
    return shares | {PYTHON: 1.0 - sum(shares.values())}
