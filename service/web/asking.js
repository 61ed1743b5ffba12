/** Ask what images show, of the version in force or another one. */

import { call, withNames } from "./api.js";
import { badge, hold, make, percent, trying } from "./dom.js";

const TOP = 5;

export function asking(section) {
  const form = section.querySelector("form");
  const { images, version } = form.elements;
  const answer = section.querySelector(".answer");
  const list = section.querySelector(".predictions");
  let asked = 0;

  async function ask(files) {
    if (!files.length) return;
    const mine = ++asked;
    const body = new FormData();
    for (const file of files) body.append("images", file, file.name);
    const query = { top_k: TOP, version: version.value || null };
    const names = files.map((file) => file.name);
    const said = await trying(answer, null, () =>
      call("POST", "predict", { query, form: body }).catch((error) => {
        throw withNames(error, names);
      }),
    );
    // Whoever was asked later is who is looked at.
    if (mine !== asked) return;
    for (const image of list.querySelectorAll("img")) URL.revokeObjectURL(image.src);
    list.replaceChildren(
      ...(said === undefined ? [] : said.predictions.map((one, place) => prediction(files[place], one, said))),
    );
  }

  images.addEventListener("change", () => ask([...images.files]));
  version.addEventListener("change", () => ask([...images.files]));
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
    if (event.clipboardData.files.length) given(event.clipboardData.files);
  });

  /** They stand in the field as well, so that another version can be asked about them. */
  function given(files) {
    images.files = files;
    ask([...files]);
  }

  return ({ versions }) => {
    const chosen = version.value;
    const offered = [{ number: "", text: "the version in force" }];
    for (const one of versions) {
      if (one.state === "ready" || one.state === "held")
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
    make("p", { class: "first" }, label, " ", !known && badge("unlike any class", "warm")),
    make(
      "p",
      { class: "dim" },
      `${percent(score)}, says version ${version}${kind === "provisional" ? " (provisional)" : ""}`,
    ),
    ...top.map((one) =>
      make(
        "div",
        { class: "bar" },
        make("span", {}, one.label),
        make("span", {}, percent(one.score)),
        make("meter", { value: one.score, "aria-label": `score of ${one.label}` }),
      ),
    ),
  );
}
