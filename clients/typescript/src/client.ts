import { changeOf, type Change } from "./changes.js";
import { ApiError } from "./errors.js";
import type { Access, ChangesPage } from "./types.js";

export interface Options {
  /** The address of a web process, such as http://127.0.0.1:8000. */
  url: string;
  /** API_TOKEN of the daemon. */
  token: string;
  /** Milliseconds; 10,000 by default. The daemon answers within 2 seconds, or says that the answer is stale. */
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

  /** A user's access, which Stripe has confirmed at most `maxAge` seconds ago (60 by default). */
  async access(userId: string, options: { maxAge?: number } = {}): Promise<Access> {
    const query = options.maxAge === undefined ? "" : `?max_age=${options.maxAge}`;
    return this.#send<Access>("GET", `/v1/users/${encodeURIComponent(userId)}/access${query}`);
  }

  /** Read the user's subscriptions from Stripe now, and the Checkout session; returns the access that follows. */
  async sync(userId: string, options: { checkoutSession?: string } = {}): Promise<Access> {
    const body = options.checkoutSession === undefined ? {} : { checkout_session: options.checkoutSession };
    return this.#send<Access>("POST", `/v1/users/${encodeURIComponent(userId)}/sync`, body);
  }

  /** Every change after this id, the oldest first, until there is none left. `pageSize` changes are read at a time. */
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
