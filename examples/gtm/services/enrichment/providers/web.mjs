import dns from 'node:dns'
import https from 'node:https'
import { BlockList, isIP } from 'node:net'

// Addresses that are not the public internet (RFC 6890). An email's domain is chosen by a stranger, who could
// point it at a machine of ours.
const PRIVATE = new BlockList()
for (const [net, bits] of [['0.0.0.0', 8], ['10.0.0.0', 8], ['100.64.0.0', 10], ['127.0.0.0', 8], ['169.254.0.0', 16],
  ['172.16.0.0', 12], ['192.0.0.0', 24], ['192.0.2.0', 24], ['192.168.0.0', 16], ['198.18.0.0', 15],
  ['198.51.100.0', 24], ['203.0.113.0', 24], ['224.0.0.0', 3]]) PRIVATE.addSubnet(net, bits, 'ipv4')
// Of IPv6 only 2000::/3 is global; within it Teredo and 6to4 carry IPv4 addresses.
const GLOBAL6 = new BlockList()
GLOBAL6.addSubnet('2000::', 3, 'ipv6')
const TUNNEL6 = new BlockList()
for (const [net, bits] of [['2001::', 23], ['2001:db8::', 32], ['2002::', 16]]) TUNNEL6.addSubnet(net, bits, 'ipv6')

/** Whether an address is on the public internet. */
export function isPublic (address) {
  if (isIP(address) === 4) return !PRIVATE.check(address, 'ipv4')
  return isIP(address) === 6 && GLOBAL6.check(address, 'ipv6') && !TUNNEL6.check(address, 'ipv6')
}

// The check stands in the lookup of the very connection, so that a name cannot change between check and use.
function publicLookup (hostname, options, callback) {
  dns.lookup(hostname, { ...options, all: true }, (error, addresses) => {
    if (error) return callback(error)
    const good = addresses.filter(({ address }) => isPublic(address))
    if (good.length === 0) return callback(new Error(`${hostname} has no public address`))
    if (options.all) return callback(null, good)
    callback(null, good[0].address, good[0].family)
  })
}

const LIMIT = 64 * 1024

/** What the head of a company's home page says of its technology. */
export function web ({ get = getHome, timeoutMs = 3000 } = {}) {
  return {
    name: 'web',
    gives: ['technologies'],
    timeoutMs,
    ask: async ({ domain, kind }, signal) => {
      if (kind !== 'work') return {}
      const { headers, html } = await get(domain, signal)
      const value = technologies(headers, html)
      return value.length > 0 ? { technologies: { value, source: `https://${domain}/` } } : {}
    }
  }
}

/** The names in the headers Server and X-Powered-By and in the generator tag, as they are shown. */
export function technologies (headers, html) {
  const shown = [headers.server, headers['x-powered-by']].flatMap((v) => (v ? String(v).split(',') : []))
  for (const [tag] of html.matchAll(/<meta\s[^>]{0,300}>/gi)) {
    if (/\bname\s*=\s*["']?generator\b/i.test(tag)) shown.push(/\bcontent\s*=\s*["']([^"']+)/i.exec(tag)?.[1] ?? '')
  }
  const clean = shown.map((s) => s.replace(/[^\x20-\x7e]/g, '').trim().slice(0, 80)).filter(Boolean)
  return [...new Set(clean)]
}

function getHome (domain, signal) {
  if (isIP(domain)) return Promise.reject(new Error('an address is no domain'))
  return new Promise((resolve, reject) => {
    const req = https.get({ host: domain, path: '/', signal, lookup: publicLookup, headers: { accept: 'text/html' } }, (res) => {
      let html = ''
      res.setEncoding('latin1')
      const done = () => resolve({ headers: res.headers, html })
      res.on('data', (chunk) => {
        html += chunk
        if (html.length > LIMIT) { done(); req.destroy() }
      })
      res.on('end', done)
      res.on('error', reject)
    })
    req.on('error', reject)
  })
}
