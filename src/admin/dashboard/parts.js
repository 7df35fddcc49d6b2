// What the pages are put together from.

import { h } from "./dom.js";
import * as format from "./format.js";
import { line, note, rates } from "./rates.js";

/** How one stands: a word, and a shape beside it for those who look quickly. */
const STATES = {
  good: ["healthy", "up", "valid", "running", "closed", "took effect", "started", "allowed", "chosen", "passes"],
  bad: ["unhealthy", "down", "expired", "open", "refused", "error", "stopped"],
};
const SHAPES = { good: "●", warn: "▲", bad: "✕" };

export function badge(state, kind) {
  const of = kind ?? Object.keys(STATES).find((each) => STATES[each].includes(state)) ?? "warn";
  return h("span", { class: `badge ${of}` }, h("span", { "aria-hidden": "true" }, SHAPES[of]), " ", state);
}

/** What a server did wrong last: one that nobody watches is called healthy all the same. */
export function failed(last) {
  return last && h("span", { class: "quiet" }, `; failed ${format.ago(last.at)}: ${last.reason}`);
}

/** A link to a page of this page. */
export function link(list, name) {
  return h("a", { href: `#/${list}/${encodeURIComponent(name)}` }, name);
}

export function links(list, names, total = names?.length) {
  if (!names?.length) {
    return format.none;
  }
  const shown = names.map((name, index) => [index ? ", " : null, link(list, name)]);
  const more = total - names.length;
  return [shown, more > 0 && ` and ${format.count(more)} more`];
}

/** A service may be the admin API, which is no page. */
export function service(name) {
  return name === "admin@internal" ? h("span", {}, name) : link("services", name);
}

/**
 * A table. Each column has a title and shows a row; the first is the row's header. Narrow screens have a card for each
 * row, which takes away what a table is to a screen reader unless it is said again.
 */
export function table(caption, columns, rows, key = (row) => row.name) {
  const look = ({ number, wide }) => (number ? "number" : wide ? "wide" : null);
  const head = columns.map(({ title, number, wide }) =>
    h("th", { scope: "col", role: "columnheader", class: look({ number, wide }) }, title));
  const cells = (row) => columns.map(({ title, show, number, wide }, index) => {
    const name = { "data-title": title, class: look({ number, wide }) };
    return index === 0
      ? h("th", { ...name, scope: "row", role: "rowheader" }, show(row))
      : h("td", { ...name, role: "cell" }, h("span", { class: "value" }, show(row)));
  });
  const body = rows.map((row) => h("tr", { key: key(row), role: "row" }, cells(row)));
  return h("table", { role: "table" },
    h("caption", {}, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, head)),
    h("tbody", { role: "rowgroup" }, body.length ? body : h("tr", { role: "row", class: "empty" },
      h("td", { role: "cell", colspan: columns.length }, "None."))));
}

/** Names and what they have. */
export function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== undefined && value !== null);
  return h("dl", { class: "facts" }, shown.map(([name, value]) =>
    h("div", { key: name }, h("dt", {}, name), h("dd", {}, value))));
}

/** Notes what is counted of each of a list. */
export function observe(kind, list, time) {
  for (const { name, requests } of list) {
    if (requests) {
      note(`${kind}/${name}`, { requests: requests.total, errors: requests["5xx"] }, time);
    }
  }
}

/** The columns of what is counted. */
export function traffic(kind) {
  const key = (row) => `${kind}/${row.name}`;
  return [
    {
      title: "Requests",
      number: true,
      show: (row) => [sparkline(line(key(row)), row.name), format.perSecond(rates(key(row)).requests)],
    },
    { title: "Errors", number: true, show: (row) => errors(rates(key(row)).errors) },
    { title: "In flight", number: true, show: (row) => format.count(row.in_flight) },
    {
      title: "p50, p99",
      number: true,
      show: ({ latency_ms: times }) => (times?.p50 ? `${format.milliseconds(times.p50)}, ${format.milliseconds(times.p99)}` : format.none),
    },
  ];
}

export function errors(rate) {
  const text = format.perSecond(rate);
  return rate > 0 ? h("strong", { class: "bad-text" }, `✕ ${text}`) : text;
}

const WIDTH = 96;
const HEIGHT = 24;

/** The last rates as a line. */
export function sparkline(values, name) {
  if (values.length < 2) {
    return null;
  }
  const most = Math.max(...values, 1);
  const step = WIDTH / (values.length - 1);
  const points = values.map((value, index) => {
    const y = HEIGHT - 1 - (value / most) * (HEIGHT - 2);
    return `${(index * step).toFixed(1)},${y.toFixed(1)}`;
  }).join(" ");
  const label = `requests of ${name}, up to ${format.perSecond(Math.max(...values))} lately`;
  const size = { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" };
  return h("svg", { ...size, class: "sparkline", role: "img", "aria-label": label },
    h("path", { class: "area", d: `M0,${HEIGHT} L${points.replaceAll(" ", " L")} L${WIDTH},${HEIGHT} Z` }),
    h("polyline", { points, class: "line" }));
}

/** A number with a name. */
export function tile(name, value, more) {
  return h("div", { class: "tile", key: name }, h("dt", {}, name), h("dd", {}, value), more && h("dd", { class: "more" }, more));
}

/** A heading with what it is of. */
export function section(title, ...children) {
  return h("section", { key: title }, h("h2", {}, title), children);
}

/** The servers of a service that take requests, of all. */
export function servers(service) {
  return service.servers ?? (service.revisions ?? []).flatMap((each) => each.servers);
}
