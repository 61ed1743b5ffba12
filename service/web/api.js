/** Calls to the server that this page came from. The key is kept for this tab alone. */

const PLACE = "everclass-key";
const TRIES = 4;

export const key = {
  get shown() {
    return sessionStorage.getItem(PLACE);
  },
  keep(text) {
    sessionStorage.setItem(PLACE, text);
  },
  forget() {
    sessionStorage.removeItem(PLACE);
  },
};

/** What the server refused: `status` and the fields of its problem (RFC 9457); `message` says all that it said. */
export class Refused extends Error {
  constructor(status, problem) {
    const fields = (problem.errors ?? []).map((one) => `${one.field}: ${one.message}`);
    super([...new Set([problem.detail ?? problem.title ?? `status ${status}`, ...fields])].join("; "));
    this.status = status;
  }
}

/** The same with the names of the files that were sent, in their order, for `images[N]`. */
export function withNames(error, names) {
  error.message = error.message.replaceAll(/\bimages\[(\d+)\]/g, (place, number) => names[number] ?? place);
  return error;
}

/** No answer came. */
export class Unreachable extends Error {
  constructor() {
    super("the server does not answer");
  }
}

/**
 * One call; the body of its answer, JSON read. `query` leaves out what is null; `json` or `form` is the body.
 *
 * A write carries an Idempotency-Key, so that it can be sent again where no answer came: it is done once all the same.
 * Throws Refused or Unreachable.
 */
export async function call(method, path, { query = {}, json, form, as = "json", also = [] } = {}) {
  const reply = await send(method, path, { query, json, form });
  if (reply.ok || also.includes(reply.status)) return reply[as]();
  throw new Refused(reply.status, await problemOf(reply));
}

async function send(method, path, { query, json, form }) {
  const place = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(query))
    if (value !== null && value !== undefined) place.searchParams.set(name, value);
  const headers = {};
  if (key.shown) headers.Authorization = `Bearer ${key.shown}`;
  if (json !== undefined) headers["Content-Type"] = "application/json";
  const writes = method !== "GET" && path !== "predict";
  if (writes) headers["Idempotency-Key"] = unlikeAnyOther();
  const request = {
    method,
    headers,
    body: json === undefined ? form : JSON.stringify(json),
    credentials: "omit",
    cache: "no-store",
  };
  for (let attempt = 1; ; attempt++) {
    try {
      const reply = await fetch(place, request);
      const underWay = writes && reply.status === 409 && reply.headers.has("Retry-After");
      if (!underWay || attempt === TRIES) return reply;
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      if (!writes || attempt === TRIES) throw new Unreachable();
    }
    await new Promise((resolve) => setTimeout(resolve, 1000 * attempt));
  }
}

async function problemOf(reply) {
  try {
    return await reply.json();
  } catch {
    return {};
  }
}

/** `crypto.randomUUID` is only there on https and loopback. */
function unlikeAnyOther() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
