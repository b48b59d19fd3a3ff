"""Run folders to typed facts; nothing else of the report opens a file of a run.

Read: facts, typed, results, runs, predictions.
Imports: render.
"""
