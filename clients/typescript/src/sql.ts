/** The SQL functions of stripe-sync, for a database or a transaction of Drizzle, with any of its Postgres drivers. */

import { sql, type SQL } from "drizzle-orm";

/** A database, or a transaction. If the transaction is rolled back, nothing is spent. */
export interface Database {
  execute(query: SQL): PromiseLike<unknown>;
}

/** Spend a user's tokens if there are enough, and return whether they were spent. `tokens` must be more than 0. */
export async function consumeTokens(db: Database, userId: string, tokens: number): Promise<boolean> {
  return (await answer(db, sql`select consume_tokens(${userId}, ${tokens}) as answer`)) === true;
}

/** Return the tokens that a user can spend now. */
export async function tokenBalance(db: Database, userId: string): Promise<number> {
  return Number(await answer(db, sql`select token_balance(${userId}) as answer`));
}

/** Return whether a user has a feature. */
export async function hasFeature(db: Database, userId: string, feature: string): Promise<boolean> {
  return (await answer(db, sql`select has_feature(${userId}, ${feature}) as answer`)) === true;
}

async function answer(db: Database, query: SQL): Promise<unknown> {
  const result = await db.execute(query);
  // Some drivers return the rows. Others return an object that contains the rows.
  const rows = (Array.isArray(result) ? result : (result as { rows: unknown[] }).rows) as { answer: unknown }[];
  return rows[0]?.answer;
}
