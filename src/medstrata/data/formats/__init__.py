"""One image file to pixels, with a record of what was done to it, or a reason for refusing it.

Read: read_settings, refusals, pixel_spacing, windows, image, arrays, dicom, nifti, pillow,
read.
Imports: nothing.
"""
