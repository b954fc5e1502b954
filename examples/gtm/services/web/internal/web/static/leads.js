// Keeps the list of leads as they change. Everything that a lead says of itself goes in by textContent.
const live = document.getElementById('live')
if (live) follow(Number(live.dataset.after))

function follow (after) {
  const rows = document.getElementById('rows')
  const blank = document.getElementById('row')
  const limit = 50
  let last = after
  let source
  const connect = () => {
    source = new EventSource(`/api/leads/events?after=${last}`)
    source.addEventListener('open', () => say('live', true))
    source.addEventListener('error', () => {
      say('reconnecting', false)
      // The browser comes back by itself, but not after an answer that is an error.
      if (source.readyState === EventSource.CLOSED) setTimeout(connect, 3000)
    })
    source.addEventListener('lead', (event) => {
      last = Number(event.lastEventId)
      show(JSON.parse(event.data))
    })
  }
  connect()

  function say (text, on) {
    if (live.textContent !== text) live.textContent = text
    live.classList.toggle('on', on)
  }

  function show (lead) {
    let row = document.getElementById(lead.id)
    if (!row) {
      if (lead.arrival < oldest()) return // it is on a later page
      row = blank.content.firstElementChild.cloneNode(true)
      row.id = lead.id
      row.dataset.arrival = lead.arrival
      row.querySelector('a').href = `/leads/${encodeURIComponent(lead.id)}`
      rows.prepend(row)
      while (rows.children.length > limit) rows.lastElementChild.remove()
      document.getElementById('empty').hidden = true
    }
    fill(row, lead)
    row.classList.remove('fresh')
    requestAnimationFrame(() => row.classList.add('fresh'))
  }

  function oldest () {
    return rows.children.length < limit ? 0 : Number(rows.lastElementChild.dataset.arrival)
  }
}

function fill (row, lead) {
  const [person, company, score, verdict, owner, stage] = row.children
  const name = [lead.first_name, lead.last_name].filter(Boolean).join(' ')
  person.querySelector('a').textContent = name || lead.email
  person.querySelector('.sub').textContent = [lead.job_title, lead.synthetic && 'made up'].filter(Boolean).join(' · ')
  company.textContent = lead.facts?.company?.value || lead.company || lead.account || ''
  score.replaceChildren()
  verdict.replaceChildren()
  if (lead.verdict) verdict.append(element('span', `tag ${lead.verdict}`, lead.verdict))
  if (lead.verdict && lead.verdict !== 'disqualified') {
    const meter = document.createElement('meter')
    Object.assign(meter, { min: 0, max: 100, value: lead.score })
    meter.setAttribute('aria-hidden', 'true')
    score.append(meter, element('span', '', lead.score))
  }
  owner.textContent = lead.owner_name ?? ''
  stage.querySelector('.stage').textContent = progress(lead)
}

function element (name, className, text) {
  const e = document.createElement(name)
  e.className = className
  e.textContent = text
  return e
}

// The same words as on the server.
function progress (lead) {
  if (lead.stage) return lead.stage.replaceAll('_', ' ')
  if (lead.state === 'done') return lead.verdict === 'disqualified' ? 'closed' : 'in touch'
  return lead.state
}
