/** One question at a time, before something is done that others will notice. */

import { make } from "./dom.js";

/**
 * Ask, and do `work` with what was filled in once it is confirmed. What is refused is said in the dialogue, which then stays
 * open; it ends with true where the work was done.
 */
export function ask({ title, body = [], fields = [], confirm, work }) {
  const dialog = document.getElementById("question");
  const answer = make("p", { class: "answer", role: "alert" });
  const doing = make("button", { type: "submit", class: "main" }, confirm);
  const form = make(
    "form",
    {},
    make("h2", { id: "question-title" }, title),
    ...body,
    ...fields,
    answer,
    make("menu", {}, make("button", { type: "button", onclick: () => dialog.close() }, "Leave it"), doing),
  );
  return new Promise((resolve) => {
    let done = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      answer.textContent = "";
      doing.disabled = true;
      try {
        await work(new FormData(form));
        done = true;
        dialog.close();
      } catch (error) {
        answer.textContent = error.message;
      } finally {
        doing.disabled = false;
      }
    });
    dialog.addEventListener("close", () => resolve(done), { once: true });
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
