/** The classes in force, and forgetting one of them. */

import { call } from "./api.js";
import { count, hold, make } from "./dom.js";
import { ask } from "./question.js";

const MOST = 200;

export function classes(section, { changed }) {
  const list = section.querySelector("ul");
  const find = section.querySelector("[name=find]");
  const none = section.querySelector(".none");
  let shown = { classes: [], can: {} };

  function line({ label, images, can }) {
    return make(
      "li",
      {},
      make("span", { class: "grow" }, label, make("span", { class: "dim" }, ` ${count(images, "image")}`)),
      can.admin &&
        make(
          "button",
          { type: "button", "data-act": "forget", "aria-label": `Forget ${label}`, onclick: () => forget(label) },
          "Forget",
        ),
    );
  }

  async function forget(label) {
    await ask({
      title: `Forget ${label}?`,
      body: [
        make("p", {}, "A version without this class takes over, if the gate lets it. Older versions still know it."),
      ],
      fields: [
        make(
          "label",
          {},
          make("input", { type: "checkbox", name: "purge" }),
          " and then delete for good every version, statistic and held-out image that knows it",
        ),
        make(
          "label",
          {},
          "To be sure, its name ",
          make("input", { name: "label", autocomplete: "off", required: true }),
        ),
      ],
      confirm: "Forget it",
      work: (form) => {
        if (form.get("label").trim() !== label) throw new Error(`the name is ${label}`);
        return call("DELETE", `classes/${encodeURIComponent(label)}`, {
          query: { purge: form.get("purge") ? true : null },
        });
      },
    });
    changed();
  }

  function show() {
    const wanted = find.value.trim().toLowerCase();
    const found = shown.classes.filter((one) => one.label.toLowerCase().includes(wanted));
    const parts = [];
    if (!shown.classes.length) parts.push("No class is in force.");
    else if (wanted || found.length > MOST)
      parts.push(
        `${found.length} of ${count(shown.classes.length, "class", "classes")}${found.length > MOST ? `, the first ${MOST} are shown` : ""}`,
      );
    none.textContent = parts.join("");
    hold(
      list,
      found.slice(0, MOST).map(({ label, images }) => ({ label, images, can: shown.can })),
      (one) => one.label,
      line,
    );
  }

  find.addEventListener("input", show);
  return ({ classes: items, can }) => {
    shown = { classes: items, can };
    show();
  };
}
