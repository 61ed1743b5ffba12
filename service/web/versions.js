/** Versions, newest first: how good they are, what the gate said, and which one serves. */

import { call } from "./api.js";
import { curve } from "./curve.js";
import { badge, count, hold, make, moment, percent, several, trying } from "./dom.js";
import { ask, reason } from "./question.js";

const STATES = { ready: "good", held: "warm", damaged: "bad", deleted: "" };
const GATE = { passed: "good", refused: "bad", not_judged: "" };

export function versions(section, { changed }) {
  const table = section.querySelector("table");
  const figure = section.querySelector("figure");
  const opened = new Set();

  function rows({ version, aliases, inForce, can }, open) {
    const refused = make("p", { class: "answer", role: "alert" });
    const servable = version.state === "ready" || version.state === "held";
    const toggle = make("button", { type: "button", "data-act": "more", "aria-expanded": String(open) }, "More");
    const more = make(
      "tr",
      { hidden: !open },
      make("td", { colspan: 9, class: "more" }, details(version, aliases, can, refused)),
    );
    toggle.addEventListener("click", () => {
      more.hidden = !more.hidden;
      toggle.setAttribute("aria-expanded", String(!more.hidden));
      opened[more.hidden ? "delete" : "add"](version.version);
    });
    const serves = version.version === inForce;
    return make(
      "tbody",
      { class: serves ? "force" : null },
      make(
        "tr",
        {},
        make(
          "th",
          { scope: "row" },
          String(version.version),
          version.kind === "provisional" && make("span", { class: "dim" }, " provisional"),
        ),
        make("td", {}, version.parent === null ? "–" : String(version.parent)),
        make(
          "td",
          {},
          badge(version.state, STATES[version.state]),
          ...aliases.map((name) => badge(name, name === "serving" ? "good" : "")),
        ),
        make("td", {}, String(version.classes.length)),
        make("td", {}, percent(version.accuracy)),
        make("td", {}, percent(version.forgetting)),
        make("td", {}, version.gate ? badge(version.gate.verdict.replace("_", " "), GATE[version.gate.verdict]) : "–"),
        make("td", {}, moment(version.created_at)),
        make(
          "td",
          { class: "acts" },
          can.admin &&
            servable &&
            !serves &&
            make(
              "button",
              {
                type: "button",
                "data-act": "serve",
                onclick: (event) => trying(refused, event.target, () => serve(version, inForce)),
              },
              "Serve",
            ),
          " ",
          toggle,
          refused,
        ),
      ),
      more,
    );
  }

  async function serve(version, inForce) {
    const now = inForce === null ? { classes: [] } : await call("GET", `versions/${inForce}`);
    const { lost, won } = difference(
      now.classes.map((one) => one.label),
      version.classes.map((one) => one.label),
    );
    await ask({
      title: `Serve version ${version.version}?`,
      body: [
        make(
          "p",
          {},
          inForce === null
            ? "No version is in force."
            : `Version ${inForce} is in force. Learning goes on from version ${version.version}.`,
        ),
        lost.length > 0 && make("p", {}, `No longer known: ${several(lost, 20)}.`),
        won.length > 0 && make("p", {}, `Known again: ${several(won, 20)}.`),
        version.reason && make("p", {}, `The version says: ${version.reason}`),
      ].filter(Boolean),
      fields: [reason()],
      confirm: `Serve version ${version.version}`,
      work: (form) =>
        call("PUT", "aliases/serving", {
          json: {
            version: version.version,
            reason: form.get("reason") || null,
            ...(inForce === null ? {} : { expected: { version: inForce } }),
          },
        }),
    });
    changed();
  }

  function details(version, aliases, can, refused) {
    const facts = [
      [
        "Classes",
        version.classes.length
          ? several(
              version.classes.map((one) => one.label),
              40,
            )
          : "none",
      ],
      ["Task", version.task ?? "none"],
      ["Calibration error", percent(version.calibration_error)],
      ["Runtime", version.runtime ?? "–"],
      ["Size", `${(version.size_bytes / 1e6).toFixed(1)} MB`],
      ["Digest", version.digest],
    ];
    if (version.reason) facts.unshift(["Reason", version.reason]);
    if (version.note) facts.push(["Note", version.note]);
    for (const one of version.accuracy_per_task)
      facts.push([
        `Accuracy on task ${one.task}`,
        `${percent(one.accuracy)} of ${count(one.images, "held-out image")}`,
      ]);
    for (const check of version.gate?.checks ?? [])
      facts.push([`Gate, ${check.name.replace("_", " ")}`, judged(check)]);
    const stored = version.state === "ready" || version.state === "held";
    return [
      make("dl", {}, ...facts.flatMap(([name, text]) => [make("dt", { class: "dim" }, name), make("dd", {}, text)])),
      can.admin &&
        make(
          "p",
          {},
          ...(stored ? whole() : []),
          ...aliases
            .filter((name) => name !== "serving")
            .flatMap((name) => [
              button(`Remove the alias ${name}`, `alias-${name}`, () => unnamed(name, version.version)),
              " ",
            ]),
        ),
    ];

    function whole() {
      const buttons = ["onnx", "safetensors"].map((format) =>
        button(`Export as ${format}`, `export-${format}`, () => exported(version.version, format)),
      );
      buttons.push(button("Give it an alias", "alias", () => named(version.version)));
      if (!aliases.length) buttons.push(button("Delete", "delete", () => remove(version.version)));
      return buttons.flatMap((one) => [one, " "]);
    }

    function button(text, act, work) {
      return make(
        "button",
        { type: "button", "data-act": act, onclick: (event) => trying(refused, event.target, work) },
        text,
      );
    }
  }

  async function remove(number) {
    await ask({
      title: `Delete version ${number}?`,
      body: [make("p", {}, "Its files go and do not come back; its line stays.")],
      confirm: `Delete version ${number}`,
      work: () => call("DELETE", `versions/${number}`),
    });
    changed();
  }

  async function named(number) {
    await ask({
      title: `An alias for version ${number}`,
      body: [
        make(
          "p",
          {},
          "Clients may ask for it by this name; while it points here, the version is kept. An alias that is elsewhere moves here.",
        ),
      ],
      fields: [
        make(
          "label",
          {},
          "Alias ",
          make("input", { name: "alias", maxlength: 64, required: true, autocomplete: "off" }),
        ),
        reason(),
      ],
      confirm: "Point it here",
      work: (form) => {
        const name = form.get("alias").trim();
        if (name === "serving") throw new Error("that is what Serve does");
        return call("PUT", `aliases/${encodeURIComponent(name)}`, {
          json: { version: number, reason: form.get("reason") || null },
        });
      },
    });
    changed();
  }

  async function unnamed(name, number) {
    await call("DELETE", `aliases/${encodeURIComponent(name)}`, { query: { expected: number } });
    changed();
  }

  return ({ versions: items, aliases, inForce, can }) => {
    section.querySelector(".none").textContent = items.length
      ? ""
      : "No version was made yet. Teach something: a first one serves within seconds.";
    table.hidden = items.length === 0;
    const lines = items.map((version) => ({
      version,
      aliases: Object.keys(aliases).filter((name) => aliases[name] === version.version),
      inForce,
      can,
    }));
    hold(
      table,
      lines,
      (line) => line.version.version,
      (line) => rows(line, opened.has(line.version.version)),
      "thead",
    );
    const points = lineage(items, inForce);
    figure.hidden = points.length < 2;
    figure.replaceChildren(...(figure.hidden ? [] : curve(points)));
  };
}

