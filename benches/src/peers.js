// A hello by fastify: the plugin's code in the server's own context, or in a new node:vm context for each request.
const fastify = require('fastify')({ logger: false });
const vm = require('node:vm');

const greet = 'JSON.stringify({ message: "Hello, " + user + "!" })';
const script = new vm.Script(greet);
const handlers = {
  plain: () => ({ message: 'Hello, ' + 'user' + '!' }),
  vm: (_request, reply) => {
    reply.type('application/json');
    return script.runInContext(vm.createContext({ user: 'user' }));
  },
};

fastify.get('/hello', async (request, reply) => handlers[process.argv[2]](request, reply));
process.stdin.on('end', () => process.exit(0)).resume();
fastify.listen({ port: 0, host: '127.0.0.1' }).then(() => {
  console.log(`127.0.0.1:${fastify.server.address().port}`);
});
