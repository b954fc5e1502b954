import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { app } from '../app.mjs'

const log = []
const published = []
let server, url
let publish = async (event) => { published.push(event) }

before(async () => {
  const provider = {
    name: 'x', gives: ['company', 'email_kind'], timeoutMs: 100,
    ask: async () => ({ company: { value: 'X', source: 's' }, email_kind: { value: 'work', source: 's' } })
  }
  server = app({ providers: [provider], publish: (event) => publish(event), log: (...record) => log.push(record) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${server.address().port}`
})
after(() => { server.closeAllConnections(); server.close() })

const post = (body, headers = { 'content-type': 'application/json' }) =>
  fetch(`${url}/events/lead-captured`, { method: 'POST', body, headers })
const captured = (lead) => JSON.stringify({
  lead: { id: 'ld_1', email: 'Ada@Example.com', company_domain: 'example.com', address_domain: 'example.com', ...lead }
})

test('a lead that was captured is published with facts, sources and its company', async () => {
  const res = await post(captured())
  assert.equal(res.status, 204)
  const event = published.at(-1)
  assert.equal(event.topic, 'lead.enriched')
  assert.equal(event.key, 'ld_1')
  assert.deepEqual(event.data.facts.company, { value: 'X', source: 's' })
  assert.deepEqual(event.data.company, { domain: 'example.com', name: 'X', country: '' })
  assert.equal(event.data.lead.email, 'Ada@Example.com')
})

test('an event that is delivered again is published under the same id', async () => {
  await post(captured())
  await post(captured())
  assert.equal(published.at(-1).id, published.at(-2).id)
})

test('an event that could not be published is delivered again', async () => {
  const works = publish
  publish = async () => { throw new Error('the bus is away') }
  const res = await post(captured())
  publish = works
  assert.equal(res.status, 500)
  assert.equal((await res.text()).includes('the bus is away'), false)
})

test('every bad request gets a problem document that says what is wrong', async () => {
  const cases = [
    [post('{"email":'), 400, 'bad-json'],
    [post('null'), 422, 'bad-lead'],
    [post(captured({ email: 'nobody' })), 422, 'bad-lead'],
    [post(captured({ email: 'a@[127.0.0.1]' })), 422, 'bad-lead'],
    [post(captured({ id: 7 })), 422, 'bad-lead'],
    [post('email=x', { 'content-type': 'application/x-www-form-urlencoded' }), 415, 'not-json'],
    [post(JSON.stringify({ email: 'x'.repeat(70000) })), 413, 'body-too-large'],
    [fetch(`${url}/events/lead-captured`), 405, 'method-not-allowed'],
    [fetch(`${url}/nothing`), 404, 'not-found']
  ]
  for (const [request, status, code] of cases) {
    const res = await request
    assert.equal(res.status, status)
    assert.equal(res.headers.get('content-type'), 'application/problem+json')
    assert.equal((await res.json()).code, code)
  }
})

test('a caller with little time gets an answer', async () => {
  for (const left of ['7', '29999', '0', '-1', 'soon', '99999999999']) {
    const res = await post(captured(), { 'content-type': 'application/json', 'atoll-deadline': left })
    assert.equal(res.status, 204, left)
  }
})

test('the trace of the caller is in the problem', async () => {
  const id = '0af7651916cd43dd8448eb211c80319c'
  const res = await post('[]', { 'content-type': 'application/json', traceparent: `00-${id}-b7ad6b7169203331-01` })
  assert.equal((await res.json()).trace_id, id)
})

test('readiness answers', async () => {
  assert.equal((await fetch(`${url}/healthz`)).status, 200)
})
