"""Tables, figures and words as HTML, SVG, CSV, LaTeX, PDF and PNG.

Read: formatting, run_summary, tables, table_files, inline_images, figures, summary_figures,
figure_files, parts, contents, exports.
Imports: nothing.
"""
