// The page: opens a scan, shows it, and turns what a person does into edits.

import * as api from "./api.js";
import { Fault } from "./api.js";
import { clamp, nudged } from "./box_tool.js";
import { Stroke } from "./brush.js";
import { askReplace, askSave, showHelp } from "./dialogs.js";
import { byId, say } from "./dom.js";
import { Drawing } from "./drawing.js";
import { listen } from "./keys.js";
import { Panels } from "./panels.js";
import { Pointer } from "./pointer.js";
import { Scan, encode } from "./scan.js";

const PER_SCAN = ["position", "organ", "window"];
const PER_PAGE = ["opacity", "outlined", "brush", "direction"];

/** What is shown and how; everything else reads it. */
class Studio {
  scan = null;
  position = [0, 0, 0];
  organ = 0;
  window = [0, 1];
  hidden = new Set();
  opacity = 0.45;
  outlined = false;
  brush = 9;
  direction = "both";
  tool = "select";
  before = false;
  walking = null;
  pendingBox = null; // being drawn or moved
  cursor = null; // of the brush, in pixels of the slice
  visited = new Set();
  #queue = Promise.resolve();

  constructor() {
    this.drawing = new Drawing(this);
    this.panels = new Panels(this);
    this.pointer = new Pointer(this);
    listen(this);
    this.#recall("page", PER_PAGE);
    window.addEventListener("pagehide", () => this.remember());
  }

  // --- scans ---

  async start() {
    await this.guarded(async () => {
      const listed = await api.scans();
      this.panels.showScans(listed);
      const first = listed.scans.find((scan) => !scan.refusal);
      const name = listed.open ?? (listed.scans.length === 1 ? first?.case : null);
      if (name) await this.open(name);
    });
  }

  async open(name) {
    this.remember();
    this.scan?.close();
    this.scan = null;
    this.panels.cover(`Reading ${name} ...`);
    try {
      await api.open(name, (event) => {
        if (event.kind === "progress") this.panels.cover(`Segmenting ${name}: slice ${event.done} of ${event.total}`, event);
        if (event.kind === "cancelled") this.panels.cover("Cancelled. Choose a scan.");
        if (event.kind === "opened") this.#show(event);
      });
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.panels.cover(error.message);
    }
  }

