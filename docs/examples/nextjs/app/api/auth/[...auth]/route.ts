import { auth } from "../../../../lib/auth.ts";

export { auth as GET, auth as POST };
