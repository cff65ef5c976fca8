// The application's tables that stripe-sync migrates. Generated, do not edit. To generate this file again:
//   stripe-sync db generate --types typescript --output THIS_FILE
// Use the definitions for queries only. Do not let drizzle-kit migrate these tables.
import { relations, sql } from "drizzle-orm";
import { bigint, boolean, index, integer, jsonb, pgEnum, pgTable, primaryKey, text, timestamp, unique } from "drizzle-orm/pg-core";

export const userRole = pgEnum("user_role", ["USER", "PREMIUM", "ADMIN", "BANNED"]);
export const membershipStatus = pgEnum("membership_status", ["ACTIVE", "INACTIVE", "CANCELED", "PAST_DUE"]);

export const organizations = pgTable("organizations", {
  id: text("id").primaryKey().default(sql`(gen_random_uuid())::text`),
  name: text("name").notNull(),
  createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
  updatedAt: timestamp("updated_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
});

export const stripeProducts = pgTable("stripe_products", {
  id: text("id").primaryKey().default(sql`(gen_random_uuid())::text`),
  name: text("name").notNull(),
  description: text("description"),
  active: boolean("active").notNull().default(true),
  metadata: jsonb("metadata").$type<Record<string, string>>().notNull().default(sql`'{}'::jsonb`),
  createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
  updatedAt: timestamp("updated_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
}, (table) => [
  index("ix_stripe_products_active").on(table.name).where(sql`active`),
]);

export const verificationTokens = pgTable("verification_tokens", {
  identifier: text("identifier").notNull(),
  token: text("token").notNull(),
  expires: timestamp("expires", { withTimezone: true, mode: "date" }).notNull(),
  createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
  updatedAt: timestamp("updated_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
}, (table) => [
  primaryKey({ name: "pk_verification_tokens", columns: [table.identifier, table.token] }),
]);

export const stripePrices = pgTable("stripe_prices", {
  id: text("id").primaryKey().default(sql`(gen_random_uuid())::text`),
  productId: text("product_id").notNull().references(() => stripeProducts.id, { onDelete: "cascade" }),
  active: boolean("active").notNull().default(true),
  currency: text("currency"),
  /** recurring or one_time */
  type: text("type"),
  /** null if tiers or decimals determine the amount */
  unitAmount: bigint("unit_amount", { mode: "number" }),
  interval: text("interval"),
  intervalCount: integer("interval_count"),
  trialPeriodDays: integer("trial_period_days"),
  metadata: jsonb("metadata").$type<Record<string, string>>().notNull().default(sql`'{}'::jsonb`),
  createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
  updatedAt: timestamp("updated_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
}, (table) => [
  index("ix_stripe_prices_product_id_active").on(table.productId, table.active),
]);

export const users = pgTable("users", {
  id: text("id").primaryKey().default(sql`(gen_random_uuid())::text`),
  email: text("email").unique("uq_users_email"),
  name: text("name"),
  emailVerified: timestamp("email_verified", { withTimezone: true, mode: "date" }),
  image: text("image"),
  role: userRole("role").notNull().default("USER"),
  organizationId: text("organization_id").references(() => organizations.id, { onDelete: "set null" }),
  stripeProductId: text("stripe_product_id").references(() => stripeProducts.id, { onDelete: "set null" }),
  membershipStatus: membershipStatus("membership_status").notNull().default("ACTIVE"),
  tokens: bigint("tokens", { mode: "number" }).notNull().default(0),
  tokensExpiresAt: timestamp("tokens_expires_at", { withTimezone: true, mode: "date" }),
  createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
  updatedAt: timestamp("updated_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
}, (table) => [
  index("ix_users_email_folded").on(sql`lower(email)`),
  index("ix_users_organization_id").on(table.organizationId),
  index("ix_users_role_membership_status").on(table.role, table.membershipStatus),
  index("ix_users_stripe_product_id").on(table.stripeProductId),
  index("ix_users_tokens_expiring").on(table.tokensExpiresAt).where(sql`tokens > 0`),
]);

export const accounts = pgTable("accounts", {
  id: text("id").primaryKey().default(sql`(gen_random_uuid())::text`),
  userId: text("user_id").notNull().references(() => users.id, { onDelete: "cascade" }),
  type: text("type").notNull(),
  provider: text("provider").notNull(),
  providerAccountId: text("provider_account_id").notNull(),
  refresh_token: text("refresh_token"),
  access_token: text("access_token"),
  /** unix seconds, as Auth.js expects */
  expires_at: integer("expires_at"),
  token_type: text("token_type"),
  scope: text("scope"),
  id_token: text("id_token"),
  session_state: text("session_state"),
  createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
  updatedAt: timestamp("updated_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
}, (table) => [
  unique("uq_accounts_provider_provider_account_id").on(table.provider, table.providerAccountId),
  index("ix_accounts_user_id").on(table.userId),
]);

export const paymentHistory = pgTable("payment_history", {
  id: text("id").primaryKey().default(sql`(gen_random_uuid())::text`),
  userId: text("user_id").notNull().references(() => users.id, { onDelete: "cascade" }),
  stripePaymentIntentId: text("stripe_payment_intent_id").notNull().unique("uq_payment_history_stripe_payment_intent_id"),
  amount: bigint("amount", { mode: "number" }).notNull(),
  currency: text("currency").notNull(),
  status: text("status").notNull(),
  stripeProductId: text("stripe_product_id").references(() => stripeProducts.id, { onDelete: "set null" }),
  description: text("description"),
  metadata: jsonb("metadata").$type<Record<string, string>>().notNull().default(sql`'{}'::jsonb`),
  createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
  updatedAt: timestamp("updated_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
}, (table) => [
  index("ix_payment_history_stripe_product_id").on(table.stripeProductId),
  index("ix_payment_history_user_id_created_at").on(table.userId, table.createdAt),
]);

export const sessions = pgTable("sessions", {
  id: text("id").primaryKey().default(sql`(gen_random_uuid())::text`),
  sessionToken: text("session_token").notNull().unique("uq_sessions_session_token"),
  userId: text("user_id").notNull().references(() => users.id, { onDelete: "cascade" }),
  expires: timestamp("expires", { withTimezone: true, mode: "date" }).notNull(),
  createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
  updatedAt: timestamp("updated_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
}, (table) => [
  index("ix_sessions_user_id").on(table.userId),
]);

export const stripeCustomers = pgTable("stripe_customers", {
  id: text("id").primaryKey().default(sql`(gen_random_uuid())::text`),
  userId: text("user_id").notNull().unique("uq_stripe_customers_user_id").references(() => users.id, { onDelete: "cascade" }),
  stripeCustomerId: text("stripe_customer_id").notNull().unique("uq_stripe_customers_stripe_customer_id"),
  createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
  updatedAt: timestamp("updated_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
});

export const userFeatures = pgTable("user_features", {
  userId: text("user_id").notNull().references(() => users.id, { onDelete: "cascade" }),
  /** the lookup key of Stripe's feature */
  feature: text("feature").notNull(),
  /** a subscription, an invoice or a Checkout session; or `override` */
  source: text("source").notNull(),
  /** when it ends by itself; null: no end is known */
  until: timestamp("until", { withTimezone: true, mode: "date" }),
}, (table) => [
  primaryKey({ name: "pk_user_features", columns: [table.userId, table.feature, table.source] }),
]);

export const userSubscriptions = pgTable("user_subscriptions", {
  id: text("id").primaryKey().default(sql`(gen_random_uuid())::text`),
  userId: text("user_id").notNull().references(() => users.id, { onDelete: "cascade" }),
  stripeCustomerId: text("stripe_customer_id").notNull(),
  stripeSubscriptionId: text("stripe_subscription_id").notNull().unique("uq_user_subscriptions_stripe_subscription_id"),
  stripePriceId: text("stripe_price_id").references(() => stripePrices.id, { onDelete: "set null" }),
  stripeProductId: text("stripe_product_id").references(() => stripeProducts.id, { onDelete: "set null" }),
  status: text("status").notNull(),
  currentPeriodStart: timestamp("current_period_start", { withTimezone: true, mode: "date" }),
  currentPeriodEnd: timestamp("current_period_end", { withTimezone: true, mode: "date" }),
  cancelAtPeriodEnd: boolean("cancel_at_period_end").notNull().default(false),
  canceledAt: timestamp("canceled_at", { withTimezone: true, mode: "date" }),
  trialStart: timestamp("trial_start", { withTimezone: true, mode: "date" }),
  trialEnd: timestamp("trial_end", { withTimezone: true, mode: "date" }),
  metadata: jsonb("metadata").$type<Record<string, string>>().notNull().default(sql`'{}'::jsonb`),
  createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
  updatedAt: timestamp("updated_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
}, (table) => [
  index("ix_user_subscriptions_status_current_period_end").on(table.status, table.currentPeriodEnd),
  index("ix_user_subscriptions_stripe_customer_id").on(table.stripeCustomerId),
  index("ix_user_subscriptions_stripe_price_id").on(table.stripePriceId),
  index("ix_user_subscriptions_stripe_product_id_status").on(table.stripeProductId, table.status),
  index("ix_user_subscriptions_user_id_status").on(table.userId, table.status),
]);

export const organizationsRelations = relations(organizations, ({ many }) => ({
  users: many(users),
}));

export const stripeProductsRelations = relations(stripeProducts, ({ many }) => ({
  prices: many(stripePrices),
  subscriptions: many(userSubscriptions),
  users: many(users),
}));

export const stripePricesRelations = relations(stripePrices, ({ one, many }) => ({
  product: one(stripeProducts, { fields: [stripePrices.productId], references: [stripeProducts.id] }),
  subscriptions: many(userSubscriptions),
}));

export const usersRelations = relations(users, ({ one, many }) => ({
  organization: one(organizations, { fields: [users.organizationId], references: [organizations.id] }),
  product: one(stripeProducts, { fields: [users.stripeProductId], references: [stripeProducts.id] }),
  customer: one(stripeCustomers),
  subscriptions: many(userSubscriptions),
  payments: many(paymentHistory),
  features: many(userFeatures),
  accounts: many(accounts),
  sessions: many(sessions),
}));

export const accountsRelations = relations(accounts, ({ one }) => ({
  user: one(users, { fields: [accounts.userId], references: [users.id] }),
}));

export const paymentHistoryRelations = relations(paymentHistory, ({ one }) => ({
  user: one(users, { fields: [paymentHistory.userId], references: [users.id] }),
  product: one(stripeProducts, { fields: [paymentHistory.stripeProductId], references: [stripeProducts.id] }),
}));

export const sessionsRelations = relations(sessions, ({ one }) => ({
  user: one(users, { fields: [sessions.userId], references: [users.id] }),
}));

export const stripeCustomersRelations = relations(stripeCustomers, ({ one }) => ({
  user: one(users, { fields: [stripeCustomers.userId], references: [users.id] }),
}));

export const userFeaturesRelations = relations(userFeatures, ({ one }) => ({
  user: one(users, { fields: [userFeatures.userId], references: [users.id] }),
}));

export const userSubscriptionsRelations = relations(userSubscriptions, ({ one }) => ({
  user: one(users, { fields: [userSubscriptions.userId], references: [users.id] }),
  price: one(stripePrices, { fields: [userSubscriptions.stripePriceId], references: [stripePrices.id] }),
  product: one(stripeProducts, { fields: [userSubscriptions.stripeProductId], references: [stripeProducts.id] }),
}));

/**
 * The tables for Auth.js: DrizzleAdapter(db, authTables). The adapter finds a session by its unique token, and expects the
 * token to be declared as the primary key.
 */
export const authTables = {
  usersTable: users,
  accountsTable: accounts,
  sessionsTable: pgTable("sessions", {
    id: text("id").notNull().default(sql`(gen_random_uuid())::text`),
    sessionToken: text("session_token").primaryKey().unique("uq_sessions_session_token"),
    userId: text("user_id").notNull().references(() => users.id, { onDelete: "cascade" }),
    expires: timestamp("expires", { withTimezone: true, mode: "date" }).notNull(),
    createdAt: timestamp("created_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
    updatedAt: timestamp("updated_at", { withTimezone: true, mode: "date" }).notNull().defaultNow(),
  }),
  verificationTokensTable: verificationTokens,
};
