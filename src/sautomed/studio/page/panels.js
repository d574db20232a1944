// Everything around the planes: buttons, organs, facts and settings.

import { byId, keyButton, label, make, oncePerFrame } from "./dom.js";

const PERCENT = (x) => (x === null || x === undefined ? "not known" : `${Math.round(100 * x)} %`);

export class Panels {
  constructor(studio) {
    this.studio = studio;
    this.request = oncePerFrame(() => { if (this.studio.scan) this.draw(); });
    const act = (work) => () => { if (studio.scan) { work(); byId("plane-0").focus({ preventScroll: true }); } };
    const button = (text, key, work, title) => keyButton(text, key, act(work), { title });
    this.tools = {
      box: button("Box", "b", () => studio.use("box"), "Draw a box around the organ"),
      brush: button("Brush", "p", () => studio.use("brush"), "Add pixels to the organ"),
      eraser: button("Eraser", "e", () => studio.use("eraser"), "Take pixels from the organ"),
    };
    this.fill = button("Fill", "i", () => studio.editor.fill(), "Fill the organ on the slices between those on which it is painted");
    this.absent = button("Not here", "x", () => studio.editor.absent(), "The organ is not on this slice");
    this.forget = button("Forget", "f", () => studio.editor.forget(), "Take back what was given for the organ on this slice");
    this.lock = button("Lock", "l", () => studio.editor.toggleLock(), "Keep the slice as it is");
    this.undo = button("Undo", "u", () => studio.editor.undo());
    this.redo = button("Redo", "r", () => studio.editor.redo());
    this.before = button("Automatic", "Space", () => studio.set({ before: !studio.before }), "Show the automatic result");
    this.save = button("Save", "s", () => studio.save());
    byId("tools").append(...Object.values(this.tools), this.fill);
    byId("slice-actions").append(this.absent, this.forget, this.lock);
    byId("history").append(this.undo, this.redo, this.before);
    byId("results").append(this.save, keyButton("Keys", "?", () => studio.help()));
    this.directions = choice("directions", [["both", "Both ways"], ["up", "Up"], ["down", "Down"]], (direction) => studio.set({ direction }));
    this.styles = choice("style", [[false, "Filled"], [true, "Outlined"]], (outlined) => studio.set({ outlined }));
    label(byId("walk"), "Walk again", "w");
    label(byId("cancel"), "Cancel", "Esc");
    label(byId("next-unsure"), "Next least sure", "n");
    this.#listen(act);
  }

  #listen(act) {
    const { studio } = this;
    byId("walk").addEventListener("click", act(() => studio.editor.walk()));
    byId("cancel").addEventListener("click", act(() => studio.editor.cancelWalk()));
    byId("next-unsure").addEventListener("click", act(() => studio.nextUnsure()));
    byId("slice").addEventListener("input", (event) => studio.goTo(Number(event.target.value) - 1));
    byId("opacity").addEventListener("input", (event) => studio.set({ opacity: event.target.value / 100 }));
    byId("brush-size").addEventListener("input", (event) => studio.set({ brush: Number(event.target.value) }));
    for (const id of ["window-width", "window-level"]) byId(id).addEventListener("change", () => this.#takeWindow());
  }

