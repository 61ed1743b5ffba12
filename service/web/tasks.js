/** Tasks, newest first: how far they are, and what can still be done about them. */

import { call } from "./api.js";
import { badge, count, hold, make, moment, percent, several, trying } from "./dom.js";

const KINDS = { done: "good", failed: "bad", cancelled: "warm", learning: "good", queued: "", open: "" };
const UNFINISHED = new Set(["open", "queued", "learning"]);

export function tasks(section, { changed }) {
  const list = section.querySelector("ul");

  function line(task) {
    const refused = make("p", { class: "answer grow", role: "alert" });
    const press = (act, text, method, path, options) =>
      make(
        "button",
        {
          type: "button",
          "data-act": act,
          onclick: (event) => trying(refused, event.target, () => call(method, path, options).then(changed)),
        },
        text,
      );
    const place = `tasks/${encodeURIComponent(task.id)}`;
    return make(
      "li",
      {},
      badge(task.state, KINDS[task.state]),
      make(
        "div",
        { class: "grow" },
        make("strong", {}, task.name ?? several(Object.keys(task.labels))),
        make("div", { class: "dim" }, about(task)),
        task.state === "learning" &&
          make("progress", { value: task.progress, max: 1, "aria-label": `progress of task ${task.id}` }),
        task.reason && make("div", {}, task.reason),
      ),
      task.state === "open" && press("commit", "Learn it now", "POST", `${place}/commit`),
      UNFINISHED.has(task.state) && press("cancel", "Cancel", "DELETE", place, { query: { purge: false } }),
      (task.state === "failed" || task.state === "cancelled") && press("retry", "Try again", "POST", `${place}/retry`),
      refused,
    );
  }

  return ({ tasks: items, can }) => {
    section.querySelector(".none").textContent = !can.learn
      ? "A key with the scope learn sees tasks."
      : items.length
        ? ""
        : "Nothing was sent yet.";
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
