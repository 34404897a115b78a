"""One page a file: a `VIEW` record and `render(frame)`. No torch, no plotly, no visible text outside the catalogue."""
