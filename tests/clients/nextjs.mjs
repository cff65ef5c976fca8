// Call the Next.js example's route handlers and page as Next.js does, for a user who signs up, buys and spends.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import pg from "pg";
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";

const APP = process.env.APP_URL;
const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const mails = [];
console.log = (line) => mails.push(line);

const auth = await import("./app/api/auth/[...auth]/route.js");
const routes = {
  "/checkout": await import("./app/checkout/route.js"),
  "/exports": await import("./app/exports/route.js"),
  "/hooks/stripe-sync": await import("./app/hooks/stripe-sync/route.js"),
  "/welcome": await import("./app/welcome/route.js"),
};
const { default: Layout } = await import("./app/layout.js");
const { default: Members } = await import("./app/members/page.js");

/** A browser that keeps cookies and follows no redirect. */
function browser() {
  const cookies = new Map();
  return async (method, path, { body, headers = {} } = {}) => {
    const url = new URL(path, APP);
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    if (url.pathname === "/members") {
      globalThis.requested = new Headers({ cookie });
      return renderToStaticMarkup(createElement(Layout, null, await Members()));
    }
    const handlers = url.pathname.startsWith("/api/auth/") ? auth : routes[url.pathname];
    const answer = await handlers[method](new Request(url, { method, body, headers: { cookie, ...headers } }));
    for (const each of answer.headers.getSetCookie()) {
      const [, name, value] = /^([^=]+)=([^;]*)/.exec(each);
      cookies.set(name, value);
    }
    return answer;
  };
}

async function signUp(email) {
  const send = browser();
  assert.equal((await send("POST", "/exports")).status, 401);
  const { csrfToken } = await (await send("GET", "/api/auth/csrf")).json();
  await send("POST", "/api/auth/signin/email", { body: new URLSearchParams({ csrfToken, email }) });
  const [link] = mails.filter((mail) => mail.startsWith(`mail to ${email}: sign in at `)).map((mail) => mail.split(" ").pop());
  assert.equal((await send("GET", link)).status, 302);
  return send;
}

const query = async (text, values) => (await pool.query(text, values)).rows[0];
const stripe = async (path, options = {}) =>
  (await fetch(process.env.STRIPE_API_BASE + path, { ...options, headers: { authorization: `Bearer ${process.env.STRIPE_SECRET_KEY}` } })).json();

await pool.query(process.env.SCHEMA);
const jenny = await signUp("jenny@next.test");
const john = await signUp("john@next.test");
const user = await query("select id, email_verified from users where email = 'jenny@next.test'");
assert(user.email_verified);
assert.equal((await jenny("POST", "/exports")).status, 403);

const checkout = await jenny("POST", "/checkout");
assert.equal(checkout.status, 303);
const id = checkout.headers.get("location").split("/").pop();
const session = await stripe(`/v1/checkout/sessions/${id}`);
assert.equal(session.client_reference_id, user.id);
await stripe("/_sandbox/stories/complete_checkout", { method: "POST", body: JSON.stringify({ session: id }) });
const back = session.success_url.replace("{CHECKOUT_SESSION_ID}", id);
assert.equal((await john("GET", back)).status, 403);
const welcome = await jenny("GET", back);
assert.deepEqual([welcome.status, welcome.headers.get("location")], [303, `${APP}/members`]);
assert.equal((await query("select role from users where id = $1", [user.id])).role, "PREMIUM");

const page = (text) => `<html lang="en"><head></head><body>${text}</body></html>`;
await assert.rejects(browser()("GET", "/members"), { message: "redirect to /api/auth/signin" });
assert.equal(await jenny("GET", "/members"), page("<h1>Hello, jenny@next.test</h1>"));
const form = '<form action="/checkout" method="post">This page is for members. <button>Become one</button></form>';
assert.equal(await john("GET", "/members"), page(form));

const exported = await jenny("POST", "/exports");
assert.deepEqual([exported.status, await exported.json()], [200, { tokens: 4990 }]);
await query("update users set tokens = 9 where id = $1", [user.id]);
assert.equal((await jenny("POST", "/exports")).status, 402);

const timestamp = String(Math.floor(Date.now() / 1000));
const data = { user_id: user.id, before: {}, after: {}, reason: "nothing_entitles" };
const body = JSON.stringify({ type: "access.revoked", timestamp: new Date().toISOString(), data });
const key = Buffer.from(process.env.CHANGES_SECRET.replace("whsec_", ""), "base64");
const signature = `v1,${createHmac("sha256", key).update(`4712.${timestamp}.${body}`).digest("base64")}`;
const headers = { "webhook-id": "4712", "webhook-timestamp": timestamp, "webhook-signature": signature };
const call = async (sent) => (await browser()("POST", "/hooks/stripe-sync", { body: sent, headers })).status;
assert.deepEqual([await call(body), await call(body)], [204, 204]);
assert.equal(await call(body.replace("revoked", "granted")), 400);
assert.deepEqual(mails.filter((mail) => mail.startsWith(`mail to user ${user.id}`)), [`mail to user ${user.id}: access.revoked`]);
process.stdout.write("all of it works\n", () => process.exit());
