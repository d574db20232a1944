// Painting and erasing pixels of a slice.

/** The pixels that a stroke has touched on a slice. */
export class Stroke {
  constructor(scan) {
    Object.assign(this, { scan, mask: new Uint8Array(scan.pixels), last: null });
  }

  /** Touch a round of pixels, and all between it and the last one. */
  to([u, v], radius) {
    const [u0, v0] = this.last ?? [u, v];
    const steps = Math.max(1, Math.ceil(Math.hypot(u - u0, v - v0) / Math.max(radius / 2, 0.5)));
    for (let i = 1; i <= steps; i += 1) this.dab(u0 + (u - u0) * i / steps, v0 + (v - v0) * i / steps, radius);
    this.last = [u, v];
  }

  dab(u, v, radius) {
    const { rows, columns } = this.scan;
    for (let y = Math.max(0, Math.floor(v - radius)); y <= Math.min(rows - 1, v + radius); y += 1) {
      for (let x = Math.max(0, Math.floor(u - radius)); x <= Math.min(columns - 1, u + radius); x += 1) {
        if (Math.hypot(x + 0.5 - u, y + 0.5 - v) <= Math.max(radius, 0.71)) this.mask[y * columns + x] = 1;
      }
    }
  }

  /** Show the stroke in the page's labels before the server has answered. */
  preview(labels, value, erasing) {
    for (let i = 0; i < this.mask.length; i += 1) {
      if (this.mask[i] && (!erasing || labels[i] === value)) labels[i] = erasing ? 0 : value;
    }
  }
}
