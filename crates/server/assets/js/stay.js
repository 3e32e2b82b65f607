// Forms that stay: they are sent in the background, so that what was typed is still there when something is wrong.
// That matters most for secrets, which the server never sends back to a page.
import { localTimes } from "./times.js";
import { say, word } from "./words.js";

function busy(form, button, on) {
  for (const one of form.querySelectorAll("button[type=submit], button:not([type])")) one.disabled = on;
  if (button) button.setAttribute("aria-busy", String(on));
  form.setAttribute("aria-busy", String(on));
  const progress = form.querySelector("[data-progress]");
  // For a preview nobody is asked.
  if (!progress || button?.value === "preview") return;
  progress.hidden = !on;
  clearInterval(form.clock);
  if (!on) return;
  const began = Date.now();
  const seconds = progress.querySelector("[data-seconds]");
  const tell = () => { if (seconds) seconds.textContent = String(Math.round((Date.now() - began) / 1000)); };
  tell();
  form.clock = setInterval(tell, 1000);
  say(progress.textContent.trim());
}

/** Takes over what the server's page says of the fields, and leaves what was typed. */
function adopt(page, form) {
  for (const old of document.querySelectorAll("[data-part]")) {
    const fresh = page.querySelector(`[data-part="${old.dataset.part}"]`);
    if (fresh) old.replaceWith(document.adoptNode(fresh));
  }
  for (const error of form.querySelectorAll(".field .error[id]")) {
    const fresh = page.getElementById(error.id);
    error.replaceChildren(...(fresh?.childNodes ?? []));
    const wrong = error.childNodes.length > 0;
    for (const input of form.querySelectorAll(`[aria-describedby~="${error.id}"]`)) {
      if (wrong) input.setAttribute("aria-invalid", "true");
      else input.removeAttribute("aria-invalid");
    }
  }
  localTimes(document);
  const focus = document.querySelector("[data-part] [data-focus]");
  if (!focus) return;
  focus.focus({ preventScroll: true });
  // What is longer than the window, as on a phone, is read from its beginning.
  const { top, bottom } = focus.getBoundingClientRect();
  if (top < 0 || bottom > innerHeight) focus.scrollIntoView({ block: "start" });
}

/** What the server did not say itself. */
function tell(form, text) {
  const place = form.querySelector("[data-trouble]");
  if (place) {
    place.hidden = text === "";
    place.textContent = text;
  }
  if (text) say(text);
}

async function send(form, button) {
  const to = button?.hasAttribute("formaction") ? button.formAction : form.action;
  const answer = await fetch(to, {
    method: "POST",
    body: new URLSearchParams(new FormData(form, button)),
    headers: { "Latchstring-Form": "stay", Accept: "text/html" },
  });
  const go = answer.headers.get("Latchstring-Go");
  if (go) {
    location.assign(go);
    return false;
  }
  if (answer.redirected) {
    tell(form, word("signedOut"));
    return true;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  if (!page.querySelector("[data-part]")) {
    tell(form, page.querySelector("main")?.innerText.trim() || word("failed"));
    return true;
  }
  document.title = page.title;
  adopt(page, form);
  return true;
}

export function start() {
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches?.("form[data-stay]")) return;
    event.preventDefault();
    if (form.getAttribute("aria-busy") === "true") return;
    const button = event.submitter;
    const request = send(form, button);
    busy(form, button, true);
    tell(form, "");
    let stays = true;
    try {
      stays = await request;
    } catch {
      tell(form, word("failed"));
    }
    if (stays) busy(form, button, false);
  });
  // A page that comes back out of the browser's memory is not busy any more.
  addEventListener("pageshow", (event) => {
    if (!event.persisted) return;
    for (const form of document.querySelectorAll("form[data-stay]")) busy(form, null, false);
  });
}
