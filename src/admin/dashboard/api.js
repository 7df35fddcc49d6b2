// The admin API, which is found beside this page: under whatever path a router has put both.

const API = new URL("../api/gateway/", document.baseURI);
const PATIENCE = 10_000;

// It is kept nowhere else: whoever loads the page again is asked again.
let token = "";

export function useToken(text) {
  token = text;
}

export function hasToken() {
  return token !== "";
}

/** The API has said no; `status` is its answer's. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Asks for `path`, and gives what the answer says. */
export async function read(path, query = {}) {
  return (await ask(path, query)).value;
}

/** A part of a list, and how long all of it is. */
export async function part(path, query) {
  const { value, headers } = await ask(path, query);
  const total = Number(headers.get("x-total-count") ?? value.length);
  return { list: value, total };
}

async function ask(path, query) {
  const url = new URL(path, API);
  for (const [key, value] of Object.entries(query)) {
    [value].flat().forEach((each) => url.searchParams.append(key, each));
  }
  const response = await fetch(url, {
    headers: hasToken() ? { authorization: `Bearer ${token}` } : {},
    cache: "no-store",
    redirect: "error",
    signal: AbortSignal.timeout(PATIENCE),
  });
  const body = await response.text();
  if (!response.ok) {
    throw new Refused(response.status, reason(body) ?? response.statusText);
  }
  return { value: JSON.parse(body), headers: response.headers };
}

/** What a refusal says. */
function reason(body) {
  try {
    const { error, message } = JSON.parse(body);
    return message ?? error?.message ?? error;
  } catch {
    return undefined;
  }
}

/** The address of one of a list. */
export function of(list, name) {
  return `${list}/${encodeURIComponent(name)}`;
}
