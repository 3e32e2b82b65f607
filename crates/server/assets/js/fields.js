// What makes fields handier: showing what is typed into a secret one, a file in place of a paste, fields that only
// some choices have, and hints before the form is sent. The server checks everything anyway.
import { icon, say, word } from "./words.js";

function button(text, symbol) {
  const made = document.createElement("button");
  made.type = "button";
  made.classList.add("button", "slim");
  const label = document.createElement("span");
  label.className = "word";
  label.textContent = text;
  made.append(icon(symbol), label);
  return made;
}

function revealing(input) {
  const name = document.querySelector(`label[for="${CSS.escape(input.id)}"]`)?.firstChild?.textContent.trim() ?? "";
  const show = button(word("show"), "eye");
  const away = document.createElement("span");
  away.className = "away";
  away.textContent = ` ${name}`;
  show.append(away);
  show.setAttribute("aria-pressed", "false");
  const row = document.createElement("div");
  row.className = "with-button";
  input.before(row);
  // Whoever types already goes on typing: a field that is moved loses the focus.
  const typing = document.activeElement === input;
  const marked = [input.selectionStart, input.selectionEnd];
  row.append(input, show);
  if (typing) {
    input.focus();
    input.setSelectionRange(...marked);
  }
  show.addEventListener("click", () => {
    const shown = input.type === "text";
    input.type = shown ? "password" : "text";
    show.setAttribute("aria-pressed", String(!shown));
    show.querySelector(".word").textContent = word(shown ? "show" : "hide");
  });
}

/** Text files up to the size that a value may have. */
const LARGEST = 64 * 1024;

function dropping(drop) {
  const area = drop.querySelector("textarea");
  const file = document.createElement("input");
  file.type = "file";
  file.hidden = true;
  const choose = button(word("file"), "upload");
  choose.addEventListener("click", () => file.click());
  drop.append(file, choose);
  const error = document.getElementById(`${area.id}-error`);
  const take = async (one) => {
    if (!one) return;
    const text = one.size > LARGEST ? word("fileTooLarge") : "";
    if (error) error.textContent = text;
    area.removeAttribute("aria-invalid");
    if (text) {
      area.setAttribute("aria-invalid", "true");
      // The same file may be chosen once more, after a change.
      file.value = "";
      say(text);
      return;
    }
    area.value = await one.text();
    area.dispatchEvent(new Event("change", { bubbles: true }));
    area.focus();
  };
  file.addEventListener("change", () => take(file.files[0]));
  const over = (on) => (event) => {
    if (![...(event.dataTransfer?.types ?? [])].includes("Files")) return;
    event.preventDefault();
    drop.classList.toggle("over", on);
  };
  drop.addEventListener("dragover", over(true));
  drop.addEventListener("dragleave", over(false));
  drop.addEventListener("drop", (event) => {
    over(false)(event);
    take(event.dataTransfer?.files[0]);
  });
}

function valueOf(form, name) {
  const found = form.elements.namedItem(name);
  if (!found) return null;
  if (found instanceof HTMLInputElement && found.type === "checkbox") return String(found.checked);
  return found.value;
}

/** `data-when` holds {name: [values]}: all of them have to fit. */
function conditions(form) {
  const dependent = [...form.querySelectorAll("[data-when]")].map((field) => [field, JSON.parse(field.dataset.when)]);
  const look = () => {
    for (const [field, when] of dependent) {
      const fits = Object.entries(when).every(([name, values]) => {
        const value = valueOf(form, name);
        return value === null || values.includes(value);
      });
      field.hidden = !fits;
      for (const input of field.querySelectorAll("input, select, textarea")) input.disabled = !fits;
      const note = field.querySelector(".when");
      if (note) note.hidden = true;
    }
  };
  form.addEventListener("change", look);
  look();
}

function hint(input) {
  const error = document.getElementById(`${input.id}-error`);
  if (!error) return;
  const mismatch = input.value !== "" && !input.value.includes("{{") && !input.checkValidity();
  if (mismatch) {
    error.textContent = input.dataset.hint || input.validationMessage;
    input.setAttribute("aria-invalid", "true");
  } else {
    error.replaceChildren();
    input.removeAttribute("aria-invalid");
  }
}

export function start() {
  document.querySelectorAll("input[data-secret]").forEach(revealing);
  document.querySelectorAll(".drop").forEach(dropping);
  const forms = new Set([...document.querySelectorAll("[data-when]")].map((field) => field.closest("form")));
  forms.forEach(conditions);
  document.addEventListener("change", (event) => {
    if (event.target.matches?.("[data-hint]")) hint(event.target);
  });
}
