/** One question at a time, before something is done that others will notice. */

import { make } from "./dom.js";

/**
 * Ask, and do `work` with what was filled in once it is confirmed. What is refused is said in the dialogue, which then stays
 * open; while the work is under way it cannot be left, since it would be done all the same. Ends with whether it was done.
 */
export function ask({ title, body = [], fields = [], confirm, work }) {
  const dialog = document.getElementById("question");
  if (dialog.open) return Promise.resolve(false);
  const before = document.activeElement?.dataset.do;
  const answer = make("p", { class: "answer", role: "alert" });
  const doing = make("button", { type: "submit", class: "main" }, confirm);
  const leaving = make("button", { type: "button", onclick: () => dialog.close() }, "Leave it");
  const form = make(
    "form",
    { autocomplete: "off" },
    make("h2", { id: "question-title" }, title),
    ...body,
    ...fields,
    answer,
    make("menu", {}, leaving, doing),
  );
  let done = false;
  let underWay = false;

  function rest(rests) {
    underWay = leaving.disabled = doing.disabled = rests;
  }
  function stay(event) {
    if (underWay && (event.type === "cancel" || event.key === "Escape")) event.preventDefault();
  }
  dialog.addEventListener("cancel", stay);
  // The key itself too: browsers let a second Escape past what prevents the first one's `cancel`.
  document.addEventListener("keydown", stay, true);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (underWay) return;
    answer.textContent = "";
    const filled = new FormData(form);
    rest(true);
    try {
      await work(filled);
      done = true;
    } catch (error) {
      answer.textContent = error.message;
    } finally {
      rest(false);
    }
    if (done && dialog.contains(form)) dialog.close();
  });
  return new Promise((resolve) => {
    dialog.addEventListener(
      "close",
      () => {
        dialog.removeEventListener("cancel", stay);
        document.removeEventListener("keydown", stay, true);
        dialog.replaceChildren();
        // The row that the question came from may have been made anew meanwhile.
        if (before && document.activeElement === document.body)
          document.querySelector(`[data-do="${CSS.escape(before)}"]`)?.focus();
        resolve(done);
      },
      { once: true },
    );
    dialog.replaceChildren(form);
    dialog.showModal();
  });
}

export function reason() {
  return make(
    "label",
    {},
    "Reason, for the log ",
    make("input", { name: "reason", maxlength: 2000, placeholder: "may be left out" }),
  );
}
