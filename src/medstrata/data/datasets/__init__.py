"""Public data sets known by name, a file each: facts, index, and a check that a copy is whole.

Read: dataset, columns, check, breakhis, chexpert, idc, imagefolder, listing, medmnist,
mimic_cxr_jpg, nih_chestxray14, npz, pcam, retinopathy, aptos, eyepacs, registry.
Imports: formats, sources, splits, store, tables, view_settings.
"""
