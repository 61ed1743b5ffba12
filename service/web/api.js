/** Calls to the server that this page came from. The key is kept for this tab and this server alone. */

const HERE = new URL(".", document.baseURI).pathname;
const TRIES = 4;
const LONGEST_READ_MS = 10_000;
const LONGEST_WAIT_S = 10;

/** A text in the session storage of the tab; servers under one origin have one each. */
function kept(name) {
  const place = `everclass-${name} ${HERE}`;
  return {
    get shown() {
      return sessionStorage.getItem(place);
    },
    keep: (text) => sessionStorage.setItem(place, text),
    forget: () => sessionStorage.removeItem(place),
  };
}

export const key = kept("key");
/** What is still to be said once the page was loaded anew. */
export const word = kept("word");

/** What the server refused: `status` and the fields of its problem (RFC 9457); `message` says all that it said. */
export class Refused extends Error {
  constructor(status, problem, retryAfterS = 0) {
    const fields = (problem.errors ?? []).map((one) => `${one.field}: ${one.message}`);
    super([...new Set([problem.detail ?? problem.title ?? `the answer was ${status}`, ...fields])].join("; "));
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

/** The same with the names of the files that were sent, in their order, for `images[N]`. */
export function withNames(error, names) {
  error.message = error.message.replaceAll(/\bimages\[(\d+)\]/g, (place, number) => names[number] ?? place);
  return error;
}

/** No answer came, or not a whole one. */
export class Unreachable extends Error {
  constructor() {
    super("the server does not answer");
  }
}

/**
 * One call; the body of its answer, JSON read. `query` leaves out what is null; `json` or `form` is the body; `also` are
 * further statuses whose JSON is an answer.
 *
 * A write carries an Idempotency-Key, so that it can be sent again where no answer came: it is done once all the same.
 * `once` is that key where somebody may press again what seems to have failed. Throws Refused or Unreachable.
 */
export async function call(method, path, { query = {}, json, form, as = "json", also = [], once } = {}) {
  const reply = await send(method, path, { query, json, form, as, once });
  let body = null;
  try {
    body = await reply[reply.ok ? as : "json"]();
  } catch {
    if (reply.ok) throw new Unreachable();
  }
  const isProblem = reply.headers.get("Content-Type")?.startsWith("application/problem+json");
  if (reply.ok || (also.includes(reply.status) && body !== null && !isProblem)) return body;
  throw new Refused(reply.status, body ?? {}, waitOf(reply));
}

async function send(method, path, { query, json, form, as, once }) {
  const place = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query))
    if (value !== null && value !== undefined) place.searchParams.set(name, value);
  const reads = method === "GET";
  const writes = !reads && path !== "predict";
  const headers = {};
  if (key.shown) headers.Authorization = `Bearer ${key.shown}`;
  if (json !== undefined) headers["Content-Type"] = "application/json";
  if (writes) headers["Idempotency-Key"] = once ?? unlikeAnyOther();
  const body = json === undefined ? form : JSON.stringify(json);
  for (let attempt = 1; ; attempt++) {
    let pauseS = attempt;
    try {
      const signal = reads && as === "json" ? AbortSignal.timeout(LONGEST_READ_MS) : undefined;
      const reply = await fetch(place, { method, headers, body, signal, credentials: "omit", cache: "no-store" });
      pauseS = waitOf(reply);
      const later = (writes && reply.status === 409) || (reads && reply.status === 429);
      if (!later || pauseS === 0 || pauseS > LONGEST_WAIT_S || attempt === TRIES) return reply;
    } catch (error) {
      if (!(error instanceof TypeError || error.name === "TimeoutError")) throw error;
      if (!writes || attempt === TRIES) throw new Unreachable();
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * pauseS));
  }
}

function waitOf(reply) {
  return Number(reply.headers.get("Retry-After")) || 0;
}

/** `crypto.randomUUID` is only there on https and loopback. */
export function unlikeAnyOther() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
