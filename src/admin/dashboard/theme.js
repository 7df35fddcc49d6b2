// Light or dark: as the system has it, unless somebody has chosen.

const KEY = "a3s-gateway-theme";
const THEMES = ["system", "light", "dark"];

export const themes = THEMES;

export function theme() {
  try {
    const chosen = localStorage.getItem(KEY);
    return THEMES.includes(chosen) ? chosen : "system";
  } catch {
    // Storage may be forbidden; then each visit begins with the system's.
    return document.documentElement.dataset.theme ?? "system";
  }
}

export function choose(chosen) {
  try {
    localStorage.setItem(KEY, chosen);
  } catch {
    // It holds for this visit.
  }
  apply(chosen);
}

function apply(chosen) {
  if (chosen === "system") {
    delete document.documentElement.dataset.theme;
  } else {
    document.documentElement.dataset.theme = chosen;
  }
}

apply(theme());
