import { eq } from "drizzle-orm";
import { stripeCustomers } from "stripe-sync-client/tables";
import { signedIn } from "../../lib/auth.ts";
import { db } from "../../lib/db.ts";
import { stripe } from "../../lib/stripe.ts";

export async function POST(request: Request): Promise<Response> {
  const user = await signedIn(request.headers);
  if (!user) return new Response("Sign up first.", { status: 401 });
  const customer = await db.query.stripeCustomers.findFirst({ where: eq(stripeCustomers.userId, user.id) });
  const session = await stripe.checkout.sessions.create({
    mode: "subscription",
    line_items: [{ price: process.env.PRICE_ID!, quantity: 1 }],
    client_reference_id: user.id, // links the customer to the user
    ...(customer ? { customer: customer.stripeCustomerId } : { customer_email: user.email! }),
    success_url: `${process.env.APP_URL}/welcome?session_id={CHECKOUT_SESSION_ID}`,
  });
  return Response.redirect(session.url!, 303);
}
