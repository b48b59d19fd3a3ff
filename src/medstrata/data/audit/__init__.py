"""What in a store would make a result look better than it is: copies, leakage, shortcuts.

Read: audit, pixels, counts, fingerprints, hamming, similarity, duplicates, overlaps, shortcuts,
findings.
Imports: formats, labels, patients, sources, splits, store.
"""
