"""One image file to pixels, with a record of what was done to it, or a reason for refusing it.

Read: read_settings, refusals, pixel_spacing, grey_levels, image, arrays, dicom, nifti, tiff,
raster, read.
Imports: nothing.
"""
