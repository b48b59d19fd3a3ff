"""Tables, figures and words as HTML, SVG, CSV, LaTeX, PDF and PNG.

Read: inline_images, figures, figure_files, stage_figures, tables, contents, sections, formatting,
table_files, exports.
Imports: nothing.
"""
