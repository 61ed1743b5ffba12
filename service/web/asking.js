/** Ask what images show, of the version in force or another one. */

import { call, withNames } from "./api.js";
import { badge, hold, make, own, percent, put, readable } from "./dom.js";
import { SERVABLE } from "./versions.js";

const TOP = 5;

export function asking(section) {
  const form = section.querySelector("form");
  const { images, version } = form.elements;
  const answer = section.querySelector(".answer");
  const list = section.querySelector(".predictions");
  let asked = 0;

  /** Whoever is asked about last is who is looked at: what comes of earlier ones is dropped. */
  async function ask() {
    const mine = ++asked;
    const files = [...images.files];
    let [said, refused] = [null, ""];
    if (files.length) {
      try {
        said = await answered(files);
      } catch (error) {
        refused = error.message;
      }
    }
    if (mine !== asked) return;
    put(answer, refused);
    for (const image of list.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    list.replaceChildren(...(said?.predictions.map((one, place) => prediction(files[place], one, said)) ?? []));
  }

  async function answered(files) {
    await readable(files);
    const body = new FormData();
    for (const file of files) body.append("images", file, file.name);
    const names = files.map((file) => file.name);
    const query = { top_k: TOP, version: version.value || null };
    return call("POST", "predict", { query, form: body }).catch((error) => {
      throw withNames(error, names);
    });
  }

  images.addEventListener("change", ask);
  version.addEventListener("change", ask);
  form.addEventListener("submit", (event) => event.preventDefault());
  section.addEventListener("dragover", (event) => {
    event.preventDefault();
    section.classList.add("dropping");
  });
  section.addEventListener("dragleave", () => section.classList.remove("dropping"));
  section.addEventListener("drop", (event) => {
    event.preventDefault();
    section.classList.remove("dropping");
    given(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => {
    if (section.checkVisibility() && document.querySelector("dialog[open]") === null) given(event.clipboardData.files);
  });

  /** They stand in the field as well, so that another version can be asked about them. */
  function given(files) {
    if (!files.length) return;
    images.files = files;
    ask();
  }

  return ({ versions }) => {
    const chosen = version.value;
    const offered = [{ number: "", text: "the version in force" }];
    for (const one of versions) {
      if (SERVABLE.has(one.state))
        offered.push({ number: String(one.version), text: `version ${one.version} (${one.kind})` });
    }
    hold(
      version,
      offered,
      (one) => one.number,
      (one) => make("option", { value: one.number }, one.text),
    );
    if (offered.some((one) => one.number === chosen)) version.value = chosen;
  };
}

function prediction(file, { label, score, known, top }, { version, kind }) {
  return make(
    "li",
    {},
    make("img", { src: URL.createObjectURL(file), alt: file.name }),
    make("p", { class: "first" }, own(label), " ", !known && badge("unlike any class", "warm")),
    make(
      "p",
      { class: "dim" },
      `${percent(score)}, says version ${version}${kind === "provisional" ? " (provisional)" : ""}`,
    ),
    ...top.map((one) =>
      make(
        "div",
        { class: "bar" },
        make("span", {}, own(one.label)),
        make("span", {}, percent(one.score)),
        make("meter", { value: one.score, "aria-label": `score of ${one.label}` }),
      ),
    ),
  );
}
