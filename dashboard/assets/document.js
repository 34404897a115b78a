const paper = 660; // pixels of an A4 page between its margins
const shared = JSON.parse(document.getElementById('template').textContent);
const plots = [...document.querySelectorAll('.plot')];
for (const at of plots) {
  const figure = JSON.parse(at.nextElementSibling.textContent);
  figure.layout.template = shared;
  Plotly.newPlot(at, figure.data, figure.layout, {responsive: true, displaylogo: false,
    modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
    toImageButtonOptions: {format: 'png', scale: 2, filename: at.id}});
}
// Paper is narrower than the window, and figures do not follow by themselves; what is folded would be lost.
addEventListener('beforeprint', () => {
  for (const fold of document.querySelectorAll('details')) fold.open = true;
  for (const at of plots) Plotly.relayout(at, {width: paper, autosize: false});
});
addEventListener('afterprint', () => {
  for (const at of plots) Plotly.relayout(at, {width: null, autosize: true});
});
