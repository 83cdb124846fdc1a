import { NextResponse } from "next/server";

export function middleware() {
  return NextResponse.next();
}

export const config = {
  matcher: ["/((?!api/inngest|_next/static).*)"],
};
export const publicRoutes = ["/", "/pricing", "/api/inngest(.*)"];
export const help = ["/blog/bye-bye-inngest", "/docs/inngest-migration"];
