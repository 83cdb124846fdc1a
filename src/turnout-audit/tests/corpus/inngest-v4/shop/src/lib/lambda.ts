import { Lambda } from "./aws";
import { serve } from "./node";

const lambda = new Lambda();
// inngest has a createFunction, too
lambda.createFunction("name", "role", "code");
serve({ fetch: app.fetch, serveHost: "localhost", logLevel: "debug" });
pipe({ streaming: "force" });
lambda.invoke("x", { function: "shop-report" });
