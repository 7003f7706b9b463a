// Node's http and, where it is installed, ws, on descriptor 3.
"use strict";
const BAD = process.env.BAD || "";
const STATUS = { 500: 500, redirects: 302 };
const never = () => new Promise(() => setInterval(() => {}, 1e6));

async function main() {
    if (BAD === "dies") {
        await new Promise((resolve) => setTimeout(resolve, 500));
        throw new Error("no such table: users");
    }
    if (BAD === "hangs") await never();
    const server = require("http").createServer((request, response) => {
        if (BAD === "silent") return;
        response.writeHead(STATUS[BAD] || 200, { Location: "http://127.0.0.1:1/" });
        response.end();
    });
    let ws = null;
    try {
        ws = require("ws");
    } catch {
        // http only
    }
    if (ws) {
        const sockets = new ws.WebSocketServer({ noServer: true });
        server.on("upgrade", (request, socket, head) => {
            if (BAD === "silent") return;
            if (STATUS[BAD]) {
                socket.end(`HTTP/1.1 ${STATUS[BAD]} X\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n`);
                return;
            }
            sockets.handleUpgrade(request, socket, head, (one) => {
                if (BAD === "leaves") return one.close(1011);
                one.on("message", (said) => {
                    const text = said.toString();
                    one.send(BAD === "wrong" ? [...text].reverse().join("") : text);
                });
            });
        });
    }
    server.listen({ fd: 3 });
}

main();
