"""The command line: a table of commands, and a file of its name for each.

Read: commands, arguments, main, prepare, datasets, audit, push, pretrain, import_weights, finetune,
probe, atlas, reuse, export, embed, predict, report, study, reproduce, demo, bench, recipes, doctor,
doctor_child, completion.
Imports: runtime, metrics, runs, data, models, pretraining, evaluation, exporting, inference,
report, studies.
"""