  #takeWindow() {
    const [width, level] = [Number(byId("window-width").value), Number(byId("window-level").value)];
    if (width > 0) this.studio.set({ window: [level - width / 2, level + width / 2] });
  }

  /** Cover the planes with a message. */
  cover(text, progress) {
    byId("cover").hidden = false;
    byId("cover-text").textContent = text;
    for (const id of ["cover-progress", "cover-cancel"]) byId(id).hidden = !progress;
    if (progress) Object.assign(byId("cover-progress"), { max: progress.total, value: progress.done });
  }

  uncover() {
    byId("cover").hidden = true;
  }

  take(scan) {
    Object.assign(byId("slice"), { max: scan.depth });
    Object.assign(byId("until"), { max: scan.depth, value: "" });
    this.rows = new Map(scan.organs.map((organ, place) => [organ.value, this.#row(organ, place)]));
    byId("organs").tBodies[0].replaceChildren(...[...this.rows.values()].map((row) => row.element));
    this.names = new Map(scan.organs.map((organ) => [organ.value, make("span", { title: organ.name }, organ.name)]));
    byId("strip-names").replaceChildren(...this.names.values());
  }

  #row(organ, place) {
    const { studio } = this;
    const swatch = make("button", { type: "button", className: "swatch", title: "Show or hide", "aria-label": `Show ${organ.name}` });
    swatch.style.backgroundColor = organ.colour;
    swatch.style.borderColor = organ.colour;
    swatch.addEventListener("click", (event) => { event.stopPropagation(); studio.toggleShown(organ.value); });
    const name = make("button", { type: "button", className: "name" }, ...(place < 9 ? [make("kbd", {}, String(place + 1))] : []), organ.name);
    const [ml, change] = [make("td", { className: "number" }), make("td", { className: "number" })];
    const element = make("tr", {}, make("td", {}, swatch), make("td", {}, name), ml, change);
    element.addEventListener("click", () => studio.choose(organ.value));
    return { element, swatch, ml, change };
  }

  /** Return the slice that a walk is to end at, or null. */
  until(scan) {
    const number = Number(byId("until").value);
    return Number.isInteger(number) && number >= 1 && number <= scan.depth ? number - 1 : null;
  }

  draw() {
    const { studio } = this;
    const { scan, t } = studio;
    this.#drawOrgans(scan);
    this.#drawFacts(scan, t);
    for (const [name, button] of Object.entries(this.tools)) button.setAttribute("aria-pressed", studio.tool === name);
    const locked = scan.locked.has(t);
    label(this.lock, locked ? "Release" : "Lock", "l");
    for (const button of [...Object.values(this.tools), this.absent, this.forget]) button.disabled = locked;
    this.fill.disabled = scan.gap(t, studio.organ) === null;
    this.undo.disabled = !scan.canUndo;
    this.redo.disabled = !scan.canRedo;
    this.before.setAttribute("aria-pressed", studio.before);
    this.directions(studio.direction);
    this.styles(studio.outlined);
    byId("slice").value = t + 1;
    byId("slice-number").textContent = `${t + 1} of ${scan.depth}`;
    byId("plane-0").setAttribute("aria-label", `Slice ${t + 1} of ${scan.depth}, ${scan.nameOf(studio.organ)}. Press question mark for all keys.`);
    byId("walk").disabled = studio.editor.walking !== null;
    byId("cancel").disabled = studio.editor.walking === null;
    byId("progress").hidden = studio.editor.walking === null;
    if (studio.editor.walking) Object.assign(byId("progress"), { max: studio.editor.walking.total, value: studio.editor.walking.done });
    byId("opacity").value = Math.round(studio.opacity * 100);
    byId("brush-size").value = studio.brush;
    const [low, high] = studio.window;
    if (!document.activeElement?.id.startsWith("window-")) {
      byId("window-width").value = Number((high - low).toPrecision(4));
      byId("window-level").value = Number(((high + low) / 2).toPrecision(4));
    }
  }

  #drawOrgans(scan) {
    const { studio } = this;
    for (const [value, row] of this.rows) {
      const { ml, change } = scan.volume(value);
      row.ml.textContent = ml.toFixed(1);
      row.change.textContent = Math.abs(change) < 0.05 ? "" : `${change > 0 ? "+" : "−"}${Math.abs(change).toFixed(1)}`;
      row.element.setAttribute("aria-selected", value === studio.organ);
      row.swatch.setAttribute("aria-pressed", !studio.hidden.has(value));
      this.names.get(value).className = value === studio.organ ? "chosen" : "";
    }
    this.names.get(studio.organ)?.scrollIntoView({ block: "nearest" }); // of many organs, the strip shows some
  }

  #drawFacts(scan, t) {
    const { studio } = this;
    const { prompt } = studio;
    byId("here-title").textContent = `${scan.nameOf(studio.organ)}, slice ${t + 1}`;
    const facts = [
      ["Prompt", prompt?.source === "given" ? "given" : "automatic"],
      ["Box", studio.box ? studio.box.map((x) => Math.round(x)).join(", ") : "none"],
      ["Presence", PERCENT(prompt?.presence)],
    ];
    if (prompt?.confidence !== null && prompt?.confidence !== undefined) facts.push(["Confidence", PERCENT(prompt.confidence)]);
    byId("here").replaceChildren(...facts.flatMap(([name, fact]) => [make("dt", {}, name), make("dd", {}, fact)]));
  }
}

/** Make buttons of which one is chosen; returns a function that shows which. */
function choice(id, options, onChoose) {
  const buttons = options.map(([value, text]) => {
    const button = make("button", { type: "button", role: "radio" }, text);
    button.addEventListener("click", () => onChoose(value));
    return [value, button];
  });
  byId(id).append(...buttons.map(([, button]) => button));
  return (chosen) => buttons.forEach(([value, button]) => button.setAttribute("aria-checked", value === chosen));
}