/** What went and what came, from one list of labels to the other. */
export function difference(before, after) {
  const [had, has] = [new Set(before), new Set(after)];
  return { lost: before.filter((label) => !has.has(label)), won: after.filter((label) => !had.has(label)) };
}

/** The version in force and those that it was learned from, as far as they are at hand and were judged; oldest first. */
function lineage(items, inForce) {
  const byNumber = new Map(items.map((one) => [one.version, one]));
  const found = [];
  for (let one = byNumber.get(inForce); one !== undefined; one = byNumber.get(one.parent))
    if (one.accuracy !== null) found.unshift(one);
  return found;
}

function judged({ verdict, images, accuracy, reference, against }) {
  const parts = [verdict.replace("_", " "), count(images, "image")];
  if (accuracy !== null && accuracy !== undefined) parts.push(percent(accuracy));
  if (reference !== null && reference !== undefined)
    parts.push(`held against ${percent(reference)}${against ? ` of version ${against}` : ""}`);
  return parts.join(", ");
}

/** Fetched, not linked to: a link could not show the key. */
async function exported(number, format) {
  const data = await call("GET", `versions/${number}/export`, { query: { format }, as: "blob" });
  const place = URL.createObjectURL(data);
  make("a", { href: place, download: `everclass-version-${number}-${format}.zip` }).click();
  setTimeout(() => URL.revokeObjectURL(place), 60_000);
}
