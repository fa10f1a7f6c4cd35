// One softphone of the web, the same in a page and in Node.js: `start('jssip' | 'sip.js', settings, tell)`.
//
// settings: { server: 'ws://HOST:PORT/sip', uri: 'sip:USER@DOMAIN', user, password }
// tell(event): { event: 'registered' }, { event: 'refused', status }, { event: 'message', from, body },
//              { event: 'sent', status }, { event: 'disconnected' }
// Gives { send(to, body), stop() }.
import JsSIP from 'jssip';
import { Messager, Registerer, RegistererState, UserAgent } from 'sip.js';

/** Seconds that a registration is asked for. */
const EXPIRES = 600;

function jssip({ server, uri, user, password }, tell) {
  const ua = new JsSIP.UA({
    sockets: [new JsSIP.WebSocketInterface(server)],
    uri,
    authorization_user: user,
    password,
    register_expires: EXPIRES,
  });
  ua.on('registered', () => tell({ event: 'registered' }));
  ua.on('registrationFailed', ({ response, cause }) => tell({ event: 'refused', status: response?.status_code ?? cause }));
  ua.on('disconnected', () => tell({ event: 'disconnected' }));
  ua.on('newMessage', ({ originator, request }) => {
    if (originator === 'remote') tell({ event: 'message', from: request.from.uri.toString(), body: request.body });
  });
  ua.start();
  return {
    send(to, body) {
      const told = ({ response, cause }) => tell({ event: 'sent', status: response?.status_code ?? cause });
      ua.sendMessage(to, body, { contentType: 'text/plain', eventHandlers: { succeeded: told, failed: told } });
    },
    async stop() {
      ua.stop();
    },
  };
}

async function sipjs({ server, uri, user, password }, tell) {
  const ua = new UserAgent({
    uri: UserAgent.makeURI(uri),
    authorizationUsername: user,
    authorizationPassword: password,
    transportOptions: { server },
    logLevel: 'error',
    delegate: {
      onMessage(message) {
        message.accept();
        tell({ event: 'message', from: message.request.from.uri.toString(), body: message.request.body });
      },
      onDisconnect: () => tell({ event: 'disconnected' }),
    },
  });
  await ua.start();
  const registerer = new Registerer(ua, { expires: EXPIRES });
  registerer.stateChange.addListener((state) => {
    if (state === RegistererState.Registered) tell({ event: 'registered' });
  });
  await registerer.register({
    requestDelegate: { onReject: ({ message }) => tell({ event: 'refused', status: message.statusCode }) },
  });
  return {
    send(to, body) {
      const told = ({ message }) => tell({ event: 'sent', status: message.statusCode });
      const messager = new Messager(ua, UserAgent.makeURI(to), body, 'text/plain');
      messager.message({ requestDelegate: { onAccept: told, onReject: told } });
    },
    async stop() {
      await registerer.unregister();
      await ua.stop();
    },
  };
}

export async function start(kind, settings, tell) {
  switch (kind) {
    case 'jssip':
      return jssip(settings, tell);
    case 'sip.js':
      return sipjs(settings, tell);
    default:
      throw new Error(`there is no softphone ${kind}`);
  }
}
