// A scan in the page: intensities, labels and prompts. Arrays are (slice, row, column).

import * as api from "./api.js";

const CHUNK_BYTES = 1e6;

export class Scan {
  /** @param {object} opened What the server answers when a scan is opened. */
  constructor(opened) {
    Object.assign(this, { name: opened.case, number: opened.number, shape: opened.shape, spacing: opened.spacing_mm, towards: opened.towards });
    Object.assign(this, { grey: opened.grey, warnings: opened.warnings, organs: opened.organs, prompts: opened.prompts });
    [this.depth, this.rows, this.columns] = this.shape;
    this.pixels = this.rows * this.columns;
    const Labels = Math.max(...this.organs.map((organ) => organ.value)) > 255 ? Uint16Array : Uint8Array;
    this.labels = new Labels(this.depth * this.pixels);
    this.automatic = new Labels(this.depth * this.pixels);
    opened.labels.forEach((runs, t) => decode(runs, this.slice(this.labels, t)));
    opened.automatic.forEach((runs, t) => decode(runs, this.slice(this.automatic, t)));
    this.counts = opened.labels.map(countRuns);
    this.automaticVoxels = total(opened.automatic.map(countRuns));
    this.stored = new Int16Array(this.depth * this.pixels);
    this.loaded = new Uint8Array(this.depth);
    this.voxelMl = this.spacing[0] * this.spacing[1] * this.spacing[2] / 1000;
    this.reading = new AbortController();
    this.take(opened);
  }

  /** Return the part of a whole array that is slice t. */
  slice(array, t) {
    return array.subarray(t * this.pixels, (t + 1) * this.pixels);
  }

  /** Read all intensities, those near a slice first. */
  async read(near, onSlices) {
    const step = Math.max(1, Math.min(32, Math.floor(CHUNK_BYTES / (2 * this.pixels))));
    const starts = Array.from({ length: Math.ceil(this.depth / step) }, (_, i) => i * step);
    const from = () => starts.sort((a, b) => Math.abs(b + step / 2 - near()) - Math.abs(a + step / 2 - near())).pop();
    while (starts.length && !this.reading.signal.aborted) {
      const start = from();
      const found = await api.intensities(this.number, start, step, this.reading.signal);
      this.stored.set(found, start * this.pixels);
      this.loaded.fill(1, start, start + found.length / this.pixels);
      onSlices();
    }
  }

  /** Take over what an answer says has changed; returns the changed voxels per organ value. */
  take(answer) {
    Object.assign(this, { revision: answer.revision, canUndo: answer.can_undo, canRedo: answer.can_redo });
    this.locked = new Set(answer.locked);
    const changed = new Map();
    for (const [t, now] of Object.entries(answer.slices ?? {})) {
      const labels = this.slice(this.labels, Number(t));
      const before = labels.slice();
      decode(now.labels, labels);
      countChanges(before, labels, changed);
      this.counts[t] = countRuns(now.labels);
      this.prompts[t] = now.prompts;
    }
    return changed;
  }

  /** Return the volume of an organ and its change since the automatic result, in ml. */
  volume(value) {
    const now = this.counts.reduce((sum, counts) => sum + (counts.get(value) ?? 0), 0);
    return { ml: now * this.voxelMl, change: (now - (this.automaticVoxels.get(value) ?? 0)) * this.voxelMl };
  }

  nameOf(value) {
    return this.organs.find((organ) => organ.value === value)?.name ?? `label ${value}`;
  }

  /** Whether an organ has pixels on a slice. */
  has(t, value) {
    return (this.counts[t].get(value) ?? 0) > 0;
  }

  /** Return the painted slices around t, t among them, between which an organ can be filled; null if there are none. */
  gap(t, value) {
    const painted = (u) => this.prompts[u]?.[value]?.painted;
    const given = (u) => this.prompts[u]?.[value]?.source === "given";
    if (given(t) && !painted(t)) return null;
    let [first, last] = [t - 1, t + 1];
    while (first >= 0 && !given(first)) first -= 1;
    while (last < this.depth && !given(last)) last += 1;
    if (!painted(first)) first = t;
    if (!painted(last)) last = t;
    if (!painted(first) || !painted(last)) return null;
    for (let u = first + 1; u < last; u += 1) if (!given(u) && !this.locked.has(u)) return [first, last];
    return null;
  }

  /** Return how sure an organ's result on a slice is, 0 to 1; null where nothing is in question. */
  sureness(t, value) {
    const prompt = this.prompts[t][value];
    if (!prompt || prompt.source === "given" || this.locked.has(t)) return null;
    if (this.has(t, value)) return prompt.confidence ?? (prompt.presence === null ? null : Math.abs(2 * prompt.presence - 1));
    const isGap = t > 0 && t < this.depth - 1 && this.has(t - 1, value) && this.has(t + 1, value);
    return isGap ? 0 : null;
  }

  /**
   * Return slices and organs, those first on which most of the organ is in doubt: its share of the organ's pixels times
   * how unsure they are. Thin ends are seldom sure, and seldom matter.
   */
  leastSure() {
    return this.organs.flatMap(({ value }) => this.#doubts(value)).sort((a, b) => b.doubt - a.doubt);
  }

  #doubts(value) {
    const pixels = this.counts.map((counts) => counts.get(value) ?? 0);
    const whole = pixels.reduce((sum, count) => sum + count, 0);
    if (!whole) return this.#likeliest(value);
    const usual = whole / pixels.filter((count) => count > 0).length;
    return pixels.flatMap((count, t) => {
      const sureness = this.sureness(t, value);
      return sureness === null ? [] : [{ t, value, doubt: (1 - sureness) * (count || usual) / whole }];
    });
  }

  /** Return the slice on which an organ that is nowhere is likeliest, if it is likely. */
  #likeliest(value) {
    const open = this.prompts.map((prompts, t) => ({ t, value, doubt: prompts[value]?.presence ?? 0 }))
      .filter(({ t }) => this.prompts[t][value]?.source !== "given" && !this.locked.has(t));
    return open.sort((a, b) => b.doubt - a.doubt).slice(0, 1).filter(({ doubt }) => doubt > 0.5);
  }

  close() {
    this.reading.abort();
  }
}

function decode(runs, into) {
  for (let i = 0, at = 0; i < runs.length; i += 2) {
    into.fill(runs[i], at, at + runs[i + 1]);
    at += runs[i + 1];
  }
}

/** Return the lengths of runs outside and inside of a mask, in turn; the first is outside. */
export function encode(mask) {
  const lengths = [];
  let inside = 0;
  let start = 0;
  for (let i = 0; i <= mask.length; i += 1) {
    if (i === mask.length || mask[i] !== inside) {
      lengths.push(i - start);
      start = i;
      inside = 1 - inside;
    }
  }
  return lengths;
}

function countRuns(runs) {
  const counts = new Map();
  for (let i = 0; i < runs.length; i += 2) {
    if (runs[i]) counts.set(runs[i], (counts.get(runs[i]) ?? 0) + runs[i + 1]);
  }
  return counts;
}

function total(slices) {
  const sum = new Map();
  for (const counts of slices) for (const [value, n] of counts) sum.set(value, (sum.get(value) ?? 0) + n);
  return sum;
}

function countChanges(before, now, changed) {
  for (let i = 0; i < now.length; i += 1) {
    if (before[i] === now[i]) continue;
    for (const value of [before[i], now[i]]) if (value) changed.set(value, (changed.get(value) ?? 0) + 1);
  }
}
