// The page: the scan that is open, and where and how a person looks at it; editor.js changes it.

import * as api from "./api.js";
import { Fault } from "./api.js";
import { clamp } from "./box_tool.js";
import { askReplace, askSave, showHelp } from "./dialogs.js";
import { byId, say } from "./dom.js";
import { Drawing } from "./drawing.js";
import { Editor } from "./editor.js";
import { listen } from "./keys.js";
import { Panels } from "./panels.js";
import { Pointer } from "./pointer.js";
import { Scan } from "./scan.js";
import { ScanList } from "./scan_list.js";

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
  pendingBox = null; // being drawn or moved
  cursor = null; // of the brush, in pixels of the slice
  visited = new Set();

  constructor() {
    this.editor = new Editor(this);
    this.list = new ScanList(this);
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
      this.list.take(listed);
      const first = listed.scans.find((scan) => !scan.refusal);
      const name = listed.open ?? (listed.scans.length === 1 ? first?.case : null);
      if (name) await this.open(name);
      else this.list.show();
    });
  }

  async open(name) {
    this.list.hide();
    this.list.choose(name);
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

  async mark(name, done) {
    await this.guarded(async () => this.list.take(await api.mark(name, done)));
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
    say(`${this.scan.nameOf(next.value)} on slice ${next.t + 1}: ${facts.join(", ")}.`);
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
