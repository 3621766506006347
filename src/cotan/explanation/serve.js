"use strict";
(() => {
  const frame = document.querySelector("iframe");
  let known = null;
  const ask = async () => {
    try {
      const version = await (await fetch("/version")).text();
      if (known !== null && version !== known) frame.contentWindow.location.reload();
      known = version;
    } catch { /* the server is gone, or not yet back */ }
    setTimeout(ask, 700);
  };
  ask();
})();
