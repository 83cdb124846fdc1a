import { connect } from "@restatedev/restate-sdk-clients";
import { restate } from "./words";

export const bus = connect({ url: process.env.RESTATE_INGRESS_URL ?? "" });
export const again = restate("as said above");
