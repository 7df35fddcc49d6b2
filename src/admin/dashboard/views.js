// The lists: what there is of each kind.

import { part, read } from "./api.js";
import { h } from "./dom.js";
import * as format from "./format.js";
import {
  badge, errors, link, links, observe, section, servers, service, sparkline, table, tile, traffic,
} from "./parts.js";
import { line, note, rates } from "./rates.js";

const PER_PAGE = 25;
/** How many of a kind the overview shows. */
const FEW = 8;

/** A list that is searched and turned over page by page. */
function list({ path, title, columns, about }) {
  return {
    async load({ query }) {
      const page = Math.max(1, Number.parseInt(query.get("page") ?? "1", 10) || 1);
      const search = query.get("search") ?? "";
      const found = await part(path, { search, offset: (page - 1) * PER_PAGE, limit: PER_PAGE });
      observe(path, found.list, performance.now());
      return { ...found, page, search };
    },
    show(data, at, refresh) {
      return [
        h("h1", {}, title),
        about && h("p", {}, about),
        search(path, title, data, refresh),
        table(title, columns(), data.list),
        pager(path, data),
      ];
    },
  };
}

function address(path, search, page) {
  const query = new URLSearchParams();
  if (search) {
    query.set("search", search);
  }
  if (page > 1) {
    query.set("page", page);
  }
  const text = query.toString();
  return `#/${path}${text && `?${text}`}`;
}

let typing;

function search(path, title, { search, total }, refresh) {
  const look = (event) => {
    clearTimeout(typing);
    const { value } = event.target;
    typing = setTimeout(() => {
      history.replaceState(null, "", address(path, value, 1));
      refresh();
    }, 200);
  };
  const found = `${format.count(total)} ${total === 1 ? "is" : "are"} shown`;
  return h("form", { role: "search", class: "search", onsubmit: (event) => event.preventDefault() },
    h("label", { for: "search" }, `Search ${title.toLowerCase()}`),
    h("input", { id: "search", type: "search", value: search, autocomplete: "off", oninput: look }),
    h("p", { role: "status", class: "quiet" }, search ? `${found} of those with “${search}”.` : `${found}.`));
}

function pager(path, { search, page, total }) {
  const pages = Math.max(1, Math.ceil(total / PER_PAGE));
  if (pages === 1 && page === 1) {
    return null;
  }
  const turn = (to, text) => (to >= 1 && to <= pages
    ? h("a", { href: address(path, search, to) }, text)
    : h("span", { class: "quiet" }, text));
  return h("nav", { class: "pager", "aria-label": "Parts of the list" },
    turn(page - 1, "Previous"),
    h("span", {}, `Page ${format.count(page)} of ${format.count(pages)}`),
    turn(page + 1, "Next"));
}

const NAME = (path) => ({ title: "Name", show: (row) => link(path, row.name) });

function entrypointColumns() {
  return [
    NAME("entrypoints"),
    { title: "Address", show: (row) => h("code", {}, row.address) },
    { title: "Protocol", show: (row) => [row.protocol, row.tls && " with TLS"] },
    {
      title: "Open",
      number: true,
      show: (row) => row.udp ? `${format.count(row.udp.open_sessions)} sessions` : format.count(row.open_connections),
    },
    { title: "Refused", number: true, show: (row) => format.count(format.sum(row.refused_connections ?? row.udp?.dropped)) },
    ...traffic("entrypoints"),
  ];
}

function routerColumns() {
  return [
    NAME("routers"),
    {
      title: "Rule",
      wide: true,
      show: (row) => [
        h("code", {}, row.rule),
        row.entrypoints.length > 0 && h("span", { class: "quiet" }, " on ", links("entrypoints", row.entrypoints)),
      ],
    },
    { title: "Priority", number: true, show: (row) => format.count(row.priority) },
    { title: "Service", show: (row) => service(row.service) },
    { title: "Middlewares", show: (row) => links("middlewares", row.middlewares) },
    ...traffic("routers"),
  ];
}

function serviceColumns() {
  return [
    NAME("services"),
    { title: "Servers", show: standing },
    ...traffic("services"),
  ];
}

