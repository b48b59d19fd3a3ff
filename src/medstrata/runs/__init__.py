"""The run folder: what a run keeps on disk, and the trackers that are told of it.

Read: kinds, encoder_spec, environment, folder, checkpoints, metrics_log, tracker_names, trackers.
Imports: runtime.
"""
