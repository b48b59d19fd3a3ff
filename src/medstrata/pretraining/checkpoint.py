"""What a checkpoint of pre-training holds, and how a run goes on from it."""

from typing import Any

from medstrata.pretraining.build import Training, update_monitored_backbone
from medstrata.pretraining.fsdp import full_state, load_full_state
from medstrata.runs.checkpoints import checkpoints, load_checkpoint, save_checkpoint
from medstrata.runs.folder import require_equal, settings_dict
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError, one_line
from medstrata.runtime.random_state import generators, set_generators


def save_training(training: Training, metrics_length: int) -> None:
    """Write everything a run needs to go on as if it had never stopped; all processes call this.

    Args:
        training: As it is after a step.
        metrics_length: Bytes of metrics.jsonl that belong to the steps so far.
    """
    model, optimizer = _model_state(training)
    cpu, gpus = generators()  # in use while it trains
    if training.accelerator.is_main_process:
        # Whatever is added here is put back by `restore_training`.
        state = {
            "settings": _decided(training),
            "step": training.step,
            "model": model,
            "queue": training.queue.state_dict(),
            "optimizer": optimizer,
            "torch_rng": cpu,
            "cuda_rng": gpus,
            "metrics_length": metrics_length,
        }
        keep = training.settings.keep_checkpoints
        save_checkpoint(training.folder / "checkpoints", training.step, state, keep)
    training.accelerator.wait_for_everyone()


def restore_training(training: Training) -> int:
    """Put the newest checkpoint of the run's folder back, if there is one; all processes call this.

    Returns:
        As `save_training` was given `metrics_length`; 0 for a run that has just begun.

    Raises:
        MedstrataError: the checkpoint is damaged, of a version that draws otherwise, or of other
            settings: those of config.yaml may have been edited.
    """
    saved = checkpoints(training.folder / "checkpoints")
    if not saved:
        return 0
    state = load_checkpoint(saved[-1])
    if "settings" in state:  # those of earlier versions have none
        require_equal(training.folder, state["settings"], _decided(training))
    try:
        training.step = state["step"]
        _load_model_state(training, state["model"], state["optimizer"])
        training.queue.load_state_dict(state["queue"])
        with training.random_state.in_use():
            set_generators(state["torch_rng"], state["cuda_rng"])
        metrics_length = int(state["metrics_length"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise MedstrataError(
            f"checkpoint {saved[-1]} is none of this run ({one_line(error, named=True, limit=120)})"
            "; delete it to resume from the one before"
        ) from error
    say(f"resuming {training.folder} at step {training.step}")
    return metrics_length


def _decided(training: Training) -> dict[str, Any]:
    """What decides the run."""
    store = training.loader.store
    return {"store_digest": store.digest, **settings_dict(training.settings)}


def _model_state(training: Training) -> tuple[dict[str, Any], dict[str, Any]]:
    """State of model and optimizer, whole tensors; of split weights in the main process alone."""
    if training.settings.shard:
        return full_state(training.model, training.optimizer.optimizer)
    return training.model.state_dict(), training.optimizer.state_dict()


def _load_model_state(training: Training, model: dict[str, Any], optimizer: dict[str, Any]) -> None:
    """Put back what `_model_state` gave."""
    if training.settings.shard:
        load_full_state(training.model, training.optimizer.optimizer, model, optimizer)
    else:
        training.model.load_state_dict(model)
        training.optimizer.load_state_dict(optimizer)
    update_monitored_backbone(training)
