"""From image files and a table of labels to a store: decode, resize, split, write.

Read: annotations, preview, resize, decode, shards, split_rules, indexed, inputs, manifest,
prepare, cached.
Imports: audit, datasets, formats, sources, splits, store, tables.
"""
