/** Elements made of data. Whatever came from a client is text here, never markup. */

/** An element. Names with `on` are listeners, others attributes; null, undefined and false are left out, as children too. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(2).filter((child) => child !== false && child !== null && child !== undefined));
  return element;
}

/** Write a text where it is another one: what is read aloud when it changes must not be written again and again. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Let `parent` hold one element for each item, in their order; what is before them (`keep`, a selector) stays.
 *
 * The element of an item that did not change stays too, so that nobody loses what he is about to press. In one that is made
 * anew the button that had the focus has it again, or the first one where that is gone.
 */
export function hold(parent, items, keyOf, elementOf, keep = ":not(*)") {
  const lasting = [...parent.children].filter((child) => child.matches(keep));
  const before = new Map(
    [...parent.children].filter((child) => !child.matches(keep)).map((child) => [child.dataset.key, child]),
  );
  let focused = null;
  const elements = items.map((item) => {
    const name = String(keyOf(item));
    const written = JSON.stringify(item);
    const old = before.get(name);
    if (old?.written === written) return old;
    const element = Object.assign(elementOf(item), { written });
    element.dataset.key = name;
    if (old?.contains(document.activeElement)) focused = [element, document.activeElement.dataset.act];
    return element;
  });
  const staying = new Set(elements);
  for (const old of before.values()) if (!staying.has(old)) old.remove();
  elements.forEach((element, place) => {
    const there = parent.children[lasting.length + place] ?? null;
    if (there !== element) parent.insertBefore(element, there);
  });
  if (focused === null) return;
  const [element, act] = focused;
  (element.querySelector(`[data-act="${act}"]`) ?? element.querySelector("button"))?.focus();
}

const underWay = new Set();
const refusals = new Map();

/**
 * A button of a row. While its work is under way it rests, and so does one that is made anew for the same `act` of the same
 * `row`; what was refused is said in the row's `saying`, wherever that is by then.
 */
export function button(row, act, text, work, attributes = {}) {
  const name = `${row} ${act}`;
  const element = make("button", { type: "button", "data-act": act, "data-do": name, ...attributes }, text);
  if (underWay.has(name)) element.ariaDisabled = "true";
  element.addEventListener("click", async () => {
    if (underWay.has(name)) return;
    const rest = (rests) => {
      underWay[rests ? "add" : "delete"](name);
      for (const one of document.querySelectorAll(`[data-do="${CSS.escape(name)}"]`))
        one.ariaDisabled = rests ? "true" : null;
    };
    rest(true);
    say(row, "");
    try {
      await work();
    } catch (error) {
      say(row, error.message);
    } finally {
      rest(false);
    }
  });
  return element;
}

export function saying(row) {
  return make("p", { class: "answer", role: "alert", "data-said": row }, refusals.get(row) ?? "");
}

function say(row, text) {
  refusals[text ? "set" : "delete"](row, text);
  for (const one of document.querySelectorAll(`[data-said="${CSS.escape(row)}"]`)) put(one, text);
}

export const percent = (rate) => (rate === null || rate === undefined ? "–" : `${(100 * rate).toFixed(1)} %`);

export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

/** A word of somebody's choice, which may run from right to left and must not turn what stands around it. */
export const own = (text) => make("bdi", {}, text);

/** Some of such words, and how many more there are. */
export function several(words, most = 6) {
  const shown = words.slice(0, most).flatMap((word, place) => (place ? [", ", own(word)] : [own(word)]));
  return words.length > most ? [...shown, ` and ${words.length - most} more`] : shown;
}

/** A moment in the reader's own time; the exact one stands in its attribute. */
export function moment(time) {
  return make("time", { datetime: time, title: time }, new Date(time).toLocaleString());
}

export function badge(text, kind = "") {
  return make("span", { class: `badge ${kind}` }, text);
}

/** That files can still be read as they were chosen; an error that names the first one that cannot. */
export async function readable(files) {
  for (const file of files) {
    try {
      await file.slice(0, 1).arrayBuffer();
    } catch {
      throw new Error(`${file.name} cannot be read any more: choose it again`);
    }
  }
}
