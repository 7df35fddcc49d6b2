// One of each kind.

import { of, read } from "./api.js";
import { h } from "./dom.js";
import * as format from "./format.js";
import { badge, errors, facts, failed, links, observe, section, service, sparkline, table } from "./parts.js";
import { line, rates } from "./rates.js";
import { certificateTable, middlewareState } from "./views.js";

function detail(path, show, more = async () => ({})) {
  return {
    async load({ name }) {
      const [one, rest] = await Promise.all([read(of(path, name)), more(name)]);
      observe(path, [one], performance.now());
      return { one, ...rest };
    },
    show: ({ one, ...rest }) => [
      h("p", { class: "quiet" }, h("a", { href: `#/${path}` }, `All ${path}`)),
      h("h1", {}, one.name),
      show(one, rest),
    ],
  };
}

/** What is counted of one. */
function counted(path, one) {
  const key = `${path}/${one.name}`;
  if (!one.requests) {
    return null;
  }
  const { total, ...classes } = one.requests;
  return section("Traffic",
    facts([
      ["Requests", [sparkline(line(key), one.name), " ", format.perSecond(rates(key).requests)]],
      ["Errors", errors(rates(key).errors)],
      ["In flight", format.count(one.in_flight)],
      ["Latency, p50", format.milliseconds(one.latency_ms?.p50)],
      ["Latency, p99", format.milliseconds(one.latency_ms?.p99)],
    ]),
    numbers("Responses since the start", { all: total, ...classes }));
}

function numbers(title, counts) {
  const named = Object.entries(counts ?? {}).map(([name, value]) => [name.replaceAll("_", " "), format.count(value)]);
  return [h("h3", {}, title), facts(named)];
}

function entrypoint(one, { certificates }) {
  const { dropped, ...datagrams } = one.udp ?? {};
  const own = certificates.filter((each) => each.entrypoint === one.name);
  return [
    facts([
      ["Address", h("code", {}, one.address)],
      ["Protocol", [one.protocol, one.tls && " with TLS"]],
      ["Open connections", one.open_connections !== undefined ? format.count(one.open_connections) : null],
    ]),
    counted("entrypoints", one),
    one.refused_connections && section("Refusals", numbers("Refused connections, by reason", one.refused_connections)),
    one.udp && section("Datagrams", numbers("What went through", datagrams), numbers("Dropped, by reason", dropped)),
    own.length > 0 && section("Certificates", certificateTable(own)),
  ];
}

function router(one) {
  return [
    facts([
      ["Rule", h("code", {}, one.rule)],
      ["Priority", format.count(one.priority)],
      ["Service", service(one.service)],
      ["Middlewares, in order", links("middlewares", one.middlewares)],
      ["Entrypoints", one.entrypoints.length > 0 ? links("entrypoints", one.entrypoints) : "all of its protocol"],
    ]),
    counted("routers", one),
  ];
}

/** How a server stands, why and since when. */
function serverState(each) {
  const why = Object.entries(each.why).map(([trouble, reason]) => `${trouble}: ${reason}`).join("; ");
  return [
    badge(each.state),
    why && h("span", { class: "why" }, ` ${why}`),
    h("span", { class: "quiet" }, ` since ${format.ago(each.since)}`),
    each.last_probe && h("span", { class: "quiet" },
      `; asked ${format.ago(each.last_probe.at)}: ${each.last_probe.fault ?? "well"}`),
    failed(each.last_failure),
    each.ejected_until && h("span", { class: "quiet" }, `, until ${format.moment(each.ejected_until)}`),
  ];
}

function serverTable(caption, list) {
  return table(caption,
    [
      { title: "Server", show: (each) => h("code", {}, each.url) },
      { title: "State", show: serverState },
      { title: "Weight", number: true, show: (each) => format.count(each.weight) },
      { title: "In flight", number: true, show: (each) => format.count(each.in_flight) },
      { title: "Answers in", number: true, show: (each) => format.milliseconds(each.ewma_ms) },
      { title: "Requests", number: true, show: (each) => format.count(each.requests) },
      { title: "Failures", number: true, show: (each) => format.count(each.failures) },
      { title: "Ejections", number: true, show: (each) => format.count(each.ejections) },
    ],
    list, (each) => each.url);
}

function serviceDetail(one) {
  const { dropped, ...mirror } = one.mirror ?? {};
  const { ended, ...connections } = one.connections ?? {};
  return [
    one.panic && h("p", {}, badge("panic", "bad"), " So few servers are well that all are asked."),
    one.servers?.length > 0 && section("Servers", serverTable("Servers", one.servers)),
    one.servers?.length === 0 && !one.websocket_hub && h("p", {}, "It gives an answer of its own, and has no servers."),
    one.revisions && section("Revisions", one.revisions.map((each) => [
      h("h3", {}, each.name, each.traffic_percent !== undefined && ` gets ${each.traffic_percent} %`),
      serverTable(`Servers of ${each.name}`, each.servers),
    ])),
    one.failover && section("Failover", facts([
      ["To", service(one.failover.service)],
      ["Now", one.failover.active ? badge("active", "warn") : "not needed"],
      ["Requests so far", format.count(one.failover.requests)],
    ])),
    one.mirror && section("Mirror", numbers("Copies", mirror), numbers("Copies dropped, by reason", dropped)),
    one.websocket_hub && section("WebSocket hub", numbers("What goes through", one.websocket_hub)),
    one.connections && section("Connections", numbers("Connections", connections), numbers("Ended, by reason", ended)),
    counted("services", one),
  ];
}

function middleware(one) {
  const settings = Object.entries(one.settings ?? {}).filter(([name]) => name !== "type");
  return [
    facts([
      ["Type", h("code", {}, one.type)],
      ["State", middlewareState(one)],
      ["Routers", links("routers", one.routers)],
      ["Entrypoints", links("entrypoints", one.entrypoints)],
      ["Chains", links("middlewares", one.chains)],
    ]),
    settings.length > 0 && section("Settings", facts(settings.map(([name, value]) =>
      [name, h("code", {}, typeof value === "string" ? value : JSON.stringify(value))]))),
  ];
}

export const details = {
  entrypoints: detail("entrypoints", entrypoint, async () => ({ certificates: await read("certificates") })),
  routers: detail("routers", router),
  services: detail("services", serviceDetail),
  middlewares: detail("middlewares", middleware),
};
