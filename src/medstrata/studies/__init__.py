"""Whole studies: cells planned, run, resumed, shown while they run; chosen by budget; the demo.

Read: settings, cell_settings, study_file, plan, cell, ledger, runner, workers, cluster, estimate,
progress, study, request, proposal, paper, demo.
Imports: runtime, metrics, runs, data, models, pretraining, evaluation, report.
"""
