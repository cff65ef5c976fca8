/** A request failed. `status` is the HTTP status, or 0 without an answer. `code` is for programs, the message for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** Whether the daemon or its database is unavailable. If so, try again later, or read the tables. */
  get isUnavailable(): boolean {
    return this.status === 0 || (this.status >= 502 && this.status <= 504);
  }
}
