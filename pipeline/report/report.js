// Draws every figure, in the colours of the page, and again when the page turns dark.
(function () {
  const plots = Array.from(document.querySelectorAll(".plot"));
  const axis = /^[xy]axis\d*$/;

  function coloured(layout) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const result = Object.assign({}, layout, { font: { color: colour("--ink"), size: 12 } });
    for (const key of Object.keys(layout).filter((name) => axis.test(name))) {
      const lines = { gridcolor: colour("--line"), linecolor: colour("--line") };
      result[key] = Object.assign({ zerolinecolor: colour("--line") }, lines, layout[key]);
    }
    return result;
  }

  function draw() {
    for (const plot of plots) {
      const figure = JSON.parse(plot.nextElementSibling.textContent);
      const options = { responsive: true, displayModeBar: false };
      Plotly.react(plot, figure.data, coloured(figure.layout), options);
    }
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
