// Parts of a page that refresh themselves listen for `refresh` on the body; nothing is asked while the page is hidden.
"use strict";
setInterval(() => {
  if (document.visibilityState === "visible") document.body.dispatchEvent(new Event("refresh"));
}, 5000);
