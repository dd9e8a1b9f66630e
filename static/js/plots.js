// What every page with Plotly shares: the page's colours, figures fetched once, drawn anew with another theme.
"use strict";

const Plots = {
  config: { displayModeBar: false, responsive: true },

  colours() {
    const style = getComputedStyle(document.documentElement);
    const role = (name) => style.getPropertyValue(name).trim();
    return {
      cats: [1, 2, 3, 4, 5, 6].map((number) => role(`--cat-${number}`)),
      risk: role("--risk"), band: role("--risk-band"), track: role("--risk-track"), off: role("--risk-off"), selected: role("--selected"),
      surface: role("--surface"), raised: role("--raised"), line: role("--line-strong"), ink: role("--ink"), ink2: role("--ink-2"),
      grid: role("--plot-grid"), axis: role("--plot-axis"), font: getComputedStyle(document.body).fontFamily,
    };
  },

  // Words in place of a plot.
  say(plot, words) {
    plot.textContent = words;
    plot.classList.remove("model-plot", "study-plot");
    plot.classList.add("small", "muted");
  },

  // Draw now, and again when the page changes its colours.
  follow(place, draw) {
    const drawn = () => {
      draw(Plots.colours());
      place.dataset.drawn = "true";
    };
    drawn();
    new MutationObserver(drawn).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawn);
  },

  // The figures at an address, or words in every plot that says where else they stand.
  async fetched(address, plots, words) {
    try {
      const response = await fetch(address, { headers: { Accept: "application/json" } });
      if (!response.ok) throw new Error(String(response.status));
      return await response.json();
    } catch {
      for (const plot of plots) Plots.say(plot, words);
      return null;
    }
  },
};
