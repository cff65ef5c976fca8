import { Auth, type AuthConfig } from "@auth/core";
import { DrizzleAdapter } from "@auth/drizzle-adapter";
import { eq } from "drizzle-orm";
import { authTables, users } from "stripe-sync-client/tables";
import { db } from "./db.ts";
import { sendMail } from "./mail.ts";

const config: AuthConfig = {
  adapter: DrizzleAdapter(db, authTables),
  basePath: "/api/auth",
  secret: process.env.AUTH_SECRET!,
  trustHost: true,
  providers: [
    {
      id: "email",
      type: "email",
      name: "e-mail",
      maxAge: 3600,
      sendVerificationRequest: async ({ identifier, url }) => sendMail(identifier, `sign in at ${url}`),
    },
  ],
  callbacks: {
    session: ({ session, user }) => ({ ...session, user: { ...session.user, id: user.id } }),
  },
};

/** Sign-up, sign-in and sign-out, under /api/auth. */
export const auth = (request: Request): Promise<Response> => Auth(request, config);

/** Return the row of the signed-in user, or undefined if nobody is signed in. */
export async function signedIn(headers: Headers): Promise<typeof users.$inferSelect | undefined> {
  const url = new URL("/api/auth/session", process.env.APP_URL);
  const answer = await auth(new Request(url, { headers: { cookie: headers.get("cookie") ?? "" } }));
  const session = (await answer.json()) as { user?: { id: string } } | null;
  return session?.user && db.query.users.findFirst({ where: eq(users.id, session.user.id) });
}
