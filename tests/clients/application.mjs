// An application of the npm package: it asks, syncs and verifies, and prints what it got.
import { createHmac } from "node:crypto";
import { ApiError, InvalidSignature, StripeSync, verifyChange } from "stripe-sync-client";
import { users } from "stripe-sync-client/tables";

const { STRIPE_SYNC_URL: url, STRIPE_SYNC_TOKEN: token, USER_ID: user } = process.env;
const client = new StripeSync({ url, token });
const after = await client.sync(user);
const access = await client.access(user, { maxAge: 3600 });
const errors = [];
for (const [options, id] of [[{ url, token }, "nobody"], [{ url, token: "wrong" }, user], [{ url: "http://127.0.0.1:9", token }, user]]) {
  await new StripeSync(options).access(id).catch((error) => errors.push([error instanceof ApiError, error.status, error.code]));
}

const secret = Buffer.from("a secret of thirty-two bytes or more").toString("base64");
const timestamp = String(Math.floor(Date.now() / 1000));
const data = { user_id: user, before: { tokens: 0 }, after: { tokens: 10 }, reason: "entitled" };
const body = JSON.stringify({ type: "tokens.granted", timestamp: new Date().toISOString(), data });
const signature = createHmac("sha256", Buffer.from(secret, "base64")).update(`7.${timestamp}.${body}`).digest("base64");
const headers = { "webhook-id": "7", "webhook-timestamp": timestamp, "webhook-signature": `v1,${signature}` };
const secrets = `whsec_${Buffer.from("another").toString("base64")},whsec_${secret}`;
const change = await verifyChange(body, headers, secrets);
const refused = [];
for (const [sent, now] of [[body.replace("10", "99"), Date.now()], [body, Date.now() + 600_000]]) {
  await verifyChange(sent, headers, secrets, now).catch((error) => refused.push(error instanceof InvalidSignature));
}
console.log(
  JSON.stringify({
    access: [after.has_access, access.role, access.tokens, access.stale, access.subscription.status],
    errors,
    change: [change.id, change.type, change.userId, change.after.tokens],
    refused,
    table: users.tokensExpiresAt.name,
  }),
);
