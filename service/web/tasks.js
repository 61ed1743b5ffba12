/** Tasks, newest first: how far they are, and what can still be done about them. */

import { call } from "./api.js";
import { badge, button, count, hold, make, moment, own, percent, put, saying, several } from "./dom.js";

const KINDS = { done: "good", failed: "bad", cancelled: "warm", learning: "good", queued: "", open: "" };
const UNFINISHED = new Set(["open", "queued", "learning"]);

export function tasks(section, { changed }) {
  const list = section.querySelector("ul");

  function line(task) {
    const row = `task ${task.id}`;
    const named = task.name ?? Object.keys(task.labels).join(", ");
    const press = (act, text, method, path, options) =>
      button(row, act, text, () => call(method, path, options).then(changed), { "aria-label": `${text}: ${named}` });
    const place = `tasks/${encodeURIComponent(task.id)}`;
    return make(
      "li",
      {},
      badge(task.state, KINDS[task.state]),
      make(
        "div",
        { class: "grow" },
        make("strong", {}, task.name ? own(task.name) : several(Object.keys(task.labels))),
        make("div", { class: "dim" }, about(task)),
        task.state === "learning" &&
          make("progress", { value: task.progress, max: 1, "aria-label": `progress of task ${task.id}` }),
        task.reason && make("div", { dir: "auto" }, task.reason),
        task.note && make("div", { dir: "auto", class: "dim" }, task.note),
      ),
      task.state === "open" && press("commit", "Learn it now", "POST", `${place}/commit`),
      UNFINISHED.has(task.state) && press("cancel", "Cancel", "DELETE", place, { query: { purge: false } }),
      (task.state === "failed" || task.state === "cancelled") && press("retry", "Try again", "POST", `${place}/retry`),
      saying(row),
    );
  }

  return ({ tasks: items, can }) => {
    const none = items.length ? "" : "Nothing was sent yet.";
    put(section.querySelector(".none"), can.learn ? none : "A key with the scope learn sees tasks.");
    hold(list, items, (task) => task.id, line);
  };
}

function about(task) {
  const parts = [
    task.kind === "forget"
      ? "forgets a class"
      : `${count(task.images, "image")} of ${count(Object.keys(task.labels).length, "class", "classes")}`,
  ];
  if (task.state === "queued") parts.push(`place ${task.position} in the queue`);
  if (task.state === "learning") {
    const last = task.epochs.at(-1);
    parts.push(task.phase ?? "beginning");
    if (last) parts.push(`epoch ${last.epoch}: loss ${last.loss.toFixed(3)}, accuracy ${percent(last.accuracy)}`);
    if (task.eta_s !== null) parts.push(`about ${Math.ceil(task.eta_s)} s left`);
  }
  if (task.versions.length)
    parts.push(`${task.versions.length === 1 ? "version" : "versions"} ${task.versions.join(", ")}`);
  return [parts.join(" · "), " · ", moment(task.finished_at ?? task.started_at ?? task.created_at), ` · ${task.id}`];
}
