"use strict";
(() => {
  const config = {
    displaylogo: false, responsive: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "resetCameraLastSave3d"],
  };
  const scales = {
    "@loss": ["--l0", "--l1", "--l2", "--l3"], "@probability": ["--p0", "--p1", "--p2", "--p3"],
    "@gap": ["--g0", "--g1", "--g2", "--g3", "--g4"],
  };
  const charts = Array.from(document.querySelectorAll("[data-figure]"));
  const views = new Map();

  function colour(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  // Figures name their colours; the page's style sheet says what they are, by theme.
  function resolve(value) {
    if (typeof value === "string" && value.startsWith("@")) {
      const stops = scales[value];
      return stops ? stops.map((stop, i) => [i / (stops.length - 1), colour(stop)]) : colour("--" + value.slice(1));
    }
    if (Array.isArray(value)) return value.length > 64 ? value : value.map(resolve);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, resolve(inner)]));
    }
    return value;
  }

  function draw(element) {
    const figure = resolve(JSON.parse(document.getElementById("data-" + element.id).textContent));
    figure.layout.font.family = getComputedStyle(document.body).fontFamily;
    if (views.has(element.id)) show(figure.data, views.get(element.id));
    Plotly.react(element, figure.data, figure.layout, config).catch((error) => {
      element.textContent = "This chart cannot be drawn here: " + error;
    });
    element.dataset.drawn = "yes";
  }

  function show(traces, view) {
    for (const trace of traces) {
      if (trace.meta && trace.meta.view) trace.visible = trace.meta.view === view || trace.meta.view === "all";
    }
  }

  function redraw() {
    charts.filter((element) => element.dataset.drawn).forEach(draw);
  }

  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        watcher.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, { rootMargin: "400px" });
  charts.forEach((element) => watcher.observe(element));

  for (const group of document.querySelectorAll(".switch")) {
    group.addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (!button) return;
      for (const other of group.querySelectorAll("button")) {
        other.setAttribute("aria-pressed", String(other === button));
      }
      const target = document.getElementById(group.dataset.for);
      const view = button.dataset.view;
      if (target.matches("table")) {
        for (const row of target.tBodies[0].rows) row.hidden = view !== "" && row.dataset.event !== view;
        return;
      }
      views.set(target.id, view);
      if (!target.data) return;
      const visible = target.data.map((trace) => trace.meta.view === view || trace.meta.view === "all");
      Plotly.restyle(target, { visible });
    });
  }

  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => {
    document.documentElement.dataset.theme = "light";
    charts.forEach(draw);
  });
  window.addEventListener("afterprint", () => {
    delete document.documentElement.dataset.theme;
    redraw();
  });
})();
