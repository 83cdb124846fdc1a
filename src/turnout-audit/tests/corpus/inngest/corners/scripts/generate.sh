cat > src/client.ts <<EOF
import { Inngest } from "inngest";
import { rooms } from "./inngest/rooms";
EOF
node --import @inngest/otel/node src/worker.ts
# node --import @inngest/otel/node
