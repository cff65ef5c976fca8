import { bigint, pgTable } from "drizzle-orm/pg-core";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import * as tables from "stripe-sync-client/tables";

export const db = drizzle(new pg.Pool({ connectionString: process.env.DATABASE_URL }), { schema: tables });

/** The changes that the application has reacted to: schema.sql makes the table. */
export const handledChanges = pgTable("app_handled_changes", { id: bigint("id", { mode: "number" }).primaryKey() });
