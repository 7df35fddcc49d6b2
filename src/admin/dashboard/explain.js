// What would become of a request: the gateway tells it by the code that serves, and sends nothing.

import { Refused, read } from "./api.js";
import { h } from "./dom.js";
import * as format from "./format.js";
import { badge, facts, failed, link, section, service, table } from "./parts.js";

const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

let told;
let refusal = "";

export const explain = {
  async load() {
    return { entrypoints: await read("entrypoints") };
  },
  show: ({ entrypoints }, at, refresh) => [
    h("h1", {}, "Explain a request"),
    h("p", {}, "Nothing is sent, counted or remembered: the running configuration is asked what it would do."),
    form(entrypoints, refresh),
    h("div", { id: "explained", tabindex: "-1", role: "region", "aria-label": "What would become of it" },
      refusal ? h("p", { role: "alert", class: "bad-text" }, refusal) : told && story(told)),
  ],
};

function field(id, label, input, hint) {
  const attributes = { ...input.attributes, id, name: id, "aria-describedby": hint && `${id}-hint` };
  return h("p", {}, h("label", { for: id }, label), { ...input, attributes },
    hint && h("span", { id: `${id}-hint`, class: "quiet" }, hint));
}

function form(entrypoints, refresh) {
  const ask = async (event) => {
    event.preventDefault();
    const given = new FormData(event.target);
    await explained(given);
    await refresh();
    document.getElementById("explained")?.focus();
  };
  const names = entrypoints.map(({ name }) => name).filter((name) => name !== "admin@internal");
  return h("form", { class: "card explain", onsubmit: ask },
    field("method", "Method", h("select", {}, METHODS.map((each) => h("option", {}, each)))),
    field("url", "URL", h("input", { type: "text", required: true, inputmode: "url", autocomplete: "off", spellcheck: "false" }),
      "https://example.com/path, or a path of the entrypoint below"),
    field("entrypoint", "Entrypoint", h("select", {}, h("option", { value: "" }, "by the URL"),
      names.map((name) => h("option", { value: name, key: name }, name)))),
    field("headers", "Headers", h("textarea", { rows: "3", autocomplete: "off", spellcheck: "false" }), "One a line, as Name: value"),
    field("client_ip", "Client's address", h("input", { type: "text", autocomplete: "off" }), "127.0.0.1 if it is empty"),
    field("sni", "Name asked for in TLS", h("input", { type: "text", autocomplete: "off" }), "The URL's host if it is empty"),
    h("p", {}, h("button", { type: "submit" }, "Explain")));
}

async function explained(given) {
  const query = { method: given.get("method"), url: given.get("url").trim() };
  for (const key of ["entrypoint", "client_ip", "sni"]) {
    if (given.get(key)) {
      query[key] = given.get(key).trim();
    }
  }
  query.header = given.get("headers").split("\n").map((line) => line.trim()).filter(Boolean);
  told = undefined;
  refusal = "";
  try {
    told = await read("explain", query);
  } catch (error) {
    if (error instanceof Refused && error.status === 404) {
      refusal = "This gateway cannot explain requests: its admin API has no such page.";
    } else if (error instanceof Refused) {
      refusal = `It cannot be explained: ${error.message}.`;
    } else {
      refusal = "The gateway does not answer.";
    }
  }
}

function story(it) {
  const { answer } = it;
  return [
    section("Outcome", facts([
      ["Entrypoint", it.entrypoint && link("entrypoints", it.entrypoint)],
      ["Router", it.router ? link("routers", it.router) : "none"],
      ["Service", it.service && service(it.service)],
      ["Answered by", answer && [answer.by === "server" ? "a server" : "the gateway", answer.status && ` with ${answer.status}`]],
      ["Reason", answer?.reason],
    ]), list(it.notes)),
    section("Routers, in their order", table("Routers", [
      { title: "Router", show: (row) => link("routers", row.router) },
      { title: "Verdict", show: verdict },
      { title: "Priority", number: true, show: (row) => format.count(row.priority) },
      { title: "Rule", wide: true, show: (row) => h("code", {}, row.rule) },
      { title: "What kept it", wide: true, show: (row) => (row.failed ?? []).map((each) => [h("code", {}, each.matcher), ` ${each.found} `]) },
    ], it.candidates ?? [], (row) => row.router),
    it.candidates_left_out > 0 && h("p", {}, `and ${format.count(it.candidates_left_out)} more`)),
    it.layers?.length > 0 && section("Layers, in their order", h("ol", {}, it.layers.map(layer))),
    it.upstream && section("What a server would see",
      h("pre", { tabindex: "0" }, [`${it.upstream.method} ${it.upstream.target}`,
        ...it.upstream.headers.map(({ name, value }) => `${name}: ${value}`)].join("\n"))),
    it.servers?.length > 0 && section("Servers", table("Servers", [
      { title: "Server", show: (row) => h("code", {}, row.url) },
      { title: "Picked", show: (row) => [picked(row.picked), row.why && ` ${row.why}`] },
      { title: "State", show: (row) => [badge(row.state), failed(row.last_failure)] },
      { title: "Revision", show: (row) => (row.revision ? [row.revision, row.share !== null && ` ${row.share} %`] : format.none) },
      { title: "Weight", number: true, show: (row) => format.count(row.weight) },
      { title: "In flight", number: true, show: (row) => format.count(row.in_flight) },
    ], it.servers, (row) => `${row.revision} ${row.url}`)),
  ];
}

function verdict(row) {
  if (row.chosen) {
    return badge("chosen");
  }
  return row.matches ? badge("matches, comes later", "warn") : badge("does not match", "bad");
}

const PICKED = { certain: ["certain", "good"], possible: ["possible", "good"], no: ["no", "bad"] };

function picked(word) {
  return badge(...(PICKED[word] ?? [String(word), "warn"]));
}

const EFFECTS = { passes: ["passes", "good"], answers: ["answers", "bad"] };

function layer(it) {
  const changed = ({ what, before, after }) => [`${what}: `, h("code", {}, before ?? "nothing"), " becomes ", h("code", {}, after ?? "nothing")];
  const effect = EFFECTS[it.effect] ?? [String(it.effect).replaceAll("-", " "), "warn"];
  return h("li", {}, link("middlewares", it.name), " ", h("code", {}, it.type), " ", badge(...effect),
    it.answer && ` with ${it.answer.status}`,
    list([
      ...(it.notes ?? []),
      ...(it.request ?? []).map((each) => ["request, ", changed(each)]),
      ...(it.response ?? []).map((each) => ["answer, ", changed(each)]),
    ]));
}

function list(notes) {
  return notes?.length > 0 && h("ul", {}, notes.map((each) => h("li", {}, each)));
}
