"""One self-contained HTML page, its tables and figures, from run folders alone.

Read: read, compare, render, sections, page, notebook.
Imports: runtime, metrics, runs.
"""
