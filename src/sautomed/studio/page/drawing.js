// The three planes and the strip, drawn once per frame at most.

import { byId, oncePerFrame } from "./dom.js";
import { Plane, greys } from "./plane.js";
import { drawStrip } from "./strip.js";

export class Drawing {
  constructor(studio) {
    this.studio = studio;
    this.planes = [0, 1, 2].map((fixed) => new Plane(byId(`plane-${fixed}`), fixed));
    this.strip = byId("strip");
    this.request = oncePerFrame(() => { if (this.studio.scan) this.draw(); });
    const watched = new ResizeObserver(() => this.request());
    [...this.planes.map((plane) => plane.canvas), this.strip].forEach((canvas) => watched.observe(canvas));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.request());
  }

  take(scan) {
    this.css = Object.fromEntries(scan.organs.map((organ) => [organ.value, organ.colour]));
    this.words = [];
    for (const { value, colour } of scan.organs) {
      const number = parseInt(colour.slice(1), 16);
      this.words[value] = (0xff000000 | (number & 0xff) << 16 | number & 0xff00 | number >> 16) >>> 0;
    }
    this.window = null;
    this.planes.forEach((plane) => plane.show(scan));
  }

  draw() {
    const { studio } = this;
    const { scan } = studio;
    if (this.window?.join() !== studio.window.join()) {
      this.window = [...studio.window];
      this.greys = greys(scan.grey, this.window);
    }
    const look = {
      position: studio.position, greys: this.greys, labels: studio.before ? scan.automatic : scan.labels, css: this.css,
      colours: this.words.map((word, value) => studio.hidden.has(value) ? 0 : word),
      outlined: studio.outlined, opacity: studio.opacity, organ: studio.organ,
    };
    this.planes.forEach((plane) => {
      plane.draw(look);
      if (plane.fixed !== 0) plane.drawCross(studio.position);
    });
    if (!studio.before) this.drawTools(this.planes[0]);
    this.drawCaption(this.planes[0]);
    drawStrip(this.strip, scan, { t: studio.t, organ: studio.organ, css: this.css });
  }

  drawTools(plane) {
    const { studio } = this;
    const { scan, t, organ } = studio;
    for (const { value } of scan.organs) {
      const prompt = scan.prompts[t][value];
      if (value !== organ && prompt?.source === "given" && prompt.box && !studio.hidden.has(value)) {
        plane.drawBox(prompt.box, { colour: this.css[value], dashed: false, handles: false });
      }
    }
    if (studio.box && !studio.hidden.has(organ) && !studio.cursor) {
      const given = studio.pendingBox !== null || studio.prompt?.source === "given";
      plane.drawBox(studio.box, { colour: this.css[organ], dashed: !given, handles: !scan.locked.has(t) });
    }
    if (studio.cursor) plane.drawBrush(studio.cursor, studio.brush / 2, "#fff");
  }

  drawCaption(plane) {
    const { studio } = this;
    const { scan, t } = studio;
    const { context, place } = plane;
    const parts = [`Slice ${t + 1} of ${scan.depth}`];
    if (scan.locked.has(t)) parts.push("locked");
    if (studio.before) parts.push("automatic result");
    const size = 14 * place.ratio;
    context.font = `600 ${size}px system-ui, sans-serif`;
    context.textAlign = "left";
    context.textBaseline = "top";
    context.lineWidth = 3 * place.ratio;
    context.strokeStyle = "#000";
    context.fillStyle = studio.before ? "#ffd479" : "#e8edf2";
    context.strokeText(parts.join(" · "), size * 0.7, size * 0.7);
    context.fillText(parts.join(" · "), size * 0.7, size * 0.7);
  }
}
