import { Server } from "socket.io";

const io = new Server();
io.emit("hello");
export const client = { sendEvent: (name: string) => io.emit(name) };
client.sendEvent("hello");
