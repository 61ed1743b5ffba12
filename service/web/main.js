/** The page: asks the server every two seconds how things stand, and lets each part show what changed. */

import { call, key, Refused, Unreachable, word } from "./api.js";
import { asking } from "./asking.js";
import { classes } from "./classes.js";
import { count, put } from "./dom.js";
import { log } from "./log.js";
import { tasks } from "./tasks.js";
import { teaching } from "./teaching.js";
import { versions } from "./versions.js";

const EVERY_MS = 2000;
const ALL_ANEW = 10;
const PAGE = 25;

const part = (name) => document.getElementById(name);

/** A list that comes in pages. The newest page is asked for as time goes on, older ones when somebody wants to know. */
class Pages {
  constructor(path, section, keyOf) {
    this.path = path;
    this.keyOf = keyOf;
    this.items = [];
    this.wanted = 1;
    this.more = section.querySelector("[data-act=older]");
    this.more.addEventListener("click", () => {
      this.wanted += 1;
      next(true);
    });
  }

  async refresh(whole) {
    const found = [];
    let cursor = null;
    for (let page = 0; page < (whole ? this.wanted : 1); page++) {
      const { items, next: after } = await call("GET", this.path, { query: { limit: PAGE, cursor } });
      found.push(...items);
      cursor = after;
      if (cursor === null) break;
    }
    if (whole || this.wanted === 1) {
      this.items = found;
      this.more.hidden = cursor === null;
    } else {
      const here = new Set(found.map(this.keyOf));
      this.items = [...found, ...this.items.filter((one) => !here.has(this.keyOf(one)))];
    }
  }
}

const lists = {
  tasks: new Pages("tasks", part("tasks"), (one) => one.id),
  versions: new Pages("versions", part("versions"), (one) => one.version),
  log: new Pages("promotions", part("log"), (one) => one.seq),
};
const state = { ready: null, aliases: {}, classes: [], can: { learn: true, admin: true }, beyond: null };
let seen = "";
let round = 0;
let timer;
let busy = false;
let wanted = null;

/** Ask now, and again when what is under way is done: for who has just changed something. */
const changed = () => next(true);
const shows = [
  asking(part("asking")),
  tasks(part("tasks"), { changed }),
  versions(part("versions"), { changed }),
  classes(part("classes"), { changed }),
  log(part("log")),
];
teaching(part("teaching"), { changed });

/** What a key may not see is not asked for again: each refusal stands in the server's audit log. */
async function ifAllowed(scope, work) {
  if (!state.can[scope]) return;
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Refused) || error.status !== 403) throw error;
    state.can[scope] = false;
  }
}

async function refresh(whole) {
  state.ready = await call("GET", "readyz", { also: [503] });
  const anew = round % ALL_ANEW === 0;
  round += 1;
  await ifAllowed("learn", () => lists.tasks.refresh(whole || anew));
  const now = JSON.stringify([state.ready.version, lists.tasks.items.map((one) => [one.id, one.state, one.versions])]);
  if (!whole && !anew && now === seen) return;
  seen = "";
  await lists.versions.refresh(whole);
  state.aliases = await call("GET", "aliases");
  state.beyond = await inForceBeyondThePages();
  state.classes = (await call("GET", "classes")).items;
  await ifAllowed("admin", () => lists.log.refresh(whole || anew));
  seen = now;
}

/** The version in force where it is older than those that are looked at; else null. */
async function inForceBeyondThePages() {
  const { serving } = state.aliases;
  if (serving === undefined || lists.versions.items.some((one) => one.version === serving)) return null;
  return call("GET", `versions/${serving}`);
}

function show() {
  const { ready, aliases, classes: known, can, beyond } = state;
  const shown = {
    tasks: lists.tasks.items,
    versions: beyond === null ? lists.versions.items : [...lists.versions.items, beyond],
    log: lists.log.items,
    classes: known,
    aliases,
    can,
    inForce: aliases.serving ?? null,
  };
  for (const one of shows) one(shown);
  part("teaching").hidden = !can.learn;
  put(part("standing"), standing(ready, known.length));
  part("house").hidden = false;
  say(ready.differs.join(" "));
}

function standing({ ready, version, behind, draining, reason, runtime, learner }, known) {
  const parts = [];
  if (draining) parts.push("the server is stopping");
  else if (version === null) parts.push(reason ?? "no version yet");
  else parts.push(`version ${version} serves ${count(known, "class", "classes")}${runtime ? ` (${runtime})` : ""}`);
  if (version !== null && (behind || !ready) && reason) parts.push(reason);
  if (learner.alive) parts.push(learner.task ? `learning task ${learner.task}` : "the learner waits");
  else
    parts.push(
      learner.heartbeat_age_s === null ? "no learner" : `no sign of the learner for ${about(learner.heartbeat_age_s)}`,
    );
  return parts.join(" · ");
}

function about(seconds) {
  if (seconds < 60) return "some seconds";
  return seconds < 5400 ? count(Math.round(seconds / 60), "minute") : count(Math.round(seconds / 3600), "hour");
}

function say(text) {
  put(part("trouble"), text);
  part("trouble").hidden = text === "";
}

/** Nothing of what a key saw stays on the page, nor a request of its that is under way: the page is loaded anew. */
function lockOut(text) {
  key.forget();
  if (part("house").hidden) {
    showDoor(text);
    return;
  }
  word.keep(text);
  location.reload();
}

function showDoor(text) {
  put(part("standing"), "");
  put(part("door").querySelector(".answer"), text || (word.shown ?? ""));
  word.forget();
  say("");
  part("leave").hidden = true;
  part("door").hidden = false;
}

function enter() {
  put(part("standing"), "asking the server …");
  part("leave").hidden = key.shown === null;
  part("door").hidden = true;
  next(true);
}

/** One look at the server; how many milliseconds it wants to be left alone afterwards. */
async function turn(whole) {
  const shownKey = key.shown;
  try {
    await refresh(whole);
    show();
  } catch (error) {
    seen = "";
    if (error instanceof Refused && error.status === 401) {
      lockOut(shownKey === null ? "" : error.message);
    } else {
      if (error instanceof Unreachable) put(part("standing"), "");
      say(error.message);
      if (!(error instanceof Refused || error instanceof Unreachable)) console.error(error);
    }
    return 1000 * (error.retryAfterS ?? 0);
  }
  return 0;
}

/**
 * A turn now, and the next one in two seconds; while nobody looks at the page, none. One at a time: who comes while one is
 * under way has another one after it, as `wanted` says, since the first may have read before his change.
 */
async function next(whole = false) {
  clearTimeout(timer);
  if (busy) {
    wanted = wanted || whole;
    return;
  }
  busy = true;
  let rest = 0;
  for (wanted = whole; wanted !== null;) {
    const all = wanted;
    wanted = null;
    rest = await turn(all);
  }
  busy = false;
  if (!document.hidden && part("door").hidden) timer = setTimeout(next, Math.max(EVERY_MS, rest));
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else if (part("door").hidden) next();
});

part("door").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = event.target.elements.key;
  const given = field.value.trim();
  field.value = "";
  if (!/^[\w.~+/=-]{1,512}$/.test(given)) {
    put(part("door").querySelector(".answer"), "this is no key of an Everclass server");
    return;
  }
  key.keep(given);
  enter();
});
part("leave").addEventListener("click", () => {
  key.forget();
  location.reload();
});

enter();
