// The strip below the planes: one row per organ, one column per slice.

const ROW_REM = 1.15;
const UNSURE = 0.7; // of a mask's confidence, as in the flags of `segment`

/** Draw presence as strength of colour, what is least sure as a bar, given prompts as marks, locked slices as hatching. */
export function drawStrip(canvas, scan, { t, organ, css }) {
  const ratio = window.devicePixelRatio || 1;
  const style = getComputedStyle(document.documentElement);
  const row = Math.round(ROW_REM * parseFloat(style.fontSize) * ratio);
  canvas.style.height = `${row * scan.organs.length / ratio}px`;
  Object.assign(canvas, { width: Math.round(canvas.clientWidth * ratio), height: row * scan.organs.length });
  const context = canvas.getContext("2d");
  const colour = (name) => resolved(canvas, style.getPropertyValue(name));
  const [ground, text, unsure] = ["--ground", "--text", "--unsure"].map(colour);
  const wide = canvas.width / scan.depth;
  context.fillStyle = ground;
  context.fillRect(0, 0, canvas.width, canvas.height);
  scan.organs.forEach(({ value }, place) => {
    for (let u = 0; u < scan.depth; u += 1) {
      const [x, y, w, h] = [u * wide, place * row + 1, Math.max(1, wide - (wide > 4 ? 1 : 0)), row - 2];
      drawCell(context, scan, u, value, { x, y, w, h, css: css[value], unsure, text, ratio });
    }
  });
  for (const u of scan.locked) hatch(context, u * wide, wide, canvas.height, text, ratio);
  const place = scan.organs.findIndex(({ value }) => value === organ);
  context.strokeStyle = text;
  context.lineWidth = 2 * ratio;
  context.strokeRect(t * wide, ratio, Math.max(wide, 3 * ratio), canvas.height - 2 * ratio);
  if (place >= 0) context.strokeRect(t * wide, place * row + ratio, Math.max(wide, 3 * ratio), row - 2 * ratio);
}

function drawCell(context, scan, t, value, { x, y, w, h, css, unsure, text, ratio }) {
  const prompt = scan.prompts[t][value];
  if (scan.has(t, value)) {
    context.globalAlpha = 0.35 + 0.65 * (prompt?.presence ?? 1);
    context.fillStyle = css;
    context.fillRect(x, y, w, h);
    context.globalAlpha = 1;
  }
  const sureness = scan.sureness(t, value);
  if (sureness !== null && sureness < UNSURE) {
    context.fillStyle = unsure;
    context.fillRect(x, y + h - Math.max(3 * ratio, h / 4), w, Math.max(3 * ratio, h / 4));
  }
  if (prompt?.source === "given") {
    const size = Math.min(h * 0.3, Math.max(w * 0.45, 3 * ratio));
    context.beginPath();
    context.moveTo(x + w / 2, y + h / 2 - size);
    context.lineTo(x + w / 2 + size, y + h / 2);
    context.lineTo(x + w / 2, y + h / 2 + size);
    context.lineTo(x + w / 2 - size, y + h / 2);
    context.closePath();
    context.fillStyle = "#fff";
    context.strokeStyle = "#000";
    context.lineWidth = 1.2 * ratio;
    context.fill();
    context.stroke();
  }
}

function hatch(context, x, wide, high, colour, ratio) {
  context.save();
  context.beginPath();
  context.rect(x, 0, Math.max(wide, 2), high);
  context.clip();
  context.globalAlpha = 0.6;
  context.strokeStyle = colour;
  context.lineWidth = ratio;
  context.beginPath();
  for (let y = -wide; y < high + wide; y += 5 * ratio) {
    context.moveTo(x, y + wide);
    context.lineTo(x + wide, y);
  }
  context.stroke();
  context.restore();
}

// A canvas does not know light-dark(); the browser resolves it where it is used as a colour.
function resolved(element, colour) {
  element.style.color = colour;
  return getComputedStyle(element).color;
}
