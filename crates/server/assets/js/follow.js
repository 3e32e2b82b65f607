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

/** Puts what is new on top of the trail, while the button is pressed: the server is asked for what lies behind the newest. */
function trail(button) {
  const list = document.getElementById("trail");
  let turn = 0;
  const look = async () => {
    const address = new URL(button.dataset.same, location.href);
    address.searchParams.set("after", list.dataset.newest);
    const answer = await fetch(address, { headers: { Accept: "text/html" } }).catch(() => null);
    if (!answer?.ok || answer.redirected) return 0;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("trail");
    if (!page) return 0;
    list.dataset.newest = page.dataset.newest;
    const fresh = [...page.children];
    if (!fresh.length) return 0;
    for (const line of fresh.reverse()) list.prepend(document.adoptNode(line));
    list.hidden = false;
    document.getElementById("trail-empty")?.remove();
    localTimes(list);
    return fresh.length;
  };
  button.hidden = false;
  button.addEventListener("click", async () => {
    const mine = ++turn;
    const following = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(following));
    button.querySelector(".word").textContent = following ? button.dataset.wordPause : button.dataset.wordFollow;
    while (following && turn === mine) {
      await pause((await look()) ? 200 : 2000);
    }
  });
}

export function start() {
  for (const section of document.querySelectorAll('[data-follow="device"]')) device(section);
  for (const button of document.querySelectorAll('[data-follow="audit"]')) trail(button);
}
