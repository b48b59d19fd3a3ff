"""The page's sections, a file a section: from comparisons to tables, figures and sentences.

Read: ablation, atlas_map, atlas_tables, atlas, audits, calibration, curves, efficiency, forest,
gain, inventory, legacy, probing, reuse_tables, reuse, layers, score_figures, results, shift,
gather, views.
Imports: compare, read, render.
"""
