// Node's `ws` on an inherited socket: http's listen() takes a descriptor.
const {createServer} = require('node:http');
const {WebSocketServer} = require('ws');

const server = createServer();
const sockets = new WebSocketServer({server});
sockets.on('connection', (socket) => {
    socket.send(`generation ${process.env.WSSUPERVISOR_GENERATION} process ${process.pid}`);
    socket.on('message', (data, binary) => socket.send(data, {binary}));
});
process.on('SIGTERM', () => process.exit(0));
server.listen({fd: 3, backlog: 4096});
