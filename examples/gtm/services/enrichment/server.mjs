import { app } from './app.mjs'
import { publisher } from './publish.mjs'
import { cctld } from './providers/cctld.mjs'
import { directory } from './providers/directory.mjs'
import { lists } from './providers/lists.mjs'
import { web } from './providers/web.mjs'

const { PORT, EVENTS_URL, ENRICH_WEB, ATOLL_SERVICE: service, ATOLL_REPLICA: replica } = process.env

function log (level, msg, fields) {
  process.stdout.write(JSON.stringify({ time: new Date().toISOString(), level, msg, service, replica, ...fields }) + '\n')
}

if (!/^\d+$/.test(PORT ?? '')) {
  log('ERROR', `The environment variable PORT is "${PORT ?? ''}", which is no port.`)
  process.exit(1)
}
if (!EVENTS_URL) {
  log('ERROR', 'The environment variable EVENTS_URL is missing: service.yaml has to declare what is published.')
  process.exit(1)
}

const providers = [lists(), directory(), cctld()]
if (ENRICH_WEB === 'on') providers.push(web())

const server = app({ providers, publish: publisher(EVENTS_URL), log })
server.on('error', (error) => { log('ERROR', 'cannot listen', { error: String(error) }); process.exit(1) })
server.listen(Number(PORT), '127.0.0.1', () => log('INFO', 'listening', { port: server.address().port, web: ENRICH_WEB === 'on' }))

// Drain: no new connections, those in flight finish within the grace; then the process ends by itself.
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => {
    log('INFO', 'draining')
    server.close()
    setTimeout(() => { log('WARN', 'requests were cut off'); server.closeAllConnections() }, 8000).unref()
  })
}
