// The scans of the folder, those that most need a look first: the list, the choice at the top, and what was flagged.

import { byId, make } from "./dom.js";

export class ScanList {
  constructor(studio) {
    this.studio = studio;
    this.scans = [];
    this.name = null; // of the scan that was chosen last
    byId("scans").addEventListener("change", (event) => {
      if (event.target.value) studio.open(event.target.value);
      else this.show();
    });
    byId("done").addEventListener("change", (event) => studio.mark(this.name, event.target.checked));
    byId("list").addEventListener("close", () => this.choose(this.name));
  }

  /** Take what the server lists. */
  take({ scans, open, output, model }) {
    this.scans = scans;
    byId("scans").replaceChildren(make("option", { value: "" }, "All scans ..."), ...scans.map((scan) => make("option", {
      value: scan.case, disabled: scan.refusal !== null, title: scan.refusal ?? "",
    }, `${mark(scan)}${scan.case}${scan.refusal ? ` (${scan.refusal})` : ""}`)));
    this.choose(this.name ?? open);
    byId("save-place").textContent = `Into ${output}`;
    document.title = `sautomed studio: ${model}`;
  }

  /** Show which scan was chosen, whether it is done, and what was flagged in it. */
  choose(name) {
    this.name = name;
    const scan = this.scans.find((found) => found.case === name);
    byId("scans").value = scan?.case ?? "";
    byId("done").checked = scan?.done ?? false;
    byId("done").disabled = !scan;
    byId("review").hidden = !scan?.review.length;
    byId("review-texts").replaceChildren(...(scan?.review ?? []).map((text) => make("li", {}, text)));
  }

  show() {
    const known = this.scans.some((scan) => scan.least_sure !== null);
    byId("list-note").hidden = !known;
    byId("list-rows").replaceChildren(...this.scans.map((scan) => this.#row(scan)));
    byId("list").showModal();
    byId("list-rows").querySelector("tr:not(.done) button:enabled")?.focus();
  }

  hide() {
    byId("list").close();
  }

  #row(scan) {
    const { studio } = this;
    const name = make("button", { type: "button", className: "name", disabled: scan.refusal !== null }, scan.case);
    name.addEventListener("click", () => studio.open(scan.case));
    const done = make("input", { type: "checkbox", checked: scan.done, "aria-label": `${scan.case} is done` });
    const texts = scan.refusal === null ? scan.review : [scan.refusal];
    const row = make("tr", { className: scan.done ? "done" : "" }, make("td", {}, done), make("td", {}, name),
      make("td", { className: "number" }, scan.least_sure === null ? "" : scan.least_sure.toFixed(2)),
      make("td", {}, make("ul", {}, ...texts.map((text) => make("li", {}, text)))));
    done.addEventListener("change", () => {
      row.classList.toggle("done", done.checked);
      studio.mark(scan.case, done.checked);
    });
    return row;
  }
}

function mark(scan) {
  if (scan.done) return "✓ ";
  return scan.review.length ? "⚑ " : "";
}
