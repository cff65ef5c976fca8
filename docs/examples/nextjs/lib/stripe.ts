import Stripe from "stripe";
import { StripeSync } from "stripe-sync-client";

const { hostname: host, port, protocol } = new URL(process.env.STRIPE_API_BASE ?? "https://api.stripe.com");

export const stripe = new Stripe(process.env.STRIPE_SECRET_KEY!, {
  host,
  port: port || "443",
  protocol: protocol === "http:" ? "http" : "https",
});

export const stripeSync = new StripeSync({ url: process.env.STRIPE_SYNC_URL!, token: process.env.STRIPE_SYNC_TOKEN! });
