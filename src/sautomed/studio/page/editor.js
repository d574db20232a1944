// What a person changes: every edit, undo and redo, and the walks that carry edits on, one after the other.

import * as api from "./api.js";
import { Fault } from "./api.js";
import { clamp, nudged } from "./box_tool.js";
import { Stroke } from "./brush.js";
import { say } from "./dom.js";
import { encode } from "./scan.js";

export class Editor {
  walking = null; // slices done and in all, while it walks
  #queue = Promise.resolve();

  constructor(studio) {
    this.studio = studio;
  }

  // --- edits ---

  giveBox(box) {
    const { studio } = this;
    studio.pendingBox = box;
    studio.tool = "select";
    return this.edit({ kind: "box", slice: studio.t, organ: studio.organ, box }, "box");
  }

  absent() {
    return this.edit({ kind: "absent", slice: this.studio.t, organ: this.studio.organ }, "not here");
  }

  forget() {
    return this.edit({ kind: "forget", slice: this.studio.t, organ: this.studio.organ }, "automatic again");
  }

  toggleLock() {
    const { scan, t } = this.studio;
    const locked = scan.locked.has(t);
    return this.edit({ kind: locked ? "release" : "lock", slice: t }, locked ? "released" : "locked");
  }

  /** Send what a stroke touched; its preview is in the labels already. */
  paint(stroke, erasing) {
    const { t, organ } = this.studio;
    const change = { kind: erasing ? "erase" : "paint", slice: t, organ, runs: encode(stroke.mask) };
    return this.edit(change, erasing ? "erased" : "painted");
  }

  /** Fill the organ in between the painted slices around this one. */
  fill() {
    const { scan, t, organ } = this.studio;
    const gap = scan.gap(t, organ);
    if (gap === null) {
      return say(`${scan.nameOf(organ)}: nothing to fill. Paint it on two slices; those between them can be filled.`);
    }
    const [slice, last] = gap;
    return this.edit({ kind: "fill", slice, last, organ }, `filled from there to slice ${last + 1}`);
  }

  edit(change, what) {
    const { scan } = this.studio;
    const slice = `slice ${change.slice + 1}`;
    const about = change.organ === undefined ? `S${slice.slice(1)}` : `${scan.nameOf(change.organ)} on ${slice}`;
    return this.#change(() => api.edit(scan.revision, change), `${about}: ${what}.`);
  }

  undo() {
    const { scan } = this.studio;
    return scan.canUndo ? this.#change(() => api.undo(scan.revision), "Undone.") : say("There is nothing to undo.");
  }

  redo() {
    const { scan } = this.studio;
    return scan.canRedo ? this.#change(() => api.redo(scan.revision), "Redone.") : say("There is nothing to redo.");
  }

  /** One change after the other; a walk is cancelled first. */
  #change(ask, done) {
    const { studio } = this;
    const { scan } = studio;
    this.cancelWalk();
    this.#queue = this.#queue.then(() => this.#restored(async () => {
      if (studio.scan !== scan) return;
      const changed = scan.take(await ask());
      studio.pendingBox = null;
      say(`${done} ${volumes(scan, changed)}`);
      studio.refresh();
    }));
    return this.#queue;
  }

  // Whatever was refused may be in the page's labels already, as a stroke is: they are read again.
  async #restored(work) {
    const { studio } = this;
    await studio.guarded(async () => {
      try {
        await work();
      } catch (error) {
        if (error instanceof Fault && !["gone", "outdated"].includes(error.id)) await studio.open(studio.scan.name);
        throw error;
      }
    });
  }

  // --- walking ---

  /** Walk again from this slice; slices change as they are done. */
  walk() {
    const { studio } = this;
    const { scan } = studio;
    if (this.walking || !scan) return this.#queue;
    const until = studio.panels.until(scan);
    const request = () => ({
      revision: scan.revision, slice: studio.t, direction: studio.direction, ...(until === null ? {} : { until }),
    });
    this.walking = { done: 0, total: scan.depth };
    this.#queue = this.#queue.then(() => this.#restored(async () => {
      const total = new Map();
      const slices = new Set();
      await api.walk(request(), (event) => {
        const changed = scan.take(event);
        for (const [value, n] of changed) total.set(value, (total.get(value) ?? 0) + n);
        if (changed.size) Object.keys(event.slices).forEach((t) => slices.add(t));
        if (event.kind === "changed") this.walking.done += 1;
        studio.refresh();
      });
      const changed = `${slices.size} ${slices.size === 1 ? "slice" : "slices"} changed. ${volumes(scan, total)}`;
      say(`Walked again: ${slices.size ? changed : "nothing that was given here goes further."}`);
    })).finally(() => {
      this.walking = null;
      studio.refresh();
    });
    studio.refresh();
    return this.#queue;
  }

  cancelWalk() {
    if (this.walking) api.cancel().catch((error) => say(error.message, true));
  }

  // --- by keyboard ---

  /** Escape: drop what is being done. */
  escape() {
    const { studio } = this;
    if (this.walking) this.cancelWalk();
    else if (studio.pendingBox) studio.set({ pendingBox: null });
    else if (studio.tool !== "select") studio.use(studio.tool);
  }

  enter() {
    const { studio } = this;
    if (studio.pendingBox) this.giveBox(studio.pendingBox);
    else if (studio.cursor) this.#dab();
  }

  /** Arrow keys do what the tool is for. */
  arrow([dx, dy], shift) {
    const { studio } = this;
    if (studio.tool === "box") this.#nudge([dx, dy], shift);
    else if (studio.cursor) {
      const by = Math.max(1, Math.round(studio.brush / 2));
      const [x, y] = [studio.cursor[0] + dx * by, studio.cursor[1] + dy * by];
      studio.set({ cursor: [clamp(x, 0, studio.scan.columns), clamp(y, 0, studio.scan.rows)] });
    } else studio.step(dx || -dy);
  }

  /** Touch the pixels under the brush. */
  #dab() {
    const { studio } = this;
    const stroke = new Stroke(studio.scan);
    stroke.to(studio.cursor, studio.brush / 2);
    return this.paint(stroke, studio.tool === "eraser");
  }

  /** Move or resize the box of the chosen organ; Enter gives it. */
  #nudge(direction, grow) {
    const { studio } = this;
    const { scan } = studio;
    const middle = [scan.columns / 4, scan.rows / 4, scan.columns * 3 / 4, scan.rows * 3 / 4].map(Math.round);
    studio.set({ pendingBox: nudged((studio.box ?? middle).map(Math.round), direction, grow, scan) });
    say(`Box ${studio.pendingBox.join(", ")}. Enter gives it, Escape drops it.`);
  }
}

function volumes(scan, changed) {
  const parts = [...changed].map(([value, n]) => `${scan.nameOf(value)} ${(n * scan.voxelMl).toFixed(2)} ml`);
  return parts.length ? `Changed: ${parts.join(", ")}.` : "";
}
