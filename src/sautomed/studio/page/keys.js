// Every key, in one table: what it does, and what the help says.

/** Groups of [keys as shown, what it does, when it is that key, the action]. */
export const KEYS = [
  ["Look", [
    ["↑ ↓", "slice up (a larger number), slice down", null, null],
    ["Page ↑ ↓", "five slices", (e) => e.key === "PageUp" || e.key === "PageDown", (s, e) => s.step(e.key === "PageUp" ? 5 : -5)],
    ["Home End", "first slice, last slice", (e) => e.key === "Home" || e.key === "End", (s, e) => s.goTo(e.key === "Home" ? 0 : s.scan.depth - 1)],
    ["n", "next least sure organ and slice", letter("n"), (s) => s.nextUnsure()],
    ["1 - 9", "choose an organ", (e) => /^[1-9]$/.test(e.key), (s, e) => s.chooseNumber(Number(e.key))],
    ["[ ]", "organ before, organ after", (e) => "[]".includes(e.key) && e.key, (s, e) => s.chooseBy(e.key === "[" ? -1 : 1)],
    ["v", "show or hide the organ", letter("v"), (s) => s.toggleShown(s.organ)],
    ["o", "outlines, or filled", letter("o"), (s) => s.set({ outlined: !s.outlined })],
    ["Space", "automatic result, and back", (e) => e.key === " ", (s) => s.set({ before: !s.before })],
    ["+ -", "zoom; size of the brush while painting", (e) => "+-=".includes(e.key) && e.key, (s, e) => zoomOrSize(s, e.key === "-" ? -1 : 1)],
    ["0", "whole slice again", letter("0"), (s) => { s.drawing.planes.forEach((p) => p.reset()); s.refresh(); }],
  ]],
  ["Correct", [
    ["b", "draw a box; arrows move it, Shift + arrows resize it, Enter gives it", letter("b"), (s) => s.use("box")],
    ["x", "the organ is not on this slice", letter("x"), (s) => s.editor.absent()],
    ["p", "brush; arrows move it, Enter paints", letter("p"), (s) => s.use("brush")],
    ["e", "eraser", letter("e"), (s) => s.use("eraser")],
    ["i", "fill the slices between those that are painted", letter("i"), (s) => s.editor.fill()],
    ["f", "forget what was given for the organ here", letter("f"), (s) => s.editor.forget()],
    ["l", "lock the slice, or release it", letter("l"), (s) => s.editor.toggleLock()],
    ["w", "walk again from this slice", letter("w"), (s) => s.editor.walk()],
    ["d", "direction: both, up, down", letter("d"), (s) => s.set({ direction: { both: "up", up: "down", down: "both" }[s.direction] })],
    ["Enter", "give the box; paint under the brush", (e) => e.key === "Enter", (s) => s.editor.enter()],
    ["Esc", "cancel the walk, the box, the tool", (e) => e.key === "Escape", (s) => s.editor.escape()],
    ["u, Ctrl+Z", "undo", letter("u"), (s) => s.editor.undo()],
    ["r, Ctrl+Y", "redo", letter("r"), (s) => s.editor.redo()],
  ]],
  ["Results", [
    ["s", "save", letter("s"), (s) => s.save()],
    ["a", "all scans, those to look at first", letter("a"), (s) => s.list.show()],
    ["?", "this list", letter("?"), (s) => s.help()],
  ]],
];

export const MOUSE = ["Mouse", [
  ["drag a side", "move the box; its handles resize it"],
  ["click", "choose the organ under the pointer"],
  ["wheel", "slices"],
  ["Ctrl + wheel", "zoom"],
  ["Shift + wheel", "size of the brush"],
  ["drag", "pan; with the middle button from anywhere"],
  ["right drag", "window (left and right) and level (up and down)"],
  ["double click", "whole slice again"],
]];

const WITHOUT_SCAN = new Set(["a", "?"]);
const ARROWS = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] };

/** Turn keys into actions, except where a person writes or a dialog is open. */
export function listen(studio) {
  window.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]") || event.altKey || event.metaKey && event.key !== "z") return;
    const control = event.target.closest("input, select, textarea, button");
    if (event.ctrlKey || event.metaKey) { undoKeys(studio, event); return; }
    if (control && (writes(control) || usesKey(control, event.key)) && event.key !== "Escape") return;
    if (!studio.scan && !WITHOUT_SCAN.has(event.key)) return;
    if (event.key === "Escape" && control) control.blur();
    if (ARROWS[event.key]) studio.editor.arrow(ARROWS[event.key], event.shiftKey);
    else {
      const found = KEYS.flatMap(([, rows]) => rows).find(([, , matches]) => matches?.(event));
      if (!found) return;
      found[3](studio, event);
    }
    event.preventDefault();
  });
}

function letter(key) {
  return (event) => event.key.toLowerCase() === key;
}

function undoKeys(studio, event) {
  if (!studio.scan || !["z", "y"].includes(event.key.toLowerCase())) return;
  if (event.key.toLowerCase() === "y" || event.shiftKey) studio.editor.redo();
  else studio.editor.undo();
  event.preventDefault();
}

function writes(control) {
  return control.matches("input[type=number], input[type=text], textarea");
}

function usesKey(control, key) {
  if (control.matches("button, input[type=checkbox]")) return key === " " || key === "Enter";
  return control.matches("select, input[type=range]") && (key in ARROWS || ["Home", "End", "PageUp", "PageDown", " ", "Enter"].includes(key));
}

function zoomOrSize(studio, sign) {
  if (studio.cursor) studio.resize(sign);
  else {
    const plane = studio.drawing.planes[0];
    plane.zoom = Math.max(0.5, Math.min(20, plane.zoom * (sign > 0 ? 1.25 : 0.8)));
    studio.refresh();
  }
}
