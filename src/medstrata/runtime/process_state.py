"""What a call needs of the process that it runs in, and how the caller gets it back.

Some things are the process's and no run's: torch's global generators and threads, the state that
all of Accelerate's objects share, environment variables.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from accelerate.state import AcceleratorState, GradientState, PartialState


@contextmanager
def preserve_process_state() -> Iterator[None]:
    """Give the caller's process back as it was, after an error too.

    Kept are torch's generators, those of every GPU among them, and its number of threads; the
    state that Accelerate's objects share, so that an `Accelerator` of the caller's goes on; and
    environment variables, which Accelerate, trackers and the profiler set for themselves. The
    process group that a launch of several processes begins with stays: it is of the launch.

    Serves as a decorator too, `@preserve_process_state()`: so the whole body of a public function
    may change any of these.
    """
    threads, variables = torch.get_num_threads(), dict(os.environ)
    # The objects hold these very dictionaries, so they are filled again and not replaced.
    shared = [kind._shared_state for kind in (AcceleratorState, GradientState, PartialState)]  # noqa: SLF001
    accelerate = [dict(state) for state in shared]
    try:
        with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
            yield
    finally:
        for state, before in zip(shared, accelerate, strict=True):
            state.clear()
            state.update(before)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        for name in os.environ.keys() - variables.keys():
            del os.environ[name]
        for name, value in variables.items():
            if os.environ.get(name) != value:
                os.environ[name] = value
