// What goes on while one looks: a device flow that is finished on another screen, the trail as it grows.
import { localTimes } from "./times.js";

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** Goes on as soon as the person has entered the code elsewhere. */
async function device(section) {
  const { credential, environment, to } = section.dataset;
  for (;;) {
    await pause(3000);
    const answer = await fetch(`/api/v1/credentials/${encodeURIComponent(credential)}`).catch(() => null);
    if (!answer?.ok) continue;
    const state = (await answer.json()).environments?.[environment]?.authorization?.state;
    if (state === "done" || state === "failed") {
      location.assign(to);
      return;
    }
  }
}

/** Puts what is new on top of the trail, while the button is pressed. */
async function trail(button) {
  button.hidden = false;
  let following = false;
  button.addEventListener("click", async () => {
    following = !following;
    button.setAttribute("aria-pressed", String(following));
    button.querySelector(".word").textContent = following ? button.dataset.wordPause : button.dataset.wordFollow;
    while (following) {
      await pause(2000);
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
      if (!answer?.ok || answer.redirected) continue;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const list = document.getElementById("trail");
      const known = Number(list?.firstElementChild?.dataset.seq ?? 0);
      const fresh = [...page.querySelectorAll("#trail > li")].filter((line) => Number(line.dataset.seq) > known);
      for (const line of fresh.reverse()) list.prepend(document.adoptNode(line));
      if (fresh.length) localTimes(list);
    }
  });
}

export function start() {
  for (const section of document.querySelectorAll('[data-follow="device"]')) device(section);
  for (const button of document.querySelectorAll('[data-follow="audit"]')) trail(button);
}
