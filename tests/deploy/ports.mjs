// For a program that knows only the ports 443 and 80: it is led to those of a test, on this machine.
import net from "node:net";

const ports = { 443: Number(process.env.TLS_PORT), 80: Number(process.env.PLAIN_PORT) };
const connect = net.Socket.prototype.connect;

net.Socket.prototype.connect = function (...given) {
  const options = Array.isArray(given[0]) ? given[0][0] : given[0];
  if (options?.port in ports) Object.assign(options, { port: ports[options.port], host: "127.0.0.1" });
  return connect.apply(this, given);
};
