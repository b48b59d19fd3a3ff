"""The page's sections, a file a section: from comparisons to tables, figures and sentences.

Read: section, headline, curves, results, audits, cautions, inventory, differences,
mean_difference, decisions, wrong_images, more_labels, efficiency, ks_distance, calibration,
ablation, legacy, probing, reuse_tables, reuse, atlas_map, atlas_tables, atlas, pretraining, views.
Imports: compare, read, render.
"""
