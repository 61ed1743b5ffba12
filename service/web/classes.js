/** The classes in force, and forgetting one of them. */

import { call } from "./api.js";
import { button, count, hold, make, own, put, saying } from "./dom.js";
import { ask } from "./question.js";

const MOST = 200;

export function classes(section, { changed }) {
  const list = section.querySelector("ul");
  const find = section.querySelector("[name=find]");
  const none = section.querySelector(".none");
  let shown = { classes: [], can: {} };

  function line({ label, images, can }) {
    const row = `class ${label}`;
    return make(
      "li",
      {},
      make("span", { class: "grow" }, own(label), make("span", { class: "dim" }, ` ${count(images, "image")}`)),
      can.admin && button(row, "forget", "Forget", () => forget(label), { "aria-label": `Forget ${label}` }),
      saying(row),
    );
  }

  async function forget(label) {
    const done = await ask({
      title: ["Forget ", own(label), "?"],
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
        make("label", {}, "To be sure, its name ", make("input", { name: "label", required: true })),
      ],
      confirm: "Forget it",
      work: (filled) => {
        if (filled.get("label").trim().normalize("NFC") !== label) throw new Error(`the name is ${label}`);
        const query = { purge: filled.get("purge") ? true : null };
        return call("DELETE", `classes/${encodeURIComponent(label)}`, { query });
      },
    });
    if (done) changed();
  }

  function show() {
    const wanted = find.value.trim().normalize("NFC").toLowerCase();
    const found = shown.classes.filter((one) => one.label.toLowerCase().includes(wanted));
    put(none, told(found.length, wanted));
    hold(
      list,
      found.slice(0, MOST).map(({ label, images }) => ({ label, images, can: shown.can })),
      (one) => one.label,
      line,
    );
  }

  function told(found, wanted) {
    const all = shown.classes.length;
    if (all === 0) return "No class is in force.";
    if (!wanted && found <= MOST) return "";
    return `${found} of ${count(all, "class", "classes")}${found > MOST ? `, the first ${MOST} are shown` : ""}`;
  }

  find.addEventListener("input", show);
  return ({ classes: items, can }) => {
    shown = { classes: items, can };
    show();
  };
}
