"""Statistics -> Plotly figures, mirroring `analysis.stats`. Nothing is computed while drawing that a page could not also table.

Figures leave fonts, background and colour scales to the template in force (the app's theme, or Plotly's own in a report), and
their English labels are looked up by the app's catalogue.
"""
