export const settings = [{ key: "TRIGGER_SECRET_KEY", secret: true }];
import { TRIGGER_DEV_COLUMNS } from "./columns";
export type Queue = "trigger-dev" | "database";
