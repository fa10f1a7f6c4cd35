// The page: a softphone with a transcript. The test that serves it gives the settings and hears each event.
import { start } from './phone.js';

const transcript = document.querySelector('ol');

function write(who, text) {
  const line = document.createElement('li');
  line.className = who;
  line.textContent = text;
  transcript.append(line);
}

window.begin = async (kind, settings) => {
  document.querySelector('h1').textContent = settings.uri;
  document.querySelector('h2').textContent = `${kind} over ${settings.server}`;
  const phone = await start(kind, settings, (event) => {
    if (event.event === 'message') write('them', `${event.from}: ${event.body}`);
    else write('state', event.status ? `${event.event} ${event.status}` : event.event);
    window.tell(event);
  });
  window.send = (to, body) => {
    write('us', body);
    phone.send(to, body);
  };
  window.stop = () => phone.stop();
};
