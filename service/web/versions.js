/** Versions, newest first: how good they are, what the gate said, and which one serves. */

import { call } from "./api.js";
import { curve } from "./curve.js";
import { badge, button, count, hold, make, moment, own, percent, put, saying, several } from "./dom.js";
import { ask, reason } from "./question.js";

const STATES = { ready: "good", held: "warm", damaged: "bad", deleted: "" };
/** The states of versions that may be asked and promoted. */
export const SERVABLE = new Set(["ready", "held"]);
const GATE = { passed: "good", refused: "bad", not_judged: "" };

export function versions(section, { changed }) {
  const table = section.querySelector("table");
  const figure = section.querySelector("figure");
  const opened = new Set();

  function rows(line, open) {
    const { version, aliases, inForce, can } = line;
    const row = `version ${version.version}`;
    const serves = version.version === inForce;
    const toggle = make(
      "button",
      { type: "button", "data-act": "more", "aria-expanded": String(open), "aria-label": `More of ${row}` },
      "More",
    );
    const more = make("tr", { hidden: !open }, make("td", { colspan: 9, class: "more" }, details(line)));
    toggle.addEventListener("click", () => {
      more.hidden = !more.hidden;
      toggle.ariaExpanded = String(!more.hidden);
      opened[more.hidden ? "delete" : "add"](version.version);
    });
    const names = aliases.flatMap((name) => [" ", badge(name, name === "serving" ? "good" : "")]);
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
        make("td", {}, badge(version.state, STATES[version.state]), names),
        make("td", {}, String(version.classes.length)),
        make("td", {}, percent(version.accuracy)),
        make("td", {}, percent(version.forgetting)),
        make("td", {}, version.gate ? badge(version.gate.verdict.replace("_", " "), GATE[version.gate.verdict]) : "–"),
        make("td", {}, moment(version.created_at)),
        make(
          "td",
          { class: "acts" },
          can.admin &&
            SERVABLE.has(version.state) &&
            !serves &&
            button(row, "serve", "Serve", () => serve(version, inForce), { "aria-label": `Serve ${row}` }),
          " ",
          toggle,
          saying(row),
        ),
      ),
      more,
    );
  }

  async function serve(version, inForce) {
    const now = inForce === null ? { classes: [] } : await call("GET", `versions/${inForce}`);
    const [before, after] = [now, version].map((one) => one.classes.map(({ label }) => label));
    const { lost, won } = difference(before, after);
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
        lost.length > 0 && make("p", {}, "No longer known: ", several(lost, 20), "."),
        won.length > 0 && make("p", {}, "Known again: ", several(won, 20), "."),
        version.reason && make("p", { dir: "auto" }, `The version says: ${version.reason}`),
      ],
      fields: [reason()],
      confirm: `Serve version ${version.version}`,
      work: (filled) =>
        call("PUT", "aliases/serving", {
          json: {
            version: version.version,
            reason: filled.get("reason") || null,
            ...(inForce === null ? {} : { expected: { version: inForce } }),
          },
        }),
    });
    // Also where it was left: somebody else may have been faster, and that may be why.
    changed();
  }

  function details({ version, aliases, can }) {
    const row = `version ${version.version}`;
    const labels = version.classes.map((one) => one.label);
    const facts = [
      ["Classes", labels.length ? several(labels, 40) : "none"],
      ["Task", version.task ?? "none"],
      ["Calibration error", percent(version.calibration_error)],
      ["Runtime", version.runtime ?? "–"],
      ["Size", `${(version.size_bytes / 1e6).toFixed(1)} MB`],
      ["Digest", version.digest],
    ];
    if (version.reason) facts.unshift(["Reason", own(version.reason)]);
    if (version.note) facts.push(["Note", own(version.note)]);
    for (const one of version.accuracy_per_task)
      facts.push([
        `Accuracy on task ${one.task}`,
        `${percent(one.accuracy)} of ${count(one.images, "held-out image")}`,
      ]);
    for (const check of version.gate?.checks ?? [])
      facts.push([`Gate, ${check.name.replace("_", " ")}`, judged(check)]);
    return [
      make("dl", {}, ...facts.flatMap(([name, text]) => [make("dt", { class: "dim" }, name), make("dd", {}, text)])),
      can.admin && make("p", {}, acts(row, version, aliases)),
    ];
  }

  function acts(row, { version: number, state }, aliases) {
    const found = [];
    if (SERVABLE.has(state)) {
      for (const format of ["onnx", "safetensors"])
        found.push(button(row, `export-${format}`, `Export as ${format}`, () => exported(number, format)));
      found.push(button(row, "alias", "Give it an alias", () => named(number)));
    }
    for (const name of aliases.filter((one) => one !== "serving"))
      found.push(button(row, `alias-${name}`, `Remove the alias ${name}`, () => unnamed(name, number)));
    if (state !== "deleted" && !aliases.length) found.push(button(row, "delete", "Delete", () => remove(number)));
    return found.flatMap((one) => [one, " "]);
  }

  async function remove(number) {
    const done = await ask({
      title: `Delete version ${number}?`,
      body: [make("p", {}, "Its files go and do not come back; its line stays.")],
      confirm: `Delete version ${number}`,
      work: () => call("DELETE", `versions/${number}`),
    });
    if (done) changed();
  }

  async function named(number) {
    const done = await ask({
      title: `An alias for version ${number}`,
      body: [
        make(
          "p",
          {},
          "Clients may ask for it by this name; while it points here, the version is kept. An alias that is elsewhere moves here.",
        ),
      ],
      fields: [make("label", {}, "Alias ", make("input", { name: "alias", maxlength: 64, required: true })), reason()],
      confirm: "Point it here",
      work: (filled) => {
        const name = filled.get("alias").trim();
        if (name === "serving") throw new Error("that is what Serve does");
        const json = { version: number, reason: filled.get("reason") || null };
        return call("PUT", `aliases/${encodeURIComponent(name)}`, { json });
      },
    });
    if (done) changed();
  }

  async function unnamed(name, number) {
    await call("DELETE", `aliases/${encodeURIComponent(name)}`, { query: { expected: number } });
    changed();
  }

  return ({ versions: items, aliases, inForce, can }) => {
    const none = "No version was made yet. Teach something: a first one serves within seconds.";
    put(section.querySelector(".none"), items.length ? "" : none);
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
    hold(figure, figure.hidden ? [] : [points], () => "curve", curve);
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
    if (one.accuracy !== null) found.unshift({ version: one.version, parent: one.parent, accuracy: one.accuracy });
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
