/** A request failed. `status` is the HTTP status (0: no answer), `code` is for programs, the message for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
    this.name = "ApiError";
  }

  /** Whether the daemon or its database is unavailable: try again later, or read the tables. */
  get isUnavailable(): boolean {
    return this.status === 0 || (this.status >= 502 && this.status <= 504);
  }
}
