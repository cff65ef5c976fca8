// An application that uses Auth.js' adapter and its own queries on the tables that stripe-sync migrates.
import assert from "node:assert/strict";
import type { AdapterAccount } from "@auth/core/adapters";
import { DrizzleAdapter } from "@auth/drizzle-adapter";
import { eq } from "drizzle-orm";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import * as tables from "./tables.js";

const { authTables, users } = tables;

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL });
const db = drizzle(pool, { schema: tables });
const adapter = DrizzleAdapter(db, authTables);
const soon = new Date("2099-01-01T12:30:00.000Z");
const later = new Date("2099-02-03T04:05:06.000Z");

// Auth.js declares every method as optional. The application may only call a method that this adapter has.
function method<Name extends keyof typeof adapter>(name: Name): NonNullable<(typeof adapter)[Name]> {
  const found = adapter[name];
  assert(found, `the adapter has no ${name}`);
  return found;
}

async function usersAreKept(): Promise<string> {
  const made = await method("createUser")({
    id: "chosen-by-the-adapter",
    email: "jenny@example.com",
    name: "Jenny",
    emailVerified: null,
    image: null,
  });
  assert.equal(made.email, "jenny@example.com");
  assert.deepEqual((await method("getUser")(made.id))?.name, "Jenny");
  assert.equal((await method("getUserByEmail")("jenny@example.com"))?.id, made.id);
  assert.equal(await method("getUserByEmail")("nobody@example.com"), null);
  const changed = await method("updateUser")({ id: made.id, emailVerified: soon, image: "https://example.com/a.png" });
  assert.deepEqual(changed.emailVerified, soon);
  assert.equal(changed.name, "Jenny");
  return made.id;
}

async function accountsAreKept(userId: string): Promise<void> {
  const account: AdapterAccount = {
    userId,
    type: "oidc",
    provider: "google",
    providerAccountId: "1234567890",
    refresh_token: "refresh",
    access_token: "access",
    expires_at: 1_900_000_000,
    token_type: "bearer",
    scope: "openid email",
    id_token: "eyJ",
    session_state: "",
  };
  await method("linkAccount")(account);
  const byAccount = await method("getUserByAccount")({ provider: "google", providerAccountId: "1234567890" });
  assert.equal(byAccount?.id, userId);
  const read = await method("getAccount")("1234567890", "google");
  assert.equal(read?.expires_at, 1_900_000_000);
  assert.equal(read?.refresh_token, "refresh");
  await assert.rejects(async () => method("linkAccount")(account), "an account is linked once");
  await method("unlinkAccount")({ provider: "google", providerAccountId: "1234567890" });
  assert.equal(await method("getUserByAccount")({ provider: "google", providerAccountId: "1234567890" }), null);
  await method("linkAccount")(account);
}

async function sessionsAreKept(userId: string): Promise<void> {
  const session = await method("createSession")({ sessionToken: "token-1", userId, expires: soon });
  assert.deepEqual(session.expires, soon);
  const found = await method("getSessionAndUser")("token-1");
  assert.equal(found?.user.email, "jenny@example.com");
  assert.deepEqual(found?.session.expires, soon);
  const prolonged = await method("updateSession")({ sessionToken: "token-1", expires: later });
  assert.deepEqual(prolonged?.expires, later);
  await method("deleteSession")("token-1");
  assert.equal(await method("getSessionAndUser")("token-1"), null);
  await method("createSession")({ sessionToken: "token-2", userId, expires: soon });
}

async function verificationTokensAreUsedOnce(): Promise<void> {
  const token = { identifier: "jenny@example.com", token: "hash", expires: soon };
  await method("createVerificationToken")(token);
  const used = await method("useVerificationToken")({ identifier: "jenny@example.com", token: "hash" });
  assert.deepEqual(used?.expires, soon);
  assert.equal(await method("useVerificationToken")({ identifier: "jenny@example.com", token: "hash" }), null);
}

async function membershipIsRead(userId: string): Promise<void> {
  await db.insert(tables.organizations).values({ id: "org", name: "Org" });
  await db.insert(tables.stripeProducts).values({ id: "prod", name: "Pro", metadata: { tokens: "5" } });
  await db.insert(tables.stripePrices).values({ id: "price", productId: "prod", unitAmount: 9_000_000_000 });
  await db.insert(tables.stripeCustomers).values({ userId, stripeCustomerId: "cus" });
  await db.insert(tables.userSubscriptions).values({
    userId,
    stripeCustomerId: "cus",
    stripeSubscriptionId: "sub",
    stripePriceId: "price",
    stripeProductId: "prod",
    status: "active",
  });
  await db.insert(tables.paymentHistory).values({
    userId,
    stripePaymentIntentId: "pi",
    amount: 9_000_000_000,
    currency: "eur",
    status: "succeeded",
    stripeProductId: "prod",
  });
  await db.update(users).set({ organizationId: "org", role: "PREMIUM" }).where(eq(users.id, userId));

  const user = await db.query.users.findFirst({
    where: eq(users.id, userId),
    with: {
      organization: true,
      customer: true,
      payments: true,
      accounts: true,
      sessions: true,
      subscriptions: { with: { price: { with: { product: true } } } },
    },
  });

  assert(user);
  assert.equal(user.role, "PREMIUM");
  assert.equal(user.membershipStatus, "ACTIVE");
  assert.equal(user.tokens, 0);
  assert.equal(user.organization?.name, "Org");
  assert.equal(user.customer?.stripeCustomerId, "cus");
  assert.equal(user.payments[0]?.amount, 9_000_000_000);
  assert.equal(user.accounts.length, 1);
  assert.equal(user.sessions.length, 1);
  assert.deepEqual(user.subscriptions[0]?.price?.product?.metadata, { tokens: "5" });
  assert(user.updatedAt >= user.createdAt);
}

async function aDeletedUserLeavesNothing(userId: string): Promise<void> {
  await method("deleteUser")(userId);
  assert.equal(await method("getUser")(userId), null);
  assert.equal((await db.select().from(tables.accounts)).length, 0);
  assert.equal((await db.select().from(tables.sessions)).length, 0);
  assert.equal((await db.select().from(tables.userSubscriptions)).length, 0);
}

try {
  const userId = await usersAreKept();
  await accountsAreKept(userId);
  await sessionsAreKept(userId);
  await verificationTokensAreUsedOnce();
  await membershipIsRead(userId);
  await aDeletedUserLeavesNothing(userId);
  console.log("all of it works");
} finally {
  await pool.end();
}
