// Help, and the questions before a file is written.

import { byId, make } from "./dom.js";
import { KEYS, MOUSE } from "./keys.js";

const FORMATS = [
  [".nii.gz", "NIfTI (.nii.gz)", true],
  [".seg.nrrd", "3D Slicer segmentation (.seg.nrrd)", false],
  [".seg.dcm", "DICOM SEG (.seg.dcm), for a scan in DICOM", false],
  [".prompts.json", "Prompts (.prompts.json)", true],
];

export function showHelp() {
  const groups = [...KEYS, MOUSE].map(([title, rows]) => make("div", {}, make("h3", {}, title),
    make("dl", {}, ...rows.flatMap(([keys, text]) => [make("dt", {}, make("kbd", {}, keys)), make("dd", {}, text)]))));
  byId("help-keys").replaceChildren(...groups);
  byId("help").showModal();
}

/** Return the endings that a person wants; none if they cancel. */
export async function askSave() {
  const box = byId("save-formats");
  if (!box.children.length) {
    box.append(...FORMATS.map(([ending, text, checked]) => make("label", { className: "check" },
      make("input", { type: "checkbox", value: ending, checked }), text)));
  }
  const answer = await ask("save");
  return answer === "save" ? [...box.querySelectorAll("input:checked")].map((input) => input.value) : [];
}

/** Return whether a file that something else wrote may be replaced. */
export async function askReplace(message) {
  byId("replace-text").textContent = message;
  return await ask("replace") === "replace";
}

function ask(id) {
  const dialog = byId(id);
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}
