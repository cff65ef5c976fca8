// An application that uses the npm package. It syncs a user, reads, spends and verifies, and prints the results.
import { createHmac } from "node:crypto";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import { ApiError, InvalidSignature, StripeSync, verifyChange } from "stripe-sync-client";
import { consumeTokens, hasFeature, tokenBalance } from "stripe-sync-client/sql";
import { users } from "stripe-sync-client/tables";

const { STRIPE_SYNC_URL: url, STRIPE_SYNC_TOKEN: token, USER_ID: user } = process.env;
const client = new StripeSync({ url, token });
const after = await client.sync(user);
const access = await client.access(user, { maxAge: 3600 });
const errors = [];
for (const [options, id] of [[{ url, token }, "nobody"], [{ url, token: "wrong" }, user], [{ url: "http://127.0.0.1:9", token }, user]]) {
  await new StripeSync(options).access(id).catch((error) => errors.push([error instanceof ApiError, error.status, error.code]));
}

const changes = [];
for await (const change of client.changes({ pageSize: 1 })) if (change.userId === user) changes.push(change);
const first = changes.map((change) => change.id)[0];
const later = [];
for await (const change of client.changes({ after: first })) if (change.userId === user) later.push(change.type);

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const db = drizzle(pool);
const spent = [await consumeTokens(db, user, 10), await consumeTokens(db, user, 1_000_000_000)];
await db.transaction(async (tx) => spent.push(await consumeTokens(tx, user, 5)) && tx.rollback()).catch(() => {});
const balance = await tokenBalance(db, user);
const features = [await hasFeature(db, user, "export"), await hasFeature(db, user, "teleport")];
// With other drivers, Drizzle returns an array of rows. Imitate such a driver.
const rows = { execute: async (query) => (await db.execute(query)).rows };
features.push(await hasFeature(rows, user, "export"));
await pool.end();

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
    changes: changes.map(({ type }) => type),
    granted: changes.filter(({ type }) => type === "tokens.granted").map(({ before, after }) => [before.tokens, after.tokens]),
    later,
    spent,
    balance,
    features,
    change: [change.id, change.type, change.userId, change.after.tokens],
    refused,
    table: users.tokensExpiresAt.name,
  }),
);
