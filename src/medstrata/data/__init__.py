"""From image files to batches of views: formats, store, splits, audit, data sets, prepare, loader.

Read: patients, formats, sources, tables, store, contact_sheet, labels, splits, audit, datasets,
prepare, view_settings, views, loader, seen_patients, synthetic.
Imports: runtime, metrics.
"""
