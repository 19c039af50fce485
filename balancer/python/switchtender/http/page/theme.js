// Light, dark, or as the system has it. Runs before the page is painted, so that nothing flashes: a script, no module.
"use strict";

(() => {
  const KEY = "switchtender.theme";
  const THEMES = ["auto", "light", "dark"];

  const kept = () => {
    try {
      const theme = localStorage.getItem(KEY);
      return THEMES.includes(theme) ? theme : "auto";
    } catch {
      return "auto"; // storage is forbidden: the choice lasts as long as the page
    }
  };

  const keep = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // as above
    }
  };

  let theme = kept();
  document.documentElement.dataset.theme = theme;

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = document.getElementById("theme-name");
    const tell = () => {
      document.documentElement.dataset.theme = theme;
      label.textContent = theme;
    };
    tell();
    button.addEventListener("click", () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      keep(theme);
      tell();
    });
  });
})();
