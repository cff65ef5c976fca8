import { ApiError } from "stripe-sync-client";
import { signedIn } from "../../lib/auth.ts";
import { stripeSync } from "../../lib/stripe.ts";

/** Checkout returns here, often before its webhooks have arrived: read Stripe now. */
export async function GET(request: Request): Promise<Response> {
  const user = await signedIn(request.headers);
  if (!user) return new Response("Sign in first.", { status: 401 });
  const checkoutSession = new URL(request.url).searchParams.get("session_id") ?? "";
  try {
    await stripeSync.sync(user.id, { checkoutSession });
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.isUnavailable) return new Response("Thank you. Your access is on its way.", { status: 503 });
    return new Response("This Checkout session is not yours.", { status: 403 });
  }
  return Response.redirect(new URL("/members", process.env.APP_URL), 303);
}
