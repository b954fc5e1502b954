// Makes companies.csv from simple-icons (CC0-1.0). Nothing is fetched here:
//
//   npm install --ignore-scripts --prefix /tmp/src simple-icons
//   node generate.mjs /tmp/src > companies.csv
//
// A line's company and domain are real. Its person is synthetic, as the column says: name, title, country of the
// person, seats asked for and interest come from a generator with a fixed seed.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const src = process.argv[2]
if (!src) throw new Error('usage: node generate.mjs FOLDER_OF_THE_SOURCES > companies.csv')
const icons = JSON.parse(readFileSync(join(src, 'node_modules/simple-icons/data/simple-icons.json'), 'utf8'))

// mulberry32: a small generator of pseudo-random numbers, so that the file is the same each time.
let seed = 20261122
function random () {
  seed = (seed + 0x6D2B79F5) | 0
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed)
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296
}
const pick = (list) => list[Math.floor(random() * list.length)]
function weighted (pairs) {
  let at = random() * pairs.reduce((sum, [, w]) => sum + w, 0)
  return pairs.find(([, w]) => (at -= w) < 0)[0]
}

// A company is taken only where its title is its web domain: the domain of its source or guidelines page.
const plain = (s) => s.normalize('NFKD').toLowerCase().replace(/[^a-z0-9]/g, '')
const companies = new Map()
for (const icon of icons) {
  for (const page of [icon.source, icon.guidelines].filter(Boolean)) {
    const labels = new URL(page).hostname.toLowerCase().split('.')
    const twoLevel = labels.at(-1).length === 2 && /^(ac|co|com|edu|gob|gov|ne|net|or|org)$/.test(labels.at(-2))
    const domain = labels.slice(twoLevel ? -3 : -2).join('.')
    const title = plain(icon.title)
    if (title.length > 1 && (title === plain(domain.split('.')[0]) || title === plain(domain))) {
      if (!companies.has(domain)) companies.set(domain, icon.title)
    }
  }
}

const FIRST = ('Ada Amir Ana Anders Aiko Beatriz Carlos Chen Chiara Daniel Diego Elif Emma Eva Farah Felix Grace Hana Hugo ' +
  'Ines Ivan Jamal Jana Joao Jonas Julia Kai Karim Lars Lea Liam Lin Lucas Maja Marco Maria Mateo Mei Mila Nadia Nina ' +
  'Noah Olga Omar Paul Priya Rafael Ravi Rosa Sam Sara Sofia Tara Theo Uma Victor Wei Yara Yusuf Zoe').split(' ')
const LAST = ('Abadi Ahmed Almeida Andersen Bauer Becker Berg Bianchi Brown Castro Chen Costa Dubois Evans Fischer Garcia ' +
  'Gupta Haas Hansen Ito Ivanova Jansen Johnson Kaya Keller Khan Kim Kowalski Larsen Lee Lopez Martin Meyer Moreau ' +
  'Nakamura Nguyen Novak Okafor Olsen Park Patel Peeters Perez Ricci Rossi Sato Schmidt Silva Singh Smith Suzuki Tan ' +
  'Tanaka Torres Vega Wagner Weber Wilson Wong Yilmaz').split(' ')
const TITLES = [['Chief Technology Officer', 4], ['Chief Information Officer', 2], ['VP Engineering', 6], ['Head of Platform', 9],
  ['Director of Operations', 7], ['Engineering Manager', 12], ['Staff Engineer', 10], ['Software Engineer', 16],
  ['Site Reliability Engineer', 9], ['Product Manager', 8], ['Procurement Manager', 4], ['Security Architect', 5],
  ['Student', 4], ['Recruiter', 3], ['', 1]]
const INTERESTS = [['demo', 18], ['pricing', 16], ['trial', 16], ['webinar', 18], ['whitepaper', 18], ['newsletter', 12], ['job', 2]]
const COUNTRIES = [['', 35], ['US', 18], ['DE', 8], ['GB', 7], ['FR', 6], ['NL', 4], ['ES', 3], ['IN', 5], ['JP', 4], ['AU', 3],
  ['BR', 3], ['CA', 4]]
const SEATS = [['', 20], [3, 10], [8, 14], [20, 14], [45, 10], [80, 9], [150, 8], [400, 7], [900, 4], [1500, 3], [6000, 1]]

const rows = []
function contact (company, domain) {
  const first = pick(FIRST)
  const last = pick(LAST)
  rows.push([company, company && domain, `${first}.${last}.synthetic@${domain}`.toLowerCase(), first, last, weighted(TITLES),
    weighted(COUNTRIES), weighted(SEATS), weighted(INTERESTS), 'yes'])
}
const all = [...companies].sort(([a], [b]) => (a < b ? -1 : 1))
const TAKE = 1200
for (let i = 0; i < TAKE; i++) {
  const [domain, company] = all[Math.floor(i * all.length / TAKE)]
  contact(company, domain)
  if (i % 9 === 4) contact(company, domain)
  if (i % 40 === 4) contact(company, domain)
}
// People who hide their company, people who want no answer, and people who send the form twice.
for (let i = 0; i < 30; i++) contact('', pick(['gmail.com', 'gmx.de', 'outlook.com', 'yahoo.com']))
for (let i = 0; i < 20; i++) contact('', pick(['mailinator.com', 'yopmail.com', 'guerrillamail.com']))
for (let i = 0; i < 25; i++) {
  const again = [...pick(rows)]
  again[2] = i % 2 ? again[2].toUpperCase() : again[2].replace('@', '+again@')
  rows.push(again)
}

for (let i = rows.length - 1; i > 0; i--) { // in no order, as leads come
  const j = Math.floor(random() * (i + 1));
  [rows[i], rows[j]] = [rows[j], rows[i]]
}

const quote = (v) => (/[",\n\r]/.test(String(v)) ? `"${String(v).replaceAll('"', '""')}"` : String(v))
const head = 'company,domain,email,first_name,last_name,job_title,country,seats,interest,synthetic'
process.stdout.write([head, ...rows.map((row) => row.map(quote).join(','))].join('\n') + '\n')
