// Makes the data files of this folder from their sources, which README.md names. Nothing is fetched here:
//
//   npm install --ignore-scripts --prefix /tmp/src simple-icons free-email-domains disposable-email-domains
//   node generate.mjs /tmp/src
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const src = process.argv[2]
if (!src) throw new Error('usage: node generate.mjs FOLDER_OF_THE_SOURCES')
const npm = (name) => join(src, 'node_modules', name)
const json = (path) => JSON.parse(readFileSync(path, 'utf8'))
const version = (name) => json(join(npm(name), 'package.json')).version
const write = (name, head, lines) =>
  writeFileSync(new URL(name, import.meta.url), [...head.map((h) => `# ${h}`), ...lines, ''].join('\n'))
const byCode = (a, b) => (a < b ? -1 : a > b ? 1 : 0)

// A listed domain stands for those below it, so what is below a listed one is left out.
function topmost (domains) {
  const all = new Set(domains.map((d) => d.toLowerCase()))
  return [...all].filter((d) => {
    const labels = d.split('.')
    return !labels.some((_, i) => i > 0 && i < labels.length - 1 && all.has(labels.slice(i).join('.')))
  }).sort(byCode)
}

const free = topmost(json(join(npm('free-email-domains'), 'domains.json')))
const disposable = topmost([
  ...json(join(npm('disposable-email-domains'), 'index.json')),
  ...json(join(npm('disposable-email-domains'), 'wildcard.json'))
])
const disposableSet = new Set(disposable) // what is on both lists is disposable: nobody lists a lasting provider there
write('free.txt', [`free-email-domains ${version('free-email-domains')}, MIT, see LICENCES.md`],
  free.filter((d) => !disposableSet.has(d)))
write('disposable.txt', [`disposable-email-domains ${version('disposable-email-domains')}, MIT, see LICENCES.md`], disposable)

// A company is taken only where its title is its web domain: "Adobe" and adobe.com, "monday.com" and
// monday.com. "Apache Druid" at apache.org is a product of somebody else, and is not taken.
const plain = (s) => s.normalize('NFKD').toLowerCase().replace(/[^a-z0-9]/g, '')
const companies = new Map()
for (const icon of json(join(npm('simple-icons'), 'data', 'simple-icons.json'))) {
  for (const page of [icon.source, icon.guidelines]) {
    const host = page && new URL(page).hostname.toLowerCase()
    if (!host) continue
    const labels = host.split('.')
    const twoLevel = labels.at(-1).length === 2 && /^(ac|co|com|edu|gob|gov|ne|net|or|org)$/.test(labels.at(-2))
    const domain = labels.slice(twoLevel ? -3 : -2).join('.')
    const title = plain(icon.title)
    if (title.length > 1 && (title === plain(domain.split('.')[0]) || title === plain(domain))) {
      if (!companies.has(domain)) companies.set(domain, icon.title)
    }
  }
}

write('companies.tsv', [
  `simple-icons ${version('simple-icons')}, CC0-1.0, see LICENCES.md`, 'domain\tname'
], [...companies].sort(([a], [b]) => byCode(a, b)).map((row) => row.join('\t')))
console.log({ free: free.length, disposable: disposable.length, companies: companies.size })
