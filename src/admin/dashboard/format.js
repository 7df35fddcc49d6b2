// Numbers and times as people read them.

const whole = new Intl.NumberFormat("en");
const NONE = "–";

export const none = NONE;

export function count(value) {
  return Number.isFinite(value) ? whole.format(value) : NONE;
}

/** A rate or a time: three digits that mean something. */
export function short(value) {
  if (!Number.isFinite(value)) {
    return NONE;
  }
  const size = Math.abs(value);
  if (size === 0) {
    return "0";
  }
  const digits = size >= 100 ? 0 : size >= 10 ? 1 : 2;
  return new Intl.NumberFormat("en", { maximumFractionDigits: digits }).format(value);
}

export function perSecond(value) {
  return Number.isFinite(value) ? `${short(value)}/s` : NONE;
}

export function milliseconds(value) {
  if (!Number.isFinite(value)) {
    return NONE;
  }
  return value >= 10_000 ? `${short(value / 1000)} s` : `${short(value)} ms`;
}

export function bytes(value) {
  if (!Number.isFinite(value)) {
    return NONE;
  }
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${short(value)} ${units[unit]}`;
}

/** A length of time, by its two largest units. */
export function lasting(seconds) {
  const units = [["d", 86_400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) {
    return "0 s";
  }
  const parts = units.slice(first, first + 2).map(([name, size], index) => {
    const all = Math.floor(seconds / size);
    const amount = index === 0 ? all : Math.floor((seconds % units[first][1]) / size);
    return amount > 0 ? `${amount} ${name}` : "";
  });
  return parts.filter(Boolean).join(" ");
}

/** A moment in seconds since 1970. */
export function moment(seconds) {
  return new Date(seconds * 1000).toLocaleString("en", { dateStyle: "medium", timeStyle: "medium" });
}

export function ago(seconds) {
  const passed = Math.max(0, Math.floor(Date.now() / 1000 - seconds));
  return passed < 1 ? "now" : `${lasting(passed)} ago`;
}

export function sum(counts) {
  return Object.values(counts ?? {}).reduce((sum, each) => sum + each, 0);
}
