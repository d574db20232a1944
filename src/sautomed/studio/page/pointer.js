// The mouse on the planes and on the strip.

import { byId } from "./dom.js";
import { Stroke } from "./brush.js";
import { clamp, dragged, partAt, pointerOver, upright } from "./box_tool.js";

const LEFT = 0;
const MIDDLE = 1;
const RIGHT = 2;
const CLICK = 4; // pixels of the screen: a press that moves less is a click

export class Pointer {
  constructor(studio) {
    this.studio = studio;
    this.drag = null;
    studio.drawing.planes.forEach((plane) => this.#listen(plane));
    byId("strip").addEventListener("pointerdown", (event) => this.#strip(event));
  }

  #listen(plane) {
    const { canvas } = plane;
    canvas.addEventListener("contextmenu", (event) => event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.#wheel(plane, event), { passive: false });
    canvas.addEventListener("pointerdown", (event) => this.#down(plane, event));
    canvas.addEventListener("pointermove", (event) => this.#move(plane, event));
    canvas.addEventListener("pointerup", (event) => this.#up(plane, event));
    canvas.addEventListener("pointercancel", () => { this.drag = null; });
    canvas.addEventListener("dblclick", () => { plane.reset(); this.studio.refresh(); });
  }

  #wheel(plane, event) {
    const { studio } = this;
    if (!studio.scan) return;
    event.preventDefault();
    const turned = event.deltaY || event.deltaX;
    if (event.ctrlKey) plane.zoomAt(event, Math.exp(-turned / 300));
    else if (event.shiftKey) studio.resize(turned > 0 ? -1 : 1);
    else if (plane.fixed === 0) studio.step(turned > 0 ? -1 : 1);
    else studio.set({ position: this.#moved(plane.fixed, turned > 0 ? -1 : 1) });
    studio.refresh();
  }

  #moved(axis, by) {
    const position = [...this.studio.position];
    position[axis] = clamp(position[axis] + by, 0, this.studio.scan.shape[axis] - 1);
    return position;
  }

  #down(plane, event) {
    const { studio } = this;
    if (!studio.scan) return;
    plane.canvas.setPointerCapture(event.pointerId);
    if (plane.fixed === 0) plane.canvas.focus();
    const at = plane.at(event);
    const start = { at, x: event.clientX, y: event.clientY, panX: plane.panX, panY: plane.panY, window: studio.window };
    if (event.button === RIGHT) this.drag = { kind: "window", ...start };
    else if (event.button === MIDDLE || event.altKey) this.drag = { kind: "pan", ...start };
    else if (event.button === LEFT) this.drag = { ...start, ...this.#pressed(plane, at) };
    this.#dragTo(plane, event);
  }

  /** Return what a press of the left button begins. */
  #pressed(plane, at) {
    const { studio } = this;
    if (plane.fixed !== 0) return { kind: "locate" };
    if (studio.scan.locked.has(studio.t)) return { kind: "pan" };
    if (studio.tool === "box") return { kind: "draw" };
    if (studio.tool === "brush" || studio.tool === "eraser") {
      return { kind: "stroke", stroke: new Stroke(studio.scan), erasing: studio.tool === "eraser" };
    }
    const { box } = studio;
    const part = box && !studio.hidden.has(studio.organ) ? partAt(plane, box, at) : null;
    return part === null ? { kind: "pan" } : { kind: "move", part, box };
  }

  #move(plane, event) {
    if (!this.studio.scan) return;
    if (this.drag) this.#dragTo(plane, event);
    else this.#hover(plane, event);
  }

  #hover(plane, event) {
    const { studio } = this;
    if (plane.fixed !== 0) return;
    if (studio.cursor) {
      plane.canvas.style.cursor = "none";
      studio.set({ cursor: plane.at(event) });
      return;
    }
    const movable = studio.tool === "select" && studio.box && !studio.scan.locked.has(studio.t);
    plane.canvas.style.cursor = studio.tool === "box" ? "crosshair" : movable ? pointerOver(partAt(plane, studio.box, plane.at(event))) : "";
  }

  #dragTo(plane, event) {
    const { studio, drag } = this;
    const at = plane.at(event);
    const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
    if (drag.kind === "pan") Object.assign(plane, { panX: drag.panX + dx, panY: drag.panY + dy });
    if (drag.kind === "window") studio.window = windowed(drag.window, dx, dy);
    if (drag.kind === "locate") this.#locate(plane, at);
    if (drag.kind === "move") studio.pendingBox = dragged(drag.box, drag.part, [at[0] - drag.at[0], at[1] - drag.at[1]], studio.scan);
    if (drag.kind === "draw") studio.pendingBox = upright([...drag.at, ...at], studio.scan);
    if (drag.kind === "stroke") {
      studio.cursor = at;
      drag.stroke.to(at, studio.brush / 2);
      drag.stroke.preview(studio.scan.slice(studio.scan.labels, studio.t), studio.organ, drag.erasing);
    }
    studio.refresh();
  }

  #locate(plane, [u, v]) {
    const { studio } = this;
    const position = [...studio.position];
    position[plane.across] = clamp(Math.floor(u), 0, plane.width - 1);
    position[plane.down] = clamp(plane.index(Math.floor(v)), 0, plane.height - 1);
    if (position[0] !== studio.t) studio.pendingBox = null;
    studio.position = position;
  }

  #up(plane, event) {
    const { studio, drag } = this;
    this.drag = null;
    if (!drag || !studio.scan) return;
    const moved = Math.hypot(event.clientX - drag.x, event.clientY - drag.y) >= CLICK;
    if (drag.kind === "pan" && !moved && plane.fixed === 0) this.#click(plane, drag.at);
    if (drag.kind === "stroke") studio.editor.paint(drag.stroke, drag.erasing);
    if (drag.kind === "move" || drag.kind === "draw") {
      if (moved) studio.editor.giveBox(studio.pendingBox);
      else studio.set({ pendingBox: null });
    }
  }

  /** Choose the organ under the pointer, and show the planes across it. */
  #click(plane, [u, v]) {
    const { studio } = this;
    const { scan } = studio;
    const [x, y] = [Math.floor(u), Math.floor(v)];
    if (x < 0 || y < 0 || x >= scan.columns || y >= scan.rows) return;
    studio.position = [studio.t, y, x];
    const value = scan.labels[studio.t * scan.pixels + y * scan.columns + x];
    if (value && !studio.hidden.has(value)) studio.choose(value);
    studio.refresh();
  }

  #strip(event) {
    const { studio } = this;
    if (!studio.scan) return;
    const box = event.currentTarget.getBoundingClientRect();
    const t = Math.floor((event.clientX - box.left) / box.width * studio.scan.depth);
    const row = Math.floor((event.clientY - box.top) / box.height * studio.scan.organs.length);
    studio.choose(studio.scan.organs[clamp(row, 0, studio.scan.organs.length - 1)].value);
    studio.goTo(t);
  }
}

/** Return a window made wider by moving right and darker by moving down. */
function windowed([low, high], dx, dy) {
  const width = Math.max((high - low) * Math.exp(dx / 200), (high - low) * 0.01, 1e-6);
  const level = (low + high) / 2 + dy * (high - low) / 400;
  return [level - width / 2, level + width / 2];
}
