// One plane of a scan on a canvas: greys through the window, labels over them, and where a place of it is on the screen.

const BLACK = 0xff000000;
const UP = new Set(["S", "A"]); // a vertical axis that grows this way is drawn upside down
const OPPOSITE = { S: "I", I: "S", A: "P", P: "A", L: "R", R: "L" };

/** Return 256 greys for a window, for each 16 bit number from the lowest on. */
export function greys({ slope, intercept }, [low, high]) {
  const table = new Uint32Array(65536);
  const scale = 255 / Math.max(high - low, 1e-9);
  for (let i = 0; i < 65536; i += 1) {
    const grey = Math.max(0, Math.min(255, Math.round(((i - 32768) * slope + intercept - low) * scale)));
    table[i] = BLACK | grey << 16 | grey << 8 | grey;
  }
  return table;
}

export class Plane {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} fixed The axis across the plane: 0 slice, 1 row, 2 column.
   */
  constructor(canvas, fixed) {
    Object.assign(this, { canvas, fixed, context: canvas.getContext("2d", { alpha: false }) });
    Object.assign(this, { grey: picture(), fill: picture() });
    this.reset();
  }

  /** Take a scan: choose which axis is across and which is down, as radiologists see it. */
  show(scan) {
    this.scan = scan;
    const [a, b] = [0, 1, 2].filter((axis) => axis !== this.fixed);
    this.down = "SI".includes(scan.towards[a]) || (!"SI".includes(scan.towards[b]) && "AP".includes(scan.towards[a])) ? a : b;
    this.across = this.down === a ? b : a;
    this.flipped = UP.has(scan.towards[this.down]);
    const letter = scan.towards[this.down];
    this.letters = { right: scan.towards[this.across], down: this.flipped ? OPPOSITE[letter] : letter };
    this.width = scan.shape[this.across];
    this.height = scan.shape[this.down];
    for (const image of [this.grey, this.fill]) {
      Object.assign(image.canvas, { width: this.width, height: this.height });
      image.data = image.context.createImageData(this.width, this.height);
      image.words = new Uint32Array(image.data.data.buffer);
    }
    this.reset();
  }

  /** Show the whole plane again. */
  reset() {
    Object.assign(this, { zoom: 1, panX: 0, panY: 0 });
  }

  /** Fit the canvas to its place on the screen, in device pixels. */
  fit() {
    const scale = window.devicePixelRatio || 1;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize) / 14 * scale;
    const width = Math.round(this.canvas.clientWidth * scale);
    const height = Math.round(this.canvas.clientHeight * scale);
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const wide = this.width * this.scan.spacing[this.across];
    const high = this.height * this.scan.spacing[this.down];
    const mm = Math.min(width / wide, height / high) * 0.96 * this.zoom;
    const sx = mm * this.scan.spacing[this.across];
    const sy = mm * this.scan.spacing[this.down];
    this.place = {
      sx, sy, scale, ratio: rem, // ratio: of lines and letters, which grow with the page's
     
      x: width / 2 + this.panX * scale - this.width * sx / 2, y: height / 2 + this.panY * scale - this.height * sy / 2,
    };
  }

  /** Return the plane's coordinates (pixels from the left and top, before any flip) of a place on the screen. */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    const { x, y, sx, sy, scale } = this.place;
    return [((event.clientX - box.left) * scale - x) / sx, ((event.clientY - box.top) * scale - y) / sy];
  }

  /** Return the index along the vertical axis of a height in the plane. */
  index(v) {
    return this.flipped ? this.height - 1 - v : v;
  }

  /** Zoom by a factor about a place on the screen. */
  zoomAt(event, factor) {
    const box = this.canvas.getBoundingClientRect();
    const next = Math.max(0.5, Math.min(20, this.zoom * factor));
    const real = next / this.zoom;
    const [x, y] = [event.clientX - box.left - box.width / 2, event.clientY - box.top - box.height / 2];
    this.panX = x - (x - this.panX) * real;
    this.panY = y - (y - this.panY) * real;
    this.zoom = next;
  }

  /** Draw. `look` is how: position, greys, labels, colours (with alpha), outlined, opacity. */
  draw(look) {
    this.fit();
    const { context, canvas } = this;
    const { x, y, sx, sy } = this.place;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    this.gather(look);
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.drawImage(this.grey.canvas, x, y, this.width * sx, this.height * sy);
    if (!look.outlined) {
      context.imageSmoothingEnabled = false;
      context.globalAlpha = look.opacity;
      context.drawImage(this.fill.canvas, x, y, this.width * sx, this.height * sy);
      context.globalAlpha = 1;
    }
    this.drawOutlines(look);
    this.drawLetters();
  }

  /** Collect greys and labels of the plane from the whole arrays. */
  gather(look) {
    const { scan, width, height } = this;
    const strides = [scan.pixels, scan.columns, 1];
    const [stepX, stepY] = [strides[this.across], strides[this.down]];
    const base = look.position[this.fixed] * strides[this.fixed];
    this.values = this.values?.length === width * height ? this.values : new scan.labels.constructor(width * height);
    const colours = look.colours;
    for (let v = 0, at = 0; v < height; v += 1) {
      let from = base + this.index(v) * stepY;
      for (let u = 0; u < width; u += 1, at += 1, from += stepX) {
        this.grey.words[at] = look.greys[scan.stored[from] + 32768];
        const value = look.labels[from];
        this.values[at] = value;
        this.fill.words[at] = value ? colours[value] ?? 0 : 0;
      }
    }
    if (!scan.loaded.every(Boolean)) this.blacken(look.position);
    this.grey.context.putImageData(this.grey.data, 0, 0);
    this.fill.context.putImageData(this.fill.data, 0, 0);
  }

  /** Leave slices black that have not arrived. */
  blacken(shown) {
    const { scan, width, height } = this;
    const position = [...shown];
    for (let v = 0, at = 0; v < height; v += 1) {
      for (let u = 0; u < width; u += 1, at += 1) {
        position[this.across] = u;
        position[this.down] = this.index(v);
        if (!scan.loaded[position[0]]) this.grey.words[at] = BLACK;
      }
    }
  }

  /** Draw the edges between an organ's pixels and others, as sharp as the screen is. */
  drawOutlines(look) {
    const { values, width, height, context } = this;
    const paths = new Map();
    const edge = (value, x0, y0, x1, y1) => {
      if (!value || !look.colours[value]) return;
      if (!paths.has(value)) paths.set(value, new Path2D());
      paths.get(value).moveTo(x0, y0);
      paths.get(value).lineTo(x1, y1);
    };
    for (let v = 0; v <= height; v += 1) {
      for (let u = 0; u <= width; u += 1) {
        const here = u < width && v < height ? values[v * width + u] : 0;
        const left = u > 0 && v < height ? values[v * width + u - 1] : 0;
        const above = v > 0 && u < width ? values[(v - 1) * width + u] : 0;
        if (here !== left) { edge(here, u, v, u, v + 1); edge(left, u, v, u, v + 1); }
        if (here !== above) { edge(here, u, v, u + 1, v); edge(above, u, v, u + 1, v); }
      }
    }
    const { x, y, sx, sy, ratio } = this.place;
    const toScreen = new DOMMatrix([sx, 0, 0, sy, x, y]);
    context.lineCap = "round";
    for (const [value, path] of paths) {
      const shown = new Path2D();
      shown.addPath(path, toScreen);
      context.lineWidth = (value === look.organ ? 2.2 : 1.3) * ratio;
      context.strokeStyle = look.css[value];
      context.stroke(shown);
    }
  }

  drawLetters() {
    const { context, canvas, letters } = this;
    const size = 13 * this.place.ratio;
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const write = (text, x, y) => {
      context.lineWidth = 3 * this.place.ratio;
      context.strokeStyle = "#000";
      context.strokeText(text, x, y);
      context.fillStyle = "#cfd8e0";
      context.fillText(text, x, y);
    };
    write(OPPOSITE[letters.right], size, canvas.height / 2);
    write(letters.right, canvas.width - size, canvas.height / 2);
    write(OPPOSITE[letters.down], canvas.width / 2, size);
    write(letters.down, canvas.width / 2, canvas.height - size);
  }

  /** Draw a line across the plane at a place of one of its axes. */
  drawCross(position) {
    const { context, canvas } = this;
    const { x, y, sx, sy, ratio } = this.place;
    context.lineWidth = ratio;
    context.strokeStyle = "#7fd0ffb0";
    context.beginPath();
    const v = this.index(position[this.down]) + 0.5;
    const u = position[this.across] + 0.5;
    if (this.down === 0) { context.moveTo(0, y + v * sy); context.lineTo(canvas.width, y + v * sy); }
    if (this.across === 0) { context.moveTo(x + u * sx, 0); context.lineTo(x + u * sx, canvas.height); }
    context.stroke();
  }

  /** Draw a box, x0 y0 x1 y1 in pixels of a slice; dashed if it was predicted, with handles if it can be moved. */
  drawBox([x0, y0, x1, y1], { colour, dashed, handles }) {
    const { context } = this;
    const { x, y, sx, sy, ratio } = this.place;
    const [left, top, wide, high] = [x + x0 * sx, y + y0 * sy, (x1 - x0) * sx, (y1 - y0) * sy];
    context.setLineDash([]);
    context.lineWidth = 3.4 * ratio;
    context.strokeStyle = "#000a";
    context.strokeRect(left, top, wide, high);
    context.setLineDash(dashed ? [6 * ratio, 4 * ratio] : []);
    context.lineWidth = 1.6 * ratio;
    context.strokeStyle = colour;
    context.strokeRect(left, top, wide, high);
    context.setLineDash([]);
    if (!handles) return;
    const size = 7 * ratio;
    for (const [fx, fy] of HANDLES) {
      context.fillStyle = "#fff";
      context.strokeStyle = "#000";
      context.lineWidth = ratio;
      context.beginPath();
      context.rect(left + fx * wide - size / 2, top + fy * high - size / 2, size, size);
      context.fill();
      context.stroke();
    }
  }

  /** Draw the round tip of a brush. */
  drawBrush([u, v], radius, colour) {
    const { context } = this;
    const { x, y, sx, sy, ratio } = this.place;
    for (const [width, style] of [[3, "#000"], [1.4, colour]]) {
      context.lineWidth = width * ratio;
      context.strokeStyle = style;
      context.beginPath();
      context.ellipse(x + u * sx, y + v * sy, radius * sx, radius * sy, 0, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}

/** Corners and middles of a box's sides, as parts of its width and height. */
export const HANDLES = [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1], [0.5, 1], [0, 1], [0, 0.5]];

function picture() {
  const canvas = document.createElement("canvas");
  return { canvas, context: canvas.getContext("2d"), data: null, words: null };
}
