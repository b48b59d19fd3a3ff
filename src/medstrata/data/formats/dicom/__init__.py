"""DICOM files to pixels: frames, codecs, windows, and the few attributes that may be kept.

Read: attributes, codecs, frames, windows, read.
Imports: image, pixel_spacing, read_settings, refusals, windows.
"""
