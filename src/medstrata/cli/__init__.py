"""The command line: parse, call one library function, print.

Read: arguments, analysis, completion, data, doctor, import_weights, inference, machine, setup,
studies, training, weights, main.
Imports: runtime, runs, data, models, pretraining, evaluation, exporting, inference, report,
studies.
"""
