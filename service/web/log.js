/** The log of alias moves: what served when, by whose wish and why. */

import { hold, make, moment, own, put, several } from "./dom.js";

export function log(section) {
  const list = section.querySelector("ol");

  function line({ alias, version, previous, at, by, reason, lost, won }) {
    const what =
      version === null
        ? `${alias} removed`
        : `${alias}: version ${version}${previous === null ? "" : `, before it ${previous}`}`;
    return make(
      "li",
      {},
      make(
        "div",
        { class: "grow" },
        make("strong", {}, what),
        make("div", { class: "dim" }, moment(at), " by ", own(by)),
        reason && make("div", { dir: "auto" }, reason),
        lost.length > 0 && make("div", { class: "dim" }, "lost: ", several(lost)),
        won.length > 0 && make("div", { class: "dim" }, "won: ", several(won)),
      ),
    );
  }

  return ({ log: items, can }) => {
    const none = items.length ? "" : "Nothing has served yet.";
    put(section.querySelector(".none"), can.admin ? none : "A key with the scope admin sees the log.");
    hold(list, items, (one) => one.seq, line);
  };
}
