/** A client of stripe-sync: read a user's access, features and tokens, and verify the requests that report a change. */

export { StripeSync, type Options } from "./client.js";
export { ApiError } from "./errors.js";
export { InvalidSignature, verifyChange, type Change } from "./changes.js";
export type { Access, Product, Subscription } from "./types.js";
