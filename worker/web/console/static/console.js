// Parts of a page that refresh themselves listen for `refresh` on the body. A hidden page sends no requests.
"use strict";
setInterval(() => {
  if (document.visibilityState === "visible") document.body.dispatchEvent(new Event("refresh"));
}, 5000);
