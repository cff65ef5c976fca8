/** Verify requests to CHANGES_URL, which stripe-sync signs as Standard Webhooks, with Web Crypto. */

/** A change of one user. `before` and `after` hold role, membership_status, stripe_product_id, features and tokens. */
export interface Change {
  id: number;
  type: string;
  timestamp: string;
  userId: string;
  before: Record<string, unknown>;
  after: Record<string, unknown>;
  reason: unknown;
}

/** The request is not signed with the secret, or it is too old. Answer it with status 400. */
export class InvalidSignature extends Error {
  override name = "InvalidSignature";
}

const TOLERANCE_SECONDS = 300;

/**
 * Return the change in a request to CHANGES_URL. `body` is the raw body. `secret` is CHANGES_SECRET: one secret, or several
 * separated by commas. A change may arrive more than once, so remember its id. Rejects with InvalidSignature.
 */
export async function verifyChange(
  body: string,
  headers: Headers | Record<string, string | undefined>,
  secret: string,
  now: number = Date.now(),
): Promise<Change> {
  const given = headers instanceof Headers ? headers : new Headers(withoutUndefined(headers));
  const id = given.get("webhook-id");
  const timestamp = given.get("webhook-timestamp");
  const signatures = given.get("webhook-signature");
  if (id === null || timestamp === null || signatures === null) throw new InvalidSignature("a header is missing");
  if (!(Math.abs(now / 1000 - Number(timestamp)) <= TOLERANCE_SECONDS)) throw new InvalidSignature("the request is too old");
  const content = new TextEncoder().encode(`${id}.${timestamp}.${body}`);
  for (const each of secret.split(",")) {
    const raw = decode(each.trim().replace(/^whsec_/, ""));
    const key = raw && (await crypto.subtle.importKey("raw", raw, { name: "HMAC", hash: "SHA-256" }, false, ["verify"]));
    if (!key) continue;
    for (const signature of signatures.split(" ")) {
      const [version, value] = signature.split(",");
      const bytes = version === "v1" && value ? decode(value) : null;
      // Web Crypto compares in constant time.
      if (bytes && (await crypto.subtle.verify("HMAC", key, bytes, content))) {
        const call = JSON.parse(body);
        return changeOf(call, Number(id), call.data.user_id);
      }
    }
  }
  throw new InvalidSignature("no secret matches the signature");
}

/** Return the change in an answer of the API, or in a request to CHANGES_URL. */
export function changeOf(content: Content, id: number, userId: string): Change {
  const { type, timestamp, data } = content;
  return { id, type, timestamp, userId, before: data.before, after: data.after, reason: data.reason };
}

interface Content {
  type: string;
  timestamp: string;
  data: { before: Record<string, unknown>; after: Record<string, unknown>; reason: unknown };
}

function decode(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    return null;
  }
}

function withoutUndefined(headers: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).filter((entry): entry is [string, string] => entry[1] !== undefined));
}
