/** Elements made of data. Whatever came from a client is text here, never markup. */

/** An element. Names with `on` are listeners, others attributes; null, undefined and false are left out, as children too. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== false && child !== null && child !== undefined));
  return element;
}

/**
 * Let `parent` hold one element for each item, in their order; what is before them (`keep`, a selector) stays.
 *
 * The element of an item that did not change stays too, so that nobody loses what he is about to press. In one that is made
 * anew the button that had the focus has it again.
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
  for (const old of before.values()) if (!elements.includes(old)) old.remove();
  elements.forEach((element, place) => {
    const there = parent.children[lasting.length + place] ?? null;
    if (there !== element) parent.insertBefore(element, there);
  });
  if (focused !== null) focused[0].querySelector(`[data-act="${focused[1]}"]`)?.focus();
}

export const percent = (rate) => (rate === null || rate === undefined ? "–" : `${(100 * rate).toFixed(1)} %`);

export const count = (number, one, many = `${one}s`) => `${number} ${number === 1 ? one : many}`;

/** Some of the words, and how many more there are. */
export function several(words, most = 6) {
  const shown = words.slice(0, most).join(", ");
  return words.length > most ? `${shown} and ${words.length - most} more` : shown;
}

/** A moment in the reader's own time; the exact one stands in its attribute. */
export function moment(time) {
  return make("time", { datetime: time, title: time }, new Date(time).toLocaleString());
}

export function badge(text, kind = "") {
  return make("span", { class: `badge ${kind}` }, text);
}

/** Do something that may be refused; while it is under way the button rests, and what was refused is said in `place`. */
export async function trying(place, button, work) {
  place.textContent = "";
  if (button) button.disabled = true;
  try {
    return await work();
  } catch (error) {
    place.textContent = error.message;
    return undefined;
  } finally {
    if (button) button.disabled = false;
  }
}
