/** Send labelled images: of classes named here, of a folder with a folder for each class, or as one file. */

import { call, withNames } from "./api.js";
import { count, make, several, trying } from "./dom.js";

export function teaching(section, { changed }) {
  const form = section.querySelector("form");
  const rows = section.querySelector(".rows");
  const answer = section.querySelector(".answer");
  const news = section.querySelector(".news");
  const way = () => form.elements.way.value;

  function another() {
    const row = make(
      "div",
      {},
      make("label", {}, "Class ", make("input", { name: "label", maxlength: 200, autocomplete: "off" })),
      make(
        "label",
        {},
        "Images ",
        make("input", { name: "images", type: "file", accept: "image/jpeg,image/png,image/webp", multiple: true }),
      ),
      make("button", { type: "button", "aria-label": "Take this class out", onclick: () => row.remove() }, "✕"),
    );
    rows.append(row);
    return row;
  }

  function show() {
    for (const part of section.querySelectorAll("[data-way]")) part.hidden = part.dataset.way !== way();
  }

  function start() {
    form.reset();
    rows.replaceChildren();
    another();
    show();
  }

  const bodies = {
    classes: () => {
      const labelled = [];
      for (const row of rows.children) {
        const [label, images] = row.querySelectorAll("input");
        if (!label.value.trim() && !images.files.length) continue;
        if (!label.value.trim()) throw new Error("one of the classes has no name");
        if (!images.files.length) throw new Error(`${label.value.trim()} has no images`);
        for (const file of images.files) labelled.push([file, label.value.trim()]);
      }
      if (!labelled.length) throw new Error("name a class and choose its images");
      return withLabels(labelled);
    },
    folder: () => {
      const labelled = [];
      for (const file of form.elements.folder.files) {
        const path = file.webkitRelativePath.split("/");
        if (path.some((part) => part.startsWith("."))) continue;
        if (path.length < 3) throw new Error(`${file.webkitRelativePath} lies in no folder that could name its class`);
        labelled.push([file, path.at(-2), path.slice(0, -1).join("/")]);
      }
      if (!labelled.length) throw new Error("choose a folder");
      refuseTwins(labelled);
      return withLabels(labelled);
    },
    file: () => {
      const [file] = form.elements.file.files;
      if (!file) throw new Error("choose a file");
      const body = new FormData();
      body.append(/\.parquet$/i.test(file.name) ? "parquet" : "archive", file, file.name);
      return { body, told: file.name, names: [] };
    },
  };

  form.addEventListener("change", show);
  section.querySelector("[data-act=more]").addEventListener("click", () => another().querySelector("input").focus());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    news.textContent = "";
    await trying(answer, event.submitter, async () => {
      const { body, told, names } = bodies[way()]();
      if (form.elements.name.value.trim()) body.append("name", form.elements.name.value.trim());
      news.textContent = `sending ${told} …`;
      try {
        const task = await call("POST", "learn", {
          query: { promote: form.elements.hold.checked ? "manual" : null },
          form: body,
        });
        news.textContent = `task ${task.id} has ${count(task.images, "image")} of ${several(Object.keys(task.labels))}, safe on disk`;
        start();
        changed();
      } catch (error) {
        news.textContent = "";
        throw withNames(error, names);
      }
    });
  });
  start();
}

function withLabels(labelled) {
  const body = new FormData();
  for (const [file, label] of labelled) {
    body.append("images", file, file.name);
    body.append("labels", label);
  }
  return {
    body,
    told: count(labelled.length, "image"),
    names: labelled.map(([file]) => file.webkitRelativePath || file.name),
  };
}

/** Two folders of one name would become one class: the server and `everclass learn` refuse that too. */
function refuseTwins(labelled) {
  const places = new Map();
  for (const [, label, folder] of labelled) {
    const other = places.get(label) ?? folder;
    if (other !== folder) throw new Error(`both ${other} and ${folder} would be the class ${label}`);
    places.set(label, folder);
  }
}
