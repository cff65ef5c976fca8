import { changeOf, type Change } from "./changes.js";
import { ApiError } from "./errors.js";
import type { Access, ChangesPage } from "./types.js";

export interface Options {
  /** The address of a web process, such as http://127.0.0.1:8000. */
  url: string;
  /** API_TOKEN of the daemon. */
  token: string;
  /** Milliseconds, 10,000 by default. The daemon waits up to 2 seconds for Stripe; after that `stale` is true. */
  timeout?: number;
  /** Another fetch, for tests. */
  fetch?: typeof globalThis.fetch;
}

/** The HTTP API. Every method rejects with an ApiError. */
export class StripeSync {
  readonly #options: Options;

  constructor(options: Options) {
    this.#options = options;
  }

  /** Return a user's access. If Stripe did not confirm it within the last `maxAge` seconds (60), `stale` is true. */
  async access(userId: string, options: { maxAge?: number } = {}): Promise<Access> {
    const query = options.maxAge === undefined ? "" : `?max_age=${options.maxAge}`;
    return this.#send<Access>("GET", `/v1/users/${encodeURIComponent(userId)}/access${query}`);
  }

  /** Read the user's subscriptions and the Checkout session from Stripe now, and return the resulting access. */
  async sync(userId: string, options: { checkoutSession?: string } = {}): Promise<Access> {
    const body = options.checkoutSession === undefined ? {} : { checkout_session: options.checkoutSession };
    return this.#send<Access>("POST", `/v1/users/${encodeURIComponent(userId)}/sync`, body);
  }

  /** Yield all changes after this id, oldest first. `pageSize` is the number of changes per request. */
  async *changes(options: { after?: number; pageSize?: number } = {}): AsyncGenerator<Change, void, undefined> {
    let { after = 0 } = options;
    for (;;) {
      const page = await this.#send<ChangesPage>("GET", `/v1/changes?after=${after}&limit=${options.pageSize ?? 100}`);
      for (const each of page.data) {
        after = each.id;
        yield changeOf(each, after, each.user_id);
      }
      if (!page.has_more) return;
    }
  }

  async #send<T>(method: string, path: string, body?: unknown): Promise<T> {
    const { url, token, timeout = 10_000, fetch = globalThis.fetch } = this.#options;
    let answer: Response;
    let content: unknown;
    try {
      answer = await fetch(new URL(path, url), {
        method,
        headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(timeout),
      });
      content = await answer.json().catch(() => null);
    } catch (error) {
      throw new ApiError(0, "unavailable", `stripe-sync does not answer (${(error as Error).name})`);
    }
    if (answer.ok && content !== null) return content as T;
    const known = (content ?? {}) as { code?: string; message?: string };
    throw new ApiError(answer.status, known.code ?? "error", known.message ?? `stripe-sync answered ${answer.status}`);
  }
}
