import { consumeTokens, hasFeature, tokenBalance } from "stripe-sync-client/sql";
import { signedIn } from "../../lib/auth.ts";
import { db } from "../../lib/db.ts";

const EXPORT_COST = 10;

export async function POST(request: Request): Promise<Response> {
  const user = await signedIn(request.headers);
  if (!user) return new Response("Sign in first.", { status: 401 });
  return db.transaction(async (tx) => {
    if (!(await hasFeature(tx, user.id, "export"))) return new Response("Your plan has no exports.", { status: 403 });
    if (!(await consumeTokens(tx, user.id, EXPORT_COST))) return new Response("You have too few tokens.", { status: 402 });
    // The work belongs here: an exception rolls back, and nothing was spent.
    return Response.json({ tokens: await tokenBalance(tx, user.id) });
  });
}
