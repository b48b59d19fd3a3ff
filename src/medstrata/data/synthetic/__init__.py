"""Made-up images with a known finding: grey chests and stained tissue.

Read: noise, folder, chest, tissue.
Imports: nothing.
"""
