// What goes on while one looks: a device flow that is finished on another screen, the trail as it grows.

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

export function start() {
  for (const section of document.querySelectorAll('[data-follow="device"]')) device(section);
}
