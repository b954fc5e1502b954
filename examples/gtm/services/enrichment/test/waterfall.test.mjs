import assert from 'node:assert/strict'
import { test } from 'node:test'
import { enrich } from '../waterfall.mjs'

const fact = (value) => ({ value, source: 'test' })
const provider = (name, gives, ask, timeoutMs = 1000) => ({ name, gives, ask, timeoutMs })
const subject = { domain: 'example.com' }

test('the first provider that knows a fact wins, and later ones are not asked for it', async () => {
  let asked = 0
  const { facts, providers } = await enrich([
    provider('a', ['company'], async () => ({ company: fact('A') })),
    provider('b', ['company'], async () => { asked++; return { company: fact('B') } })
  ], subject)
  assert.deepEqual(facts, { company: fact('A') })
  assert.equal(asked, 0)
  assert.deepEqual(providers.map((p) => p.name), ['a'])
})

test('a provider that hangs costs its time-out, and the next is asked', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  let aborted = false
  const hangs = provider('hangs', ['company'], (_, signal) => new Promise(() => {
    signal.addEventListener('abort', () => { aborted = true })
  }), 500)
  const done = enrich([hangs, provider('b', ['company'], async () => ({ company: fact('B') }))], subject)
  t.mock.timers.tick(500)
  const { facts, providers } = await done
  assert.equal(facts.company.value, 'B')
  assert.deepEqual(providers.map((p) => p.outcome), ['timeout', 'facts'])
  assert.ok(aborted, 'the provider was not told to stop')
})

test('a provider that fails is reported and leaves the fact unknown', async () => {
  const seen = []
  const result = await enrich([provider('a', ['country'], async () => { throw new Error('down') })], subject,
    { onError: (name, error) => seen.push([name, error.message]) })
  assert.deepEqual(seen, [['a', 'down']])
  assert.equal(result.providers[0].outcome, 'error')
  assert.ok(result.unknown.includes('country'))
})

test('a provider cannot give a fact that it did not announce', async () => {
  const { facts } = await enrich([provider('a', ['country'], async () => ({ company: fact('made up') }))], subject)
  assert.deepEqual(facts, {})
})

test('nothing more is asked once the caller is gone', async () => {
  const { providers } = await enrich([provider('a', ['company'], async () => ({ company: fact('A') }))], subject,
    { signal: AbortSignal.abort() })
  assert.equal(providers[0].outcome, 'skipped')
})
