import inngestDefault, * as sdk from "inngest";
import "inngest/edge";
import { connect } from 'inngest/connect';

const client = new sdk.Inngest({ id: "edge" });
await connect({ apps: [{ client, functions: [] }] });
await client.send({ name: "edge/up", data: {} });
export default inngestDefault;
