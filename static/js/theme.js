// The theme a person chose in this browser: "light", "dark", or none, which follows the system.
// Loaded in the head without defer, so that the page never shows the wrong theme first.
"use strict";

(() => {
  // A page may open in a theme of its own, such as the reading page, and then keeps a choice of its own.
  const own = document.documentElement.dataset.theme;
  const KEY = own ? "mirage-theme-reading" : "mirage-theme";
  const START = own || "system";
  const NEXT = own ? { light: "dark", dark: "light" } : { system: "light", light: "dark", dark: "system" };

  const stored = () => {
    try {
      return localStorage.getItem(KEY) || START;
    } catch {
      return START; // storage is switched off: the choice lasts for this page only
    }
  };

  const apply = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
  };

  const store = (theme) => {
    try {
      if (theme === START) localStorage.removeItem(KEY);
      else localStorage.setItem(KEY, theme);
    } catch {
      // as above
    }
  };

  let theme = stored();
  apply(theme);

  document.addEventListener("DOMContentLoaded", () => {
    for (const button of document.querySelectorAll("[data-theme-button]")) {
      const word = button.querySelector("[data-theme-word]");
      const say = () => { word.textContent = theme; };
      say();
      button.hidden = false;
      button.addEventListener("click", () => {
        theme = NEXT[theme];
        apply(theme);
        store(theme);
        say();
      });
    }
  });
})();
