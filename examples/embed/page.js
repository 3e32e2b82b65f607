const home = document.querySelector("script[data-latchstring]").dataset.latchstring;
const { connect } = await import(`${home}/connect.js`);
const result = document.getElementById("result");

document.getElementById("connect").addEventListener("click", async () => {
  result.textContent = "Waiting for the window…";
  try {
    // The window opens with the click; where it goes comes from this product's own server.
    const connected = await connect(
      fetch("/connect", { method: "POST" }).then(async (answer) => {
        const text = await answer.text();
        if (!answer.ok) throw new Error(text);
        return text;
      }),
    );
    result.textContent = `Connected: ${connected.connector}, ${connected.credential}`;
  } catch (error) {
    result.textContent = error.message;
  }
});
