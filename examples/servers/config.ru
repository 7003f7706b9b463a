# Ruby's puma takes its sockets by LISTEN_FDS alone; faye-websocket speaks the protocol.
require 'faye/websocket'
Faye::WebSocket.load_adapter('puma')

run lambda { |env|
  socket = Faye::WebSocket.new(env)
  socket.on(:open) { socket.send("generation #{ENV['WSSUPERVISOR_GENERATION']} process #{Process.pid}") }
  socket.on(:message) { |event| socket.send(event.data) }
  socket.rack_response
}
