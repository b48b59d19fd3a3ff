"""Which runs may be compared, what the comparison shows, and what is missing from it.

Read: compare, differences, conclusions, frames, gaps, places, stage_gaps.
Imports: read, render.
"""
