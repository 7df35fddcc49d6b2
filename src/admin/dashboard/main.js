// Where one is, what is looked at for that, and how often.

import { Refused, hasToken, read, useToken } from "./api.js";
import { h, render } from "./dom.js";
import * as format from "./format.js";
import { badge } from "./parts.js";
import { choose, theme, themes } from "./theme.js";
import { details } from "./details.js";
import { explain } from "./explain.js";
import { views } from "./views.js";

const EVERY = 2000;

const PAGES = [
  ["overview", "Overview"],
  ["entrypoints", "Entrypoints"],
  ["routers", "Routers"],
  ["services", "Services"],
  ["middlewares", "Middlewares"],
  ["certificates", "Certificates"],
  ["reloads", "Reloads"],
  ["explain", "Explain"],
];

const place = (id) => document.getElementById(id);

const state = {
  health: undefined,
  paused: false,
  /** Whether the gateway asks for a token that we have not. */
  locked: false,
  /** What is said of the token that was tried. */
  wrong: "",
  shown: undefined,
};

let timer;
let look = 0;

/** Where one is: `#/routers/api`, `#/routers?search=x&page=2`. */
function where() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [page, ...rest] = path.split("/");
  const known = PAGES.some(([each]) => each === page);
  return {
    page: known ? page : "overview",
    name: rest.length > 0 ? decoded(rest.join("/")) : undefined,
    query: new URLSearchParams(query ?? ""),
  };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function view(at) {
  if (at.page === "explain") {
    return explain;
  }
  return at.name !== undefined && details[at.page] ? details[at.page] : views[at.page];
}

/** Looks at the gateway, and shows what it says. */
async function refresh() {
  clearTimeout(timer);
  const mine = ++look;
  const at = where();
  try {
    const [health, data] = await Promise.all([read("health"), view(at).load(at)]);
    if (mine !== look) {
      return;
    }
    Object.assign(state, { locked: false, wrong: "" });
    tell(state.health, health);
    state.health = health;
    trouble("");
    state.shown = { at, data };
  } catch (error) {
    if (mine !== look) {
      return;
    }
    refused(error);
  }
  show();
  schedule();
}

function schedule() {
  clearTimeout(timer);
  if (!state.paused && !state.locked && !document.hidden) {
    timer = setTimeout(refresh, EVERY);
  }
}

function refused(error) {
  if (!(error instanceof Refused)) {
    trouble("The gateway does not answer. What is shown is what it said last; it is asked again.");
  } else if (error.status === 401) {
    state.locked = true;
    state.wrong = hasToken() ? "The gateway does not know this token." : "";
    useToken("");
    trouble("");
  } else if (error.status === 404 && where().name !== undefined) {
    trouble("");
    state.shown = { at: where(), gone: true };
  } else {
    trouble(`The gateway refuses to say: ${error.message} (${error.status}).`);
  }
}

function trouble(text) {
  if (place("trouble").textContent !== text) {
    place("trouble").textContent = text;
  }
}

/** Says what has changed, for those who do not see it. */
function tell(before, now) {
  if (!before) {
    return;
  }
  const said = [];
  if (before.status !== now.status) {
    said.push(`The gateway is ${now.status}.`);
  }
  for (const [name, service] of Object.entries(now.services)) {
    const was = before.services[name];
    if (was && was.available !== service.available) {
      said.push(`Service ${name}: ${service.available} of ${service.servers} servers take requests.`);
    }
  }
  const reload = now.last_reload;
  if (reload && (reload.at !== before.last_reload?.at || reload.success !== before.last_reload?.success)) {
    said.push(reload.success ? "A reload took effect." : "A reload was refused.");
  }
  if (said.length > 0) {
    place("changes").textContent = said.slice(0, 5).join(" ");
  }
}

function show() {
  const at = where();
  const known = PAGES.find(([page]) => page === at.page);
  document.title = `${at.name ?? known[1]} · A3S Gateway`;
  render(place("pages"), h("ul", {}, PAGES.map(([page, title]) => {
    const current = page === at.page && (at.name === undefined ? "page" : "true");
    return h("li", {}, h("a", { href: `#/${page}`, "aria-current": current || null }, title));
  })));
  showStatus();
  showControls();
  if (state.locked) {
    render(place("main"), lock());
  } else if (state.shown && same(state.shown.at, at)) {
    const { data, gone } = state.shown;
    render(place("main"), h("div", { key: at.page + at.name }, gone ? nothing(at) : view(at).show(data, at, refresh)));
  } else {
    render(place("main"), h("div", { key: "wait" }, h("h1", {}, at.name ?? known[1]), h("p", {}, "Asking the gateway…")));
  }
}

function same(one, other) {
  return one.page === other.page && one.name === other.name;
}

function nothing(at) {
  return [h("h1", {}, at.name), h("p", {}, "There is none of this name, or no more: the configuration may have changed.")];
}

function showStatus() {
  const { health } = state;
  render(place("status"), health && !state.locked && h("p", {},
    badge(health.status),
    h("span", {}, ` version ${health.version}, up for ${format.lasting(health.uptime_secs)}`)));
}

function showControls() {
  const pause = () => {
    state.paused = !state.paused;
    state.paused ? (clearTimeout(timer), show()) : refresh();
  };
  const leave = () => {
    useToken("");
    Object.assign(state, { locked: true, shown: undefined, health: undefined });
    show();
    place("token").focus();
  };
  render(place("controls"),
    h("button", { type: "button", "aria-pressed": String(state.paused), onclick: pause }, "Pause"),
    h("label", {}, "Theme ", h("select", { id: "theme", onchange: (event) => choose(event.target.value) },
      themes.map((each) => h("option", { value: each, selected: each === theme() }, each)))),
    hasToken() && !state.locked && h("button", { type: "button", onclick: leave }, "Forget the token"));
}

/** Asks for the token. */
function lock() {
  const enter = async (event) => {
    event.preventDefault();
    const field = place("token");
    useToken(field.value.trim());
    await refresh();
    if (state.locked) {
      place("token").focus();
      place("token").select();
    } else {
      arrive();
    }
  };
  const said = { "aria-invalid": state.wrong ? "true" : null, "aria-describedby": "wrong" };
  return h("form", { key: "lock", class: "card", onsubmit: enter },
    h("h1", {}, "A token is needed"),
    h("p", {}, "It is the one of `admin { token }`. It is kept until this page is closed or loaded again, and sent to this gateway only."),
    h("label", { for: "token" }, "Token"),
    h("input", { id: "token", type: "password", autocomplete: "current-password", required: true, ...said }),
    h("p", { id: "wrong", role: "alert", class: "bad-text" }, state.wrong),
    h("button", { type: "submit" }, "Show the gateway"));
}

/** Has the reader begin where the page begins. */
function arrive() {
  place("main").focus({ preventScroll: true });
  scrollTo(0, 0);
}

let last = where();

addEventListener("hashchange", () => {
  const at = where();
  const moved = !same(at, last);
  last = at;
  if (moved) {
    show();
    arrive();
  }
  refresh();
});

// The fragment says where one is, so the link to the content moves the focus itself.
place("skip").onclick = (event) => {
  event.preventDefault();
  place("main").focus();
};

document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : !state.paused && !state.locked && refresh()));

show();
refresh();
