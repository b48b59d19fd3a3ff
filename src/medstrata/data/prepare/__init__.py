"""From image files and a table of labels to a store: decode, resize, split, write.

Read: settings, annotations, patients, preview, resize, decode, shards, split_rules, inputs,
manifest, prepare, cached.
Imports: audit, contact_sheet, datasets, formats, patients, sources, splits, store, tables.
"""
