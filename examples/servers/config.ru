# Ruby's puma inherits its sockets by LISTEN_FDS only. faye-websocket implements WebSockets.
require 'faye/websocket'
Faye::WebSocket.load_adapter('puma')

run lambda { |env|
  socket = Faye::WebSocket.new(env)
  socket.on(:open) { socket.send("generation #{ENV['WSSUPERVISOR_GENERATION']} process #{Process.pid}") }
  socket.on(:message) { |event| socket.send(event.data) }
  socket.rack_response
}
