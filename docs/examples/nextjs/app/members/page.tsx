import { headers } from "next/headers";
import { redirect } from "next/navigation";
import { signedIn } from "../../lib/auth.ts";

export default async function Members() {
  const user = await signedIn(await headers());
  if (!user) redirect("/api/auth/signin");
  if (user.role !== "PREMIUM" && user.role !== "ADMIN") {
    return (
      <form method="post" action="/checkout">
        This page is for members. <button>Become one</button>
      </form>
    );
  }
  return <h1>Hello, {user.email}</h1>;
}
