/** Send labelled images: of classes named here, of a folder with a folder for each class, or as one file. */

import { call, unlikeAnyOther, Unreachable, withNames } from "./api.js";
import { count, make, put, readable, several } from "./dom.js";

export function teaching(section, { changed }) {
  const form = section.querySelector("form");
  const all = form.querySelector("fieldset");
  const rows = section.querySelector(".rows");
  const answer = section.querySelector(".answer");
  const news = section.querySelector(".news");
  let unanswered = { lesson: "", once: "" };
  const way = () => form.elements.way.value;

  function another() {
    const row = make(
      "div",
      {},
      make("label", {}, "Class ", make("input", { name: "label", maxlength: 200 })),
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

  const lessons = {
    classes: () => {
      const images = [];
      for (const row of rows.children) {
        const [label, field] = row.querySelectorAll("input");
        const name = label.value.trim();
        if (!name && !field.files.length) continue;
        if (!name) throw new Error("one of the classes has no name");
        if (!field.files.length) throw new Error(`${name} has no images`);
        for (const file of field.files) images.push({ file, label: name });
      }
      if (!images.length) throw new Error("name a class and choose its images");
      return { images };
    },
    folder: () => {
      const images = [...form.elements.folder.files].filter((file) => !leftBehind(file)).map(ofItsFolder);
      if (!images.length) throw new Error("choose a folder with images in it");
      refuseTwins(images);
      return { images };
    },
    file: () => {
      const [file] = form.elements.file.files;
      if (!file) throw new Error("choose a file");
      return { file, images: [] };
    },
  };

  /** The same Idempotency-Key for the same lesson, until an answer came: who presses again does not teach it twice. */
  function onceFor({ file, images }, told) {
    const files = [file, ...images.map((one) => one.file)].filter(Boolean);
    const seen = files.map((one) => [one.name, one.size, one.lastModified]);
    const lesson = JSON.stringify([told, images.map((one) => one.label), seen]);
    if (unanswered.lesson !== lesson) unanswered = { lesson, once: unlikeAnyOther() };
    return unanswered.once;
  }

  async function send() {
    const lesson = lessons[way()]();
    const told = { name: form.elements.name.value.trim(), promote: form.elements.hold.checked ? "manual" : null };
    const once = onceFor(lesson, told);
    put(news, `sending ${lesson.file?.name ?? count(lesson.images.length, "image")} …`);
    all.disabled = true;
    try {
      await readable(lesson.file ? [lesson.file] : lesson.images.map((one) => one.file));
      const task = await call("POST", "learn", {
        query: { promote: told.promote },
        form: bodyOf(lesson, told.name),
        once,
      });
      news.replaceChildren(
        `task ${task.id} has ${count(task.images, "image")} of `,
        ...several(Object.keys(task.labels)),
        ", safe on disk",
      );
      start();
      unanswered = { lesson: "", once: "" };
      changed();
    } catch (error) {
      put(news, "");
      if (!(error instanceof Unreachable)) unanswered = { lesson: "", once: "" };
      throw withNames(
        error,
        lesson.images.map(({ file }) => file.webkitRelativePath || file.name),
      );
    } finally {
      all.disabled = false;
    }
  }

  form.addEventListener("change", show);
  section.querySelector("[data-act=more]").addEventListener("click", () => another().querySelector("input").focus());
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    put(news, "");
    put(answer, "");
    try {
      await send();
    } catch (error) {
      put(answer, error.message);
    }
    // A form that rested has lost the focus.
    if (document.activeElement === document.body) event.submitter?.focus();
  });
  start();
}

function bodyOf({ file, images }, name) {
  const body = new FormData();
  if (file) body.append(/\.parquet$/i.test(file.name) ? "parquet" : "archive", file, file.name);
  for (const one of images) {
    body.append("images", one.file, one.file.name);
    body.append("labels", one.label);
  }
  if (name) body.append("name", name);
  return body;
}

/** What systems leave in folders, as `everclass learn` passes it over; the folder that was chosen may be a hidden one. */
function leftBehind(file) {
  const parts = file.webkitRelativePath.split("/").slice(1);
  return parts.some((part) => part.startsWith(".") || part === "__MACOSX" || part === "Thumbs.db");
}

function ofItsFolder(file) {
  const path = file.webkitRelativePath.split("/");
  if (path.length < 3) throw new Error(`${file.webkitRelativePath} lies in no folder that could name its class`);
  return { file, label: path.at(-2).normalize("NFC").trim(), folder: path.slice(0, -1).join("/") };
}

/** Two folders of one name would become one class: the server and `everclass learn` refuse that too. */
function refuseTwins(images) {
  const places = new Map();
  for (const { label, folder } of images) {
    const other = places.get(label) ?? folder;
    if (other !== folder) throw new Error(`both ${other} and ${folder} would be the class ${label}`);
    places.set(label, folder);
  }
}
