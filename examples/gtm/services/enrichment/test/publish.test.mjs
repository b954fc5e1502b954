import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { test } from 'node:test'
import { publisher } from '../publish.mjs'

async function bus (t, status) {
  const seen = []
  const server = createServer((req, res) => {
    seen.push({ url: req.url, headers: req.headers })
    res.writeHead(status).end()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => { server.closeAllConnections(); server.close() })
  return { seen, url: `http://127.0.0.1:${server.address().port}` }
}

const event = { topic: 'lead.enriched', id: 'e1', key: 'ld_1', traceparent: '00-a-b-01', data: { x: 1 } }

test('an event is published as a CloudEvent with its key and trace', async (t) => {
  const { seen, url } = await bus(t, 202)
  await publisher(url)(event)
  assert.equal(seen[0].url, '/lead.enriched')
  for (const [name, value] of Object.entries({ 'ce-id': 'e1', 'ce-partitionkey': 'ld_1', 'ce-traceparent': '00-a-b-01', 'ce-specversion': '1.0' })) {
    assert.equal(seen[0].headers[name], value)
  }
})

test('a refusal is an error, so that nothing is taken for published', async (t) => {
  const { url } = await bus(t, 422)
  await assert.rejects(publisher(url)(event), /publish to lead.enriched: 422/)
})
