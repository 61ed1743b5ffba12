/** The page: asks the server every two seconds how things stand, and lets each part show what changed. */

import { call, key, Refused, Unreachable } from "./api.js";
import { asking } from "./asking.js";
import { classes } from "./classes.js";
import { count } from "./dom.js";
import { log } from "./log.js";
import { tasks } from "./tasks.js";
import { teaching } from "./teaching.js";
import { versions } from "./versions.js";

const EVERY_MS = 2000;
const ALL_ANEW = 10;
const PAGE = 25;
const LEARN_ONLY = ["teaching"];

const part = (name) => document.getElementById(name);

/** A list that comes in pages: the first one is asked for anew, as many as were looked at before. */
class Pages {
  constructor(path, section) {
    this.path = path;
    this.items = [];
    this.wanted = 1;
    this.more = section.querySelector("[data-act=older]");
    this.more.addEventListener("click", () => {
      this.wanted += 1;
      next(true);
    });
  }

  async refresh() {
    const found = [];
    let cursor = null;
    for (let page = 0; page < this.wanted; page++) {
      const { items, next: after } = await call("GET", this.path, { query: { limit: PAGE, cursor } });
      found.push(...items);
      cursor = after;
      if (cursor === null) break;
    }
    this.items = found;
    this.more.hidden = cursor === null;
  }

  clear() {
    this.items = [];
    this.wanted = 1;
    this.more.hidden = true;
  }
}

const lists = {
  tasks: new Pages("tasks", part("tasks")),
  versions: new Pages("versions", part("versions")),
  log: new Pages("promotions", part("log")),
};
const everything = { predict: true, learn: true, admin: true };
let state;
let seen;
let round;
let timer;
let busy = false;
let wanted = null;

function forgetAll() {
  state = { ready: null, aliases: {}, classes: [], can: { ...everything } };
  [seen, round] = ["", 0];
  for (const list of Object.values(lists)) list.clear();
}

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
  await ifAllowed("learn", () => lists.tasks.refresh());
  const now = JSON.stringify([state.ready.version, lists.tasks.items.map((one) => [one.id, one.state, one.versions])]);
  if (whole || now !== seen || round % ALL_ANEW === 0) {
    await lists.versions.refresh();
    state.aliases = await call("GET", "aliases");
    state.classes = (await call("GET", "classes")).items;
    await ifAllowed("admin", () => lists.log.refresh());
    seen = now;
  }
  round += 1;
}

function show() {
  const { ready, aliases, classes: known, can } = state;
  const shown = {
    tasks: lists.tasks.items,
    versions: lists.versions.items,
    log: lists.log.items,
    classes: known,
    aliases,
    can,
    inForce: aliases.serving ?? null,
  };
  for (const one of shows) one(shown);
  for (const name of LEARN_ONLY) part(name).hidden = !can.learn;
  part("standing").textContent = standing(ready, known.length);
  part("leave").hidden = key.shown === null;
  part("door").hidden = true;
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
      learner.heartbeat_age_s === null
        ? "no learner"
        : `no sign of the learner for ${Math.round(learner.heartbeat_age_s)} s`,
    );
  return parts.join(" · ");
}

function say(text) {
  part("trouble").textContent = text;
  part("trouble").hidden = text === "";
}

/** Nothing of what a key saw is left on the page without it. */
function showDoor(text) {
  key.forget();
  forgetAll();
  for (const one of shows) one({ tasks: [], versions: [], log: [], classes: [], aliases: {}, can: {}, inForce: null });
  part("asking").querySelector(".predictions").replaceChildren();
  part("teaching").querySelector(".news").textContent = "";
  part("house").hidden = true;
  part("leave").hidden = true;
  part("standing").textContent = "";
  part("door").hidden = false;
  part("door").querySelector(".answer").textContent = text;
  say("");
}

async function turn(whole) {
  const shownKey = key.shown;
  let wrong = null;
  try {
    await refresh(whole);
  } catch (error) {
    wrong = error;
  }
  // Another key was entered meanwhile, or this one was taken back: nothing of what it saw is shown.
  if (key.shown !== shownKey) forgetAll();
  else if (wrong === null) show();
  else if (wrong instanceof Refused && wrong.status === 401) showDoor(shownKey === null ? "" : wrong.message);
  else if (wrong instanceof Refused || wrong instanceof Unreachable) say(wrong.message);
  else throw wrong;
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
  try {
    for (wanted = whole; wanted !== null;) {
      const all = wanted;
      wanted = null;
      await turn(all);
    }
  } finally {
    busy = false;
    if (!document.hidden && part("door").hidden) timer = setTimeout(next, EVERY_MS);
  }
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
    part("door").querySelector(".answer").textContent = "this is no key of an Everclass server";
    return;
  }
  key.keep(given);
  next(true);
});
part("leave").addEventListener("click", () => showDoor(""));

forgetAll();
next(true);
