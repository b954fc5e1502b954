import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, test } from 'node:test'
import { app } from '../app.mjs'

const log = []
let server, url

before(async () => {
  const broken = { name: 'x', gives: ['company'], timeoutMs: 100, ask: async () => ({ company: { value: 'X', source: 's' } }) }
  server = app({ providers: [broken], log: (...record) => log.push(record) })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${server.address().port}`
})
after(() => { server.closeAllConnections(); server.close() })

const post = (body, headers = { 'content-type': 'application/json' }) =>
  fetch(`${url}/enrich`, { method: 'POST', body, headers })

test('facts come with sources, and what is missing is named', async () => {
  const res = await post('{"email":"Ada@Example.com"}')
  assert.equal(res.status, 200)
  const got = await res.json()
  assert.deepEqual(got.facts.company, { value: 'X', source: 's' })
  assert.equal(got.domain, 'example.com')
  assert.deepEqual(got.unknown, ['email_kind', 'country', 'technologies'])
})

test('every bad request gets a problem document that says what is wrong', async () => {
  const cases = [
    [post('{"email":'), 400, 'bad-json'],
    [post('null'), 422, 'bad-email'],
    [post('{"email":"nobody"}'), 422, 'bad-email'],
    [post('{"email":"a@[127.0.0.1]"}'), 422, 'bad-email'],
    [post('email=x', { 'content-type': 'application/x-www-form-urlencoded' }), 415, 'not-json'],
    [post(JSON.stringify({ email: 'x'.repeat(20000) })), 413, 'body-too-large'],
    [fetch(`${url}/enrich`), 405, 'method-not-allowed'],
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
    const res = await post('{"email":"a@example.com"}', { 'content-type': 'application/json', 'atoll-deadline': left })
    assert.equal(res.status, 200, left)
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
