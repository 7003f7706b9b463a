// Node's own http server on descriptor 3.
"use strict";
require("http")
    .createServer((request, response) => response.end("ok\n"))
    .listen({ fd: 3 });
