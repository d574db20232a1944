// Moving, resizing and drawing a box. Boxes are x0 y0 x1 y1 in pixels of the slice.

import { HANDLES } from "./plane.js";

const NEAR = 9; // pixels of the screen

/** Return which part of a box is under a place of the plane: a handle, "inside", or null. */
export function partAt(plane, box, [u, v]) {
  const { sx, sy, ratio } = plane.place;
  const [x0, y0, x1, y1] = box;
  for (const handle of HANDLES) {
    const dx = (x0 + handle[0] * (x1 - x0) - u) * sx;
    const dy = (y0 + handle[1] * (y1 - y0) - v) * sy;
    if (Math.hypot(dx, dy) < NEAR * ratio) return handle;
  }
  const near = [NEAR * ratio / 2 / sx, NEAR * ratio / 2 / sy];
  const within = u > x0 - near[0] && u < x1 + near[0] && v > y0 - near[1] && v < y1 + near[1];
  const deep = u > x0 + near[0] && u < x1 - near[0] && v > y0 + near[1] && v < y1 - near[1];
  return within && !deep ? "edge" : null;
}

/** Return the mouse pointer's look over a part of a box. */
export function pointerOver(part) {
  if (part === null) return "";
  if (part === "edge") return "move";
  const [fx, fy] = part;
  if (fx === 0.5) return "ns-resize";
  if (fy === 0.5) return "ew-resize";
  return fx === fy ? "nwse-resize" : "nesw-resize";
}

/** Return a box whose part was dragged by so many pixels; it stays within the slice and keeps an area. */
export function dragged(box, part, [du, dv], scan) {
  let [x0, y0, x1, y1] = box;
  if (part === "edge") {
    du = clamp(du, -x0, scan.columns - x1);
    dv = clamp(dv, -y0, scan.rows - y1);
    return [x0 + du, y0 + dv, x1 + du, y1 + dv].map(Math.round);
  }
  if (part[0] === 0) x0 += du;
  if (part[0] === 1) x1 += du;
  if (part[1] === 0) y0 += dv;
  if (part[1] === 1) y1 += dv;
  return upright([x0, y0, x1, y1], scan);
}

/** Return a box of whole pixels within the slice, at least one wide and high, whichever corner comes first. */
export function upright([x0, y0, x1, y1], scan) {
  const side = (a, b, size) => {
    const low = clamp(Math.round(Math.min(a, b)), 0, size - 1);
    return [low, clamp(Math.round(Math.max(a, b)), low + 1, size)];
  };
  const [[left, right], [top, bottom]] = [side(x0, x1, scan.columns), side(y0, y1, scan.rows)];
  return [left, top, right, bottom];
}

/** Return a box moved (or with `grow` resized at its right and bottom) by arrow keys. */
export function nudged(box, [dx, dy], grow, scan) {
  if (!grow) return dragged(box, "edge", [dx, dy], scan);
  const [x0, y0, x1, y1] = box;
  return [x0, y0, clamp(x1 + dx, x0 + 1, scan.columns), clamp(y1 + dy, y0 + 1, scan.rows)];
}

export const clamp = (x, low, high) => Math.max(low, Math.min(high, x));