/** How many take requests, and what is wrong with the others. */
function standing(row) {
  const all = servers(row);
  if (all.length === 0) {
    return row.websocket_hub ? "a hub" : "a fixed answer";
  }
  const down = all.filter((each) => each.state !== "healthy");
  const up = all.length - down.length;
  const kind = up === 0 ? "bad" : down.length > 0 ? "warn" : "good";
  return [
    badge(`${up} of ${all.length} up`, kind),
    down.slice(0, 3).map((each) => h("span", { class: "down", key: each.url }, ` ${each.url} ${each.state}`)),
    down.length > 3 && ` and ${down.length - 3} more`,
    row.panic && badge("panic: all are asked", "bad"),
    row.failover?.active && badge(`failover to ${row.failover.service}`, "warn"),
  ];
}

function middlewareColumns() {
  return [
    NAME("middlewares"),
    { title: "Type", show: (row) => h("code", {}, row.type) },
    { title: "State", show: middlewareState },
    { title: "Routers", show: (row) => links("routers", row.routers, row.uses - row.entrypoints.length - row.chains.length) },
    { title: "Entrypoints", show: (row) => links("entrypoints", row.entrypoints) },
    { title: "Chains", show: (row) => links("middlewares", row.chains) },
  ];
}

/** What a middleware has become: a word for a breaker, numbers for limits. */
export function middlewareState(row) {
  const state = row.state;
  if (state === undefined || state === null) {
    return format.none;
  }
  if (typeof state !== "object") {
    return badge(String(state));
  }
  const { breaker, ...rest } = state;
  const said = Object.entries(rest).map(([name, value]) =>
    `${name.replaceAll("_", " ")} ${typeof value === "number" ? format.count(value) : value}`);
  return [breaker && badge(breaker), said.join(", ")];
}

function certificateColumns() {
  return [
    { title: "Names", show: (row) => row.names.join(", ") || "none" },
    { title: "Entrypoint", show: (row) => link("entrypoints", row.entrypoint) },
    { title: "State", show: (row) => badge(row.state === "ending" ? "ends soon" : row.state) },
    { title: "Ends", show: (row) => [format.moment(row.not_after), row.state !== "expired" && ` (in ${format.lasting(row.not_after - Date.now() / 1000)})`] },
    { title: "For other names", show: (row) => (row.default ? "yes" : "no") },
  ];
}

export function certificateTable(list) {
  const keyed = list.map((each, index) => ({ ...each, name: `${each.entrypoint} ${index}` }));
  return table("Certificates", certificateColumns(), keyed);
}

const overview = {
  async load() {
    const [entrypoints, routers, services, certificates, warnings] = await Promise.all([
      read("entrypoints"),
      part("routers", { limit: FEW }),
      part("services", { limit: FEW }),
      read("certificates"),
      read("warnings"),
    ]);
    const health = await read("health");
    const now = performance.now();
    observe("entrypoints", entrypoints, now);
    observe("routers", routers.list, now);
    observe("services", services.list, now);
    const add = (of) => entrypoints.reduce((sum, { requests }) => sum + (requests?.[of] ?? 0), 0);
    note("all", { requests: add("total"), errors: add("5xx") }, now);
    return { health, entrypoints, routers, services, certificates, warnings };
  },
  show({ health, entrypoints, routers, services, certificates, warnings }) {
    const add = (of) => entrypoints.reduce((sum, each) => sum + (of(each) ?? 0), 0);
    return [
      h("h1", {}, "Overview"),
      h("dl", { class: "tiles" },
        tile("Requests", [format.perSecond(rates("all").requests), sparkline(line("all"), "all entrypoints")]),
        tile("Errors", errors(rates("all").errors)),
        tile("In flight", format.count(add((each) => each.in_flight))),
        tile("Open connections", format.count(add((each) => each.open_connections))),
        tile("Refused connections", format.count(add((each) => format.sum(each.refused_connections)))),
        tile("Last reload", health.last_reload ? badge(health.last_reload.success ? "took effect" : "refused") : "none",
          health.last_reload && format.ago(health.last_reload.at))),
      attention(health, certificates, warnings),
      section("Entrypoints", table("Entrypoints", entrypointColumns(), entrypoints)),
      section("Routers", table("Routers", routerColumns(), routers.list), all("routers", routers)),
      section("Services", table("Services", serviceColumns(), services.list), all("services", services)),
    ];
  },
};

function all(path, { list, total }) {
  return list.length < total && h("p", {}, h("a", { href: `#/${path}` }, `All ${format.count(total)} ${path}`));
}

