import { InvalidSignature, verifyChange, type Change } from "stripe-sync-client";
import { db, handledChanges } from "../../../lib/db.ts";
import { sendMail } from "../../../lib/mail.ts";

export async function POST(request: Request): Promise<Response> {
  let change: Change;
  try {
    change = await verifyChange(await request.text(), request.headers, process.env.CHANGES_SECRET!);
  } catch (error) {
    if (!(error instanceof InvalidSignature)) throw error;
    return new Response("The signature is wrong.", { status: 400 });
  }
  await db.transaction(async (tx) => {
    const isNew = await tx.insert(handledChanges).values({ id: change.id }).onConflictDoNothing().returning();
    if (isNew.length > 0 && (change.type === "access.granted" || change.type === "access.revoked")) {
      sendMail(`user ${change.userId}`, change.type);
    }
  });
  return new Response(null, { status: 204 });
}
