/** Accuracy over all classes along the lineage of the version in force. */

import { make, percent } from "./dom.js";

const [WIDTH, HEIGHT, LEFT, BELOW, ABOVE] = [1000, 140, 40, 20, 12];

/** One element with the curve and its caption, for versions from the oldest on. */
export function curve(versions) {
  const right = (place) => LEFT + 20 + ((WIDTH - LEFT - 40) * place) / (versions.length - 1);
  const up = (rate) => HEIGHT - BELOW - (HEIGHT - BELOW - ABOVE) * rate;
  const points = versions.map((one, place) => [right(place), up(one.accuracy)]);
  const every = Math.ceil(versions.length / 12);
  const told = versions.map((one) => `version ${one.version} ${percent(one.accuracy)}`).join(", ");
  const from = versions[0].parent === null ? "the first version of this lineage" : `version ${versions[0].version}`;
  return make(
    "div",
    {},
    draw(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `Accuracy: ${told}` },
      ...[0, 0.5, 1].flatMap((rate) => [
        draw("line", { x1: LEFT, x2: WIDTH, y1: up(rate), y2: up(rate) }),
        draw("text", { x: 0, y: up(rate) + 4 }, `${100 * rate} %`),
      ]),
      draw("polyline", { points: points.map((point) => point.join(",")).join(" ") }),
      ...points.flatMap(([x, y], place) => [
        draw(
          "circle",
          { cx: x, cy: y, r: 4 },
          draw("title", {}, `version ${versions[place].version}: ${percent(versions[place].accuracy)}`),
        ),
        ...(place % every === 0
          ? [draw("text", { x, y: HEIGHT - 4, "text-anchor": "middle" }, String(versions[place].version))]
          : []),
      ]),
    ),
    make("figcaption", {}, `Accuracy over all classes, from ${from} to the one in force`),
  );
}

function draw(tag, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}
