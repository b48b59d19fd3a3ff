"""Which runs may be compared, what the comparison shows, and what is missing from it.

Read: comparison, stages, run_grid, differences, conclusions, frames, gaps.
Imports: read, render.
"""
