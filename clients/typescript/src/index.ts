/** A client of stripe-sync: a user's access, features and tokens, and calls about changes of them. */

export { StripeSync, type Options } from "./client.js";
export { ApiError } from "./errors.js";
export { InvalidSignature, verifyChange, type Change } from "./changes.js";
export type { Access, Product, Subscription } from "./types.js";
