"""DICOM files to pixels: frames, codecs, windows, and the few attributes that may be kept.

Read: frames, makers, attributes, codecs, grey_levels, read.
Imports: image, pixel_spacing, read_settings, refusals, grey_levels.
"""