/** What somebody should look at. */
function attention(health, certificates, warnings) {
  const said = [];
  if (health.last_reload && !health.last_reload.success) {
    said.push([badge("refused", "bad"), " The configuration that was read last does not run. ", h("a", { href: "#/reloads" }, "Why")]);
  }
  const poor = Object.entries(health.services).filter(([, each]) => each.available < each.servers);
  poor.sort(([, one], [, other]) => one.available - other.available);
  for (const [name, each] of poor.slice(0, FEW)) {
    said.push([
      badge(each.available === 0 ? "down" : "weaker", each.available === 0 ? "bad" : "warn"),
      ` ${each.available} of ${each.servers} servers of service `, link("services", name), " take requests.",
    ]);
  }
  if (poor.length > FEW) {
    said.push(`${format.count(poor.length - FEW)} more services lack servers.`);
  }
  for (const each of certificates.filter((each) => each.state !== "valid").slice(0, FEW)) {
    said.push([
      badge(each.state === "expired" ? "expired" : "ends soon"),
      ` A certificate of entrypoint ${each.entrypoint}, ${each.names.join(", ")}: ${format.moment(each.not_after)}. `,
      h("a", { href: "#/certificates" }, "Certificates"),
    ]);
  }
  if (warnings.length > 0) {
    said.push([badge("warnings", "warn"), ` ${format.count(warnings.length)} in the running configuration. `, h("a", { href: "#/reloads" }, "Which")]);
  }
  return section("What needs a look", said.length > 0
    ? h("ul", { class: "attention" }, said.map((each) => h("li", {}, each)))
    : h("p", {}, "Nothing."));
}

const certificates = {
  load: () => read("certificates"),
  show: (data) => [
    h("h1", {}, "Certificates"),
    h("p", {}, "Each entrypoint shows a client the certificate for the name that it asks for, or the first."),
    certificateTable(data),
  ],
};

const reloads = {
  async load() {
    const [history, warnings] = await Promise.all([read("reloads"), read("warnings")]);
    return { history, warnings };
  },
  show: ({ history, warnings }) => [
    h("h1", {}, "Reloads"),
    section("Warnings of the running configuration",
      warnings.length > 0 ? problems(warnings.slice(0, 100), warnings.length - 100) : h("p", {}, "None.")),
    section("History", h("p", { class: "quiet" }, "The last fifty, the newest first."),
      h("ol", { class: "history" }, history.map(reload))),
  ],
};

function reload(each) {
  const state = each.start ? "started" : each.success ? "took effect" : "refused";
  return h("li", { class: "card" },
    h("h3", {}, badge(state), " ", h("time", { datetime: new Date(each.at * 1000).toISOString() }, format.moment(each.at))),
    each.problems.length > 0 && problems(each.problems, each.more_problems),
    each.success && !each.start && changes(each));
}

function changes({ changes, more_changes: more }) {
  if (changes.length === 0) {
    return h("p", {}, "Nothing is another thing than before.");
  }
  return h("ul", { class: "changes" },
    changes.map(({ kind, name, change }) => h("li", {}, kind, " ", name && h("code", {}, name), ` ${change}`)),
    more > 0 && h("li", {}, `and ${format.count(more)} more`));
}

function problems(list, more) {
  return h("ul", { class: "problems" },
    list.map((each) => h("li", {},
      each.code && badge(`${each.severity} ${each.code}`, each.severity === "warning" ? "warn" : "bad"),
      each.file && h("code", {}, ` ${each.file}${each.line > 0 ? `:${each.line}:${each.column}` : ""}`),
      h("span", { class: "message" }, ` ${each.message}`),
      each.help && h("span", { class: "quiet" }, ` ${each.help}`))),
    more > 0 && h("li", {}, `and ${format.count(more)} more`));
}

export const views = {
  overview,
  entrypoints: list({ path: "entrypoints", title: "Entrypoints", columns: entrypointColumns }),
  routers: list({ path: "routers", title: "Routers", columns: routerColumns, about: "Of the routers whose rule takes a request the one with the highest priority has it." }),
  services: list({ path: "services", title: "Services", columns: serviceColumns }),
  middlewares: list({ path: "middlewares", title: "Middlewares", columns: middlewareColumns }),
  certificates,
  reloads,
};
