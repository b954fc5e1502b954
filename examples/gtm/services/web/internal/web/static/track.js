// Tells the tracking service which page is looked at and which of its marked parts are clicked. The visitor has a name for as
// long as the tab is open, and none at all who does not want to be followed. The time at which an event is sent goes along,
// so that a clock that is wrong does no harm; the id lets an event be sent again.
const wanted = !navigator.globalPrivacyControl && navigator.doNotTrack !== '1'
if (wanted) {
  const visitor = sessionStorage.getItem('visitor') ?? crypto.randomUUID()
  sessionStorage.setItem('visitor', visitor)
  send('page')
  document.addEventListener('click', (event) => {
    const target = event.target.closest?.('[data-track]')
    if (target) send('click', target.dataset.track)
  })

  function send (kind, target) {
    const now = new Date().toISOString()
    const event = { id: crypto.randomUUID(), visitor, kind, path: location.pathname, target, at: now, sent_at: now }
    // A beacon is sent although the page is left; text/plain needs no leave of another origin.
    navigator.sendBeacon('/track', JSON.stringify([event]))
  }
}
