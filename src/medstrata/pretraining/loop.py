"""Pre-training: from a store to an encoder, by one explicit loop."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medstrata.data.loader import Batch
from medstrata.data.seen_patients import keep_patients, read_patients
from medstrata.data.store.store import Store
from medstrata.models.encoders import LoadedEncoder, encoder_digest, export_backbone
from medstrata.pretraining.build import Training, build, update_monitored_backbone
from medstrata.pretraining.checkpoint import restore_training, save_training
from medstrata.pretraining.forecast import forecast
from medstrata.pretraining.moco import Loss, update_key_encoder
from medstrata.pretraining.profile.profile import Watch, profiling, unwatched
from medstrata.pretraining.recipes import arm_of
from medstrata.pretraining.recorder import Recorder
from medstrata.pretraining.schedule import lr_factor
from medstrata.pretraining.settings import PretrainSettings
from medstrata.pretraining.sizing import base_lr, resolve, say_plan, training_rows
from medstrata.pretraining.view_sheet import save_view_sheet
from medstrata.runs.checkpoints import checkpoints
from medstrata.runs.folder import is_finished, keep_audit, open_run, settings_dict, write_result
from medstrata.runs.tracker_names import Tracker
from medstrata.runs.trackers import Track, no_tracker, require_installed, tracking
from medstrata.runtime.console import say
from medstrata.runtime.devices import compute_precision, device_name, make_accelerator
from medstrata.runtime.distributed import gather
from medstrata.runtime.errors import Stopped
from medstrata.runtime.forecast import Forecast
from medstrata.runtime.process_state import preserve_process_state
from medstrata.runtime.randomness import Stream, permutation
from medstrata.runtime.signals import stop_requests

_ASK_EVERY = 10  # steps between agreements of several processes with GPUs on whether to stop


@preserve_process_state()
def pretrain(
    store: Store,
    settings: PretrainSettings,
    out: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    trackers: Sequence[Tracker] = (),
    profile: bool = False,
) -> Path:
    """Pre-train an encoder on a store's images, without their labels.

    Args:
        store: The images; labels, if any, are read by the k-NN monitor alone.
        settings: What to do; see `medstrata.pretraining.recipes`.
        out: The run folder.
        resume: Go on exactly where the run in `out` was cut, if there is one.
        overwrite: Delete a run in `out` first.
        trackers: Where the numbers of metrics.jsonl go as well; see `medstrata.runs.trackers`.
        profile: Watch some steps, and say at the end what limits the run (profile.json); what is
            trained stays the same.

    Returns:
        The run folder, with `exported/backbone.safetensors` and `result.json`.

    Raises:
        MedstrataError: the folder is in use, the batch is larger than the data or the memory, the
            loss is no longer finite, or the run was stopped by a signal (`Stopped`, after saving).
    """
    out = Path(out)
    require_installed(trackers)
    rows = training_rows(settings, store)
    resolved = resolve(settings, store, len(rows))
    settings = resolved.settings
    accelerator = make_accelerator(settings.precision)
    described = {"store": store.path.name, "store_digest": store.digest, **settings_dict(settings)}
    # Built before there is a folder: settings that cannot work leave nothing behind.
    resuming = resume and bool(checkpoints(out / "checkpoints"))
    training = build(accelerator, resolved, store, rows, out, resuming=resuming)
    expected = forecast(training)
    main = accelerator.is_main_process
    opened = open_run(out, described, resume=resume, overwrite=overwrite) if main else nullcontext()
    with opened as taken_up:
        if main and not taken_up:
            keep_audit(store.path, out)
        if main and not (taken_up and read_patients(out)):
            before = read_patients(Path(settings.weights) if settings.weights else None)
            keep_patients(out, store, training.loader.rows, labelled=False, before=before)
        accelerator.wait_for_everyone()
        if not is_finished(out):
            _run(training, store, expected, described, trackers, profile=profile)
        accelerator.wait_for_everyone()
    return out


def _run(
    training: Training,
    store: Store,
    expected: Forecast | None,
    described: Mapping[str, Any],
    trackers: Sequence[Tracker],
    *,
    profile: bool,
) -> None:
    """Train from the newest checkpoint, if there is one, to the result."""
    accelerator, resolved, out = training.accelerator, training.resolved, training.folder
    metrics_length = restore_training(training)
    if not training.step:
        say_plan(resolved, store, len(training.loader.rows))
    if expected is not None:
        expected.say(1 - training.step / resolved.steps)
    if accelerator.is_main_process and not (out / "views.png").is_file():
        save_view_sheet(out / "views.png", training.loader)
    named = trackers if accelerator.is_main_process else ()
    with (
        tracking(named, out, described, step=training.step) as track,
        profiling(training, wanted=profile) as watch,
    ):
        epochs = train(training, metrics_length=metrics_length, track=track, watch=watch)
    if accelerator.is_main_process:
        _finish(training, store, described, epochs)


def train(
    training: Training,
    *,
    metrics_length: int = 0,
    track: Track = no_tracker,
    watch: Watch = unwatched,
) -> list[dict[str, Any]]:
    """Run from `training.step` to the end.

    Args:
        training: What `build` made, at the step to go on from.
        metrics_length: Bytes of metrics.jsonl up to that step.
        track: Called with the numbers of each record and its step.
        watch: Runs each step, which it is given with the source of its batches.

    Returns:
        The record of each epoch, of earlier parts of the run too; in the main process alone.
    """
    steps, per_epoch = training.resolved.steps, training.loader.steps_per_epoch
    checkpoint_every = training.settings.checkpoint_every
    with (
        training.random_state.in_use(),
        stop_requests() as stopping,
        Recorder(training, metrics_length, track) as recorder,
    ):
        while training.step < steps:
            epoch, due = training.step // per_epoch, False
            batches = training.loader.epoch(epoch, first_step=training.step % per_epoch)
            for batch in batches:
                lr, whole = _set_lr(training), training.update.ends
                loss = watch(partial(training_step, training, batch), batches)
                training.step += 1
                recorder.add(training.step, epoch, loss, lr, batches)
                if training.step % per_epoch == 0 or training.step == steps:
                    break  # what is saved must hold the epoch's record
                due = due or bool(checkpoint_every and training.step % checkpoint_every == 0)
                if not whole:
                    continue  # gradients of an update under way are in no checkpoint
                if due:
                    _save(training, recorder)
                    due = False
                if _stop_together(training, stopping):
                    _save(training, recorder)
                    batches.close()
                    raise _stopped(training)
            batches.close()
            update_monitored_backbone(training)
            recorder.end_epoch(epoch)
            _save(training, recorder)
            if training.step < steps and _stop_together(training, stopping):
                raise _stopped(training)
        return list(recorder.epochs)


def _stopped(training: Training) -> Stopped:
    return Stopped(f"stopped at step {training.step}; go on with --resume")


def _stop_together(training: Training, stopping: Callable[[], bool]) -> bool:
    """Whether to stop now: all processes at the same step, or the others would wait for ever."""
    if training.accelerator.num_processes == 1:
        return stopping()
    if training.accelerator.device.type == "cuda" and training.step % _ASK_EVERY:
        return False  # reading the answer waits for the device
    asked = torch.tensor(float(stopping()), device=training.accelerator.device)
    return bool(training.accelerator.reduce(asked, reduction="sum") > 0)


def training_step(training: Training, batch: Batch) -> Loss:
    """One step of momentum contrast (He et al. 2020, algorithm 1) with intermediate losses."""
    update, accelerator = training.update, training.accelerator
    # Processes average their gradients once an update.
    with nullcontext() if update.ends else accelerator.no_sync(training.wrapped):
        # NOTE: algorithm 1 moves the key encoder at the end of a step; here it moves before the
        # next pass, as in its authors' code. All losses are the same: nothing changes the weights
        # in between, and before the first step both encoders are equal, so it stays where it is.
        # Only the key encoder that is saved last is one move behind, and nothing is read from it.
        if update.begins:
            update_key_encoder(training.model, training.resolved.momentum)
        query_view, key_view = (training.preprocessing(view) for view in batch.views)
        masked = training.settings.contrastive.mask_own_keys
        loss: Loss = training.wrapped(
            query_view,
            key_view,
            training.queue.keys,
            shuffle=_shuffle(training, len(query_view)),
            ids=batch.ids if masked else None,
            negative_ids=training.queue.ids if masked else None,
        )
        accelerator.backward(loss.total / update.steps)
    if update.ends:
        training.optimizer.step()
        training.optimizer.zero_grad()
    training.queue.enqueue(gather(loss.key), gather(batch.ids))
    return loss


def _shuffle(training: Training, batch: int) -> Tensor:
    seed, rank = training.settings.seed, training.loader.rank
    order = torch.from_numpy(permutation(batch, Stream.KEY_SHUFFLE, seed, training.step, rank))
    if training.accelerator.device.type == "cuda":
        order = order.pin_memory()  # else the copy would wait for the step before
    return order.to(training.accelerator.device, non_blocking=True)


def _set_lr(training: Training) -> float:
    lr = base_lr(training.settings) * lr_factor(
        training.step,
        steps=training.resolved.steps,
        warmup_steps=training.resolved.warmup_steps,
        schedule=training.settings.optimizer.schedule,
    )
    for group in training.optimizer.param_groups:
        group["lr"] = lr
    return lr


def _save(training: Training, recorder: Recorder) -> None:
    recorder.flush()
    save_training(training, recorder.length)


def _left_out(training: Training) -> dict[str, int]:
    if not training.settings.skip_near_copies:
        return {}
    every = training.loader.store.rows("train" if training.settings.images == "train" else None)
    return {"near_copies_left_out": len(every) - len(training.loader.rows)}


def _finish(
    training: Training,
    store: Store,
    described: Mapping[str, Any],
    epochs: Sequence[Mapping[str, Any]],
) -> None:
    """Export the query encoder's backbone and write result.json."""
    settings, backbone, folder = training.settings, training.monitored_backbone, training.folder
    arm = arm_of(settings)
    trained = LoadedEncoder(arm, settings.backbone, backbone, training.preprocessing)
    export_backbone(folder / "exported", trained)
    seconds = sum(record["time"]["seconds"] for record in epochs)
    write_result(
        folder,
        "pretrain",
        described,
        {
            "arm": arm,
            "recipe": settings.recipe,
            "backbone": settings.backbone,
            "encoder_digest": encoder_digest(trained),
            "parameters": sum(parameter.numel() for parameter in backbone.parameters()),
            "store": {
                "name": store.path.name,
                "images": len(store),
                "size": store.size,
                "channels": store.channels,
            },
            "images": len(training.loader.rows),
            **_left_out(training),
            "epochs": len(epochs),
            "steps": training.step,
            "seconds": seconds,
            "seed": settings.seed,
            "device": device_name(training.accelerator.device),
            "precision": compute_precision(training.accelerator),
            "final": epochs[-1],
        },
    )
    say(f"pre-trained {training.step} steps in {seconds:.0f} s; encoder in {folder / 'exported'}")
