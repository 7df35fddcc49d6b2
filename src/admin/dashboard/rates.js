// What happens in a second, from the difference of what was counted at two looks.

/** How many rates a line is drawn of. */
const LONGEST = 60;
/** How many things are remembered that nobody has looked at lately. */
const MOST = 2000;

const known = new Map();

/** Notes what is counted of `key`, at `time` in milliseconds. */
export function note(key, counts, time) {
  const before = known.get(key);
  const rates = {};
  const passed = before ? (time - before.time) / 1000 : 0;
  for (const [name, value] of Object.entries(counts)) {
    const gone = value - before?.counts[name];
    // Where less is counted than before, another gateway answers, or another thing has the name.
    rates[name] = passed > 0 && gone >= 0 ? gone / passed : undefined;
  }
  const line = before?.line ?? [];
  if (before) {
    line.push(rates.requests ?? 0);
    line.splice(0, line.length - LONGEST);
  }
  known.delete(key);
  known.set(key, { time, counts, rates, line });
  if (known.size > MOST) {
    known.delete(known.keys().next().value);
  }
}

/** The rates of `key`, by what is counted. */
export function rates(key) {
  return known.get(key)?.rates ?? {};
}

/** Its requests in a second, over the last looks. */
export function line(key) {
  return known.get(key)?.line ?? [];
}
