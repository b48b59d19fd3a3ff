"""Run folders to typed facts; nothing else of the report opens a file of a run.

Read: facts, layer_runs, runs, predictions.
Imports: render.
"""
