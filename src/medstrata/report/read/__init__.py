"""Run folders to typed facts; nothing else of the report opens a file of a run.

Read: facts, from_json, results, runs, predictions.
Imports: render.
"""
