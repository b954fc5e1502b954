import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cctld } from '../providers/cctld.mjs'
import { directory } from '../providers/directory.mjs'
import { lists } from '../providers/lists.mjs'
import { isPublic, technologies, web } from '../providers/web.mjs'
import { enrich } from '../waterfall.mjs'

const all = [lists(), directory(), cctld()]
const facts = async (domain, providers = all) => {
  const result = await enrich(providers, { domain })
  return { ...Object.fromEntries(Object.entries(result.facts).map(([k, f]) => [k, f.value])), unknown: result.unknown }
}

test('a company is known by its own domain and by those below it', async () => {
  assert.equal((await facts('stripe.com')).company, 'Stripe')
  assert.equal((await facts('mail.stripe.com')).company, 'Stripe')
})

test('who writes from a free-mail domain does not belong to the company that runs it', async () => {
  const got = await facts('gmail.com')
  assert.equal(got.email_kind, 'free')
  assert.equal(got.company, undefined)
})

test('a disposable domain is recognised, also below a listed one', async () => {
  assert.equal((await facts('mailinator.com')).email_kind, 'disposable')
  assert.equal((await facts('x.mailinator.com')).email_kind, 'disposable')
})

test('what is unknown stays unknown', async () => {
  assert.deepEqual(await facts('nobody-has-heard-of-it.example'),
    { email_kind: 'work', unknown: ['company', 'country', 'technologies'] })
})

test('a national domain tells the country, one sold to the whole world does not', async () => {
  assert.equal((await facts('siemens.de')).country, 'DE')
  assert.equal((await facts('bbc.co.uk')).country, 'GB')
  for (const domain of ['deno.io', 'mistral.ai', 'about.me']) assert.equal((await facts(domain)).country, undefined, domain)
})

test('every fact names its source', async () => {
  const { facts } = await enrich(all, { domain: 'audi.de' })
  for (const [name, fact] of Object.entries(facts)) assert.ok(fact.source, name)
})

test('technology is what headers and generator show, and nothing else', () => {
  assert.deepEqual(technologies({ server: 'nginx', 'x-powered-by': 'Express, ASP.NET' },
    '<meta content="WordPress 6.9" name="generator"><meta name="viewport" content="x">'),
  ['nginx', 'Express', 'ASP.NET', 'WordPress 6.9'])
  assert.deepEqual(technologies({}, '<meta name="generator">'), [])
})

test('the web provider names the page as source, and is not asked about free mail', async () => {
  const provider = web({ get: async () => ({ headers: { server: 'nginx' }, html: '' }) })
  const { facts } = await enrich([...all, provider], { domain: 'stripe.com' })
  assert.deepEqual(facts.technologies, { value: ['nginx'], source: 'https://stripe.com/' })
  assert.ok((await enrich([...all, provider], { domain: 'gmail.com' })).unknown.includes('technologies'))
})

test('a stranger cannot make the web provider connect to a private address', async () => {
  for (const address of ['127.0.0.1', '10.1.2.3', '169.254.169.254', '192.168.0.1', '0.0.0.0', '::1', 'fe80::1',
    'fc00::1', '::ffff:127.0.0.1', '2002:7f00:1::', '64:ff9b::7f00:1', 'nonsense']) assert.ok(!isPublic(address), address)
  assert.ok(isPublic('93.184.216.34'))
  assert.ok(isPublic('2606:2800:220:1::1'))
  const { providers } = await enrich([{ ...web(), gives: ['technologies'] }].map((p) => ({
    ...p, ask: (s, signal) => p.ask({ ...s, kind: 'work' }, signal)
  })), { domain: 'localhost' })
  assert.equal(providers[0].outcome, 'error')
})
