"""Tables, figures and words as HTML, SVG, CSV, LaTeX, PDF and PNG.

Read: embedded, figures, figure_files, stage_figures, tables, exhibits, sections, words,
table_files, exports.
Imports: nothing.
"""
