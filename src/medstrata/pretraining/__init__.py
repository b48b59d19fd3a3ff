"""Momentum contrast with intermediate losses: settings, losses, the method, the loop.

Read: settings, recipes, sizing, info_nce, losses, moco, schedule, build, forecast, checkpoint,
loop, recorder, view_sheet, monitors, fsdp, hooks, profile, bench_settings, bench.
Imports: runtime, metrics, runs, data, models.
"""