  #show(opened) {
    const scan = new Scan(opened);
    Object.assign(this, { scan, window: opened.window, hidden: new Set(), before: false, tool: "select", pendingBox: null });
    this.position = [scan.depth >> 1, scan.rows >> 1, scan.columns >> 1];
    this.organ = scan.organs[0].value;
    this.visited = new Set();
    this.#recall(scan.name, PER_SCAN);
    this.position = this.position.map((at, axis) => clamp(at, 0, scan.shape[axis] - 1));
    this.drawing.take(scan);
    this.panels.take(scan);
    this.panels.uncover();
    say(scan.warnings.join(" ") || `${scan.name}: ${scan.depth} slices. Press n for the least sure one, ? for all keys.`);
    this.refresh();
    scan.read(() => this.t, () => this.refresh()).catch((error) => {
      if (!scan.reading.signal.aborted) say(error.message, true);
    });
  }

  async mark(done) {
    if (!this.scan) return;
    await this.guarded(async () => this.panels.showScans(await api.mark(this.scan.name, done)));
  }

  // --- looking ---

  get t() {
    return this.position[0];
  }

  /** The prompt of the chosen organ on this slice. */
  get prompt() {
    return this.scan?.prompts[this.t][this.organ];
  }

  /** The box that a person may move: the prompt's, or that of the mask if nothing prompted it. */
  get box() {
    return this.pendingBox ?? this.prompt?.box ?? this.prompt?.mask_box ?? null;
  }

  refresh() {
    if (!this.scan) return;
    this.drawing.request();
    this.panels.request();
  }

  goTo(t) {
    if (!this.scan) return;
    this.position = [clamp(t, 0, this.scan.depth - 1), this.position[1], this.position[2]];
    this.pendingBox = null;
    this.refresh();
  }

  step(by) {
    this.goTo(this.t + by);
  }

  choose(value) {
    this.organ = value;
    this.pendingBox = null;
    this.refresh();
  }

  chooseBy(step) {
    const values = this.scan.organs.map((organ) => organ.value);
    this.choose(values[(values.indexOf(this.organ) + step + values.length) % values.length]);
  }

  chooseNumber(number) {
    const organ = this.scan.organs[number - 1];
    if (organ) this.choose(organ.value);
  }

  toggleShown(value) {
    if (!this.hidden.delete(value)) this.hidden.add(value);
    this.refresh();
  }

  set(changes) {
    Object.assign(this, changes);
    this.refresh();
  }

  use(tool) {
    this.tool = this.tool === tool ? "select" : tool;
    this.pendingBox = null;
    this.cursor = ["brush", "eraser"].includes(this.tool) ? this.cursor ?? [this.scan.columns / 2, this.scan.rows / 2] : null;
    this.refresh();
  }

  resize(by) {
    this.set({ brush: clamp(this.brush + by, 1, 60) });
  }

  /** Go to the organ and slice that is least sure of those not seen yet. */
  nextUnsure() {
    const all = this.scan.leastSure();
    const key = ({ t, value }) => `${t} ${value}`;
    if (all.every((place) => this.visited.has(key(place)))) this.visited.clear();
    const next = all.find((place) => !this.visited.has(key(place)));
    if (!next) { say("Nothing is left to look at: every slice is given or locked."); return; }
    this.visited.add(key(next));
    this.organ = next.value;
    this.goTo(next.t);
    if (this.box) {
      const [x0, y0, x1, y1] = this.box;
      this.position = [next.t, Math.floor((y0 + y1) / 2), Math.floor((x0 + x1) / 2)];
    }
    const { confidence, presence } = this.prompt;
    const known = confidence ?? presence;
    const facts = [
      ...(known === null ? [] : [`${confidence === null ? "presence" : "confidence"} ${Math.round(100 * known)} %`]),
      ...(this.scan.has(next.t, next.value) ? [] : ["nothing found here"]),
    ];
    say(`${this.name(next.value)} on slice ${next.t + 1}: ${facts.join(", ")}.`);
  }

  name(value) {
    return this.scan.organs.find((organ) => organ.value === value)?.name ?? `label ${value}`;
  }

  // --- editing ---

  giveBox(box) {
    this.pendingBox = box;
    this.tool = "select";
    return this.edit({ kind: "box", slice: this.t, organ: this.organ, box }, "box");
  }

  /** Keyboard: move or resize the box of the chosen organ; Enter gives it. */
  nudge(direction, grow) {
    const { scan } = this;
    const middle = [scan.columns / 4, scan.rows / 4, scan.columns * 3 / 4, scan.rows * 3 / 4].map(Math.round);
    this.set({ pendingBox: nudged((this.box ?? middle).map(Math.round), direction, grow, scan) });
    say(`Box ${this.pendingBox.join(", ")}. Enter gives it, Escape drops it.`);
  }

  absent() {
    return this.edit({ kind: "absent", slice: this.t, organ: this.organ }, "not here");
  }

  forget() {
    return this.edit({ kind: "forget", slice: this.t, organ: this.organ }, "automatic again");
  }

  toggleLock() {
    const locked = this.scan.locked.has(this.t);
    return this.edit({ kind: locked ? "release" : "lock", slice: this.t }, locked ? "released" : "locked");
  }

  /** Send what a stroke touched; its preview is in the labels already. */
  paint(stroke, erasing) {
    const change = { kind: erasing ? "erase" : "paint", slice: this.t, organ: this.organ, runs: encode(stroke.mask) };
    return this.edit(change, erasing ? "erased" : "painted");
  }

  /** Keyboard: touch the pixels under the brush. */
  dab() {
    const stroke = new Stroke(this.scan);
    stroke.to(this.cursor, this.brush / 2);
    return this.paint(stroke, this.tool === "eraser");
  }

  edit(change, what) {
    const about = change.organ === undefined ? `Slice ${change.slice + 1}` : `${this.name(change.organ)} on slice ${change.slice + 1}`;
    return this.#change(() => api.edit(this.scan.revision, change), `${about}: ${what}.`);
  }

  undo() {
    return this.scan.canUndo ? this.#change(() => api.undo(this.scan.revision), "Undone.") : say("There is nothing to undo.");
  }

  redo() {
    return this.scan.canRedo ? this.#change(() => api.redo(this.scan.revision), "Redone.") : say("There is nothing to redo.");
  }

  /** One change after the other; a walk is cancelled first. */
  #change(ask, done) {
    const scan = this.scan;
    this.cancelWalk();
    this.#queue = this.#queue.then(() => this.#restored(async () => {
      if (this.scan !== scan) return;
      const changed = scan.take(await ask());
      this.pendingBox = null;
      say(`${done} ${this.#volumes(changed)}`);
      this.refresh();
    }));
    return this.#queue;
  }

  #volumes(changed) {
    const parts = [...changed].map(([value, n]) => `${this.name(value)} ${(n * this.scan.voxelMl).toFixed(2)} ml`);
    return parts.length ? `Changed: ${parts.join(", ")}.` : "";
  }

  // --- walking ---

  /** Walk again from this slice; slices change as they are done. */
  walk() {
    if (this.walking || !this.scan) return this.#queue;
    const scan = this.scan;
    const until = this.panels.until(scan);
    const request = () => ({ revision: scan.revision, slice: this.t, direction: this.direction, ...(until === null ? {} : { until }) });
    this.walking = { done: 0, total: scan.depth };
    this.#queue = this.#queue.then(() => this.#restored(async () => {
      const total = new Map();
      const slices = new Set();
      await api.walk(request(), (event) => {
        const changed = scan.take(event);
        for (const [value, n] of changed) total.set(value, (total.get(value) ?? 0) + n);
        if (changed.size) Object.keys(event.slices).forEach((t) => slices.add(t));
        if (event.kind === "changed") this.walking.done += 1;
        this.refresh();
      });
      const changed = `${slices.size} ${slices.size === 1 ? "slice" : "slices"} changed. ${this.#volumes(total)}`;
      say(`Walked again: ${slices.size ? changed : "nothing that was given here goes further."}`);
    })).finally(() => {
      this.walking = null;
      this.refresh();
    });
    this.refresh();
    return this.#queue;
  }

  cancelWalk() {
    if (this.walking) api.cancel().catch((error) => say(error.message, true));
  }

  /** Escape: drop what is being done. */
  escape() {
    if (this.walking) this.cancelWalk();
    else if (this.pendingBox) this.set({ pendingBox: null });
    else if (this.tool !== "select") this.use(this.tool);
  }

  enter() {
    if (this.pendingBox) this.giveBox(this.pendingBox);
    else if (this.cursor) this.dab();
  }

  /** Arrow keys do what the tool is for. */
  arrow([dx, dy], shift) {
    if (this.tool === "box") this.nudge([dx, dy], shift);
    else if (this.cursor) {
      const by = Math.max(1, Math.round(this.brush / 2));
      this.set({ cursor: [clamp(this.cursor[0] + dx * by, 0, this.scan.columns), clamp(this.cursor[1] + dy * by, 0, this.scan.rows)] });
    } else this.step(dx || -dy);
  }

  // --- the rest ---

  async save() {
    const endings = await askSave();
    if (!endings.length) return;
    await this.guarded(async () => {
      let saved;
      try {
        saved = await api.save(this.scan.revision, endings, false);
      } catch (error) {
        if (error.id !== "SAM-E0202" || !await askReplace(error.message)) throw error;
        saved = await api.save(this.scan.revision, endings, true);
      }
      say(`Saved: ${saved.files.join(", ")}.`);
    });
  }

  help() {
    showHelp();
  }

  /** Do something, and show what goes wrong. */
  async guarded(work) {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof Fault)) throw error;
      this.pendingBox = null;
      if (error.id === "outdated") await this.open(this.scan.name);
      say(error.message, true);
      this.refresh();
    }
  }

  // Whatever was refused may be in the page's labels already, as a stroke is: they are read again.
  async #restored(work) {
    await this.guarded(async () => {
      try {
        await work();
      } catch (error) {
        if (error instanceof Fault && !["gone", "outdated"].includes(error.id)) await this.open(this.scan.name);
        throw error;
      }
    });
  }

  remember() {
    const keep = (key, names) => sessionStorage.setItem(key, JSON.stringify(Object.fromEntries(names.map((n) => [n, this[n]]))));
    keep("page", PER_PAGE);
    if (this.scan) keep(`scan ${this.scan.name}`, PER_SCAN);
  }

  #recall(key, names) {
    const found = JSON.parse(sessionStorage.getItem(key === "page" ? key : `scan ${key}`) ?? "{}");
    for (const name of names) if (found[name] !== undefined) this[name] = found[name];
  }
}

export const studio = new Studio();
studio.start();
byId("cover-cancel").addEventListener("click", () => api.cancel());
