// Package metric keeps metrics in Prometheus' time series database and answers PromQL: in Go, and by Prometheus' HTTP API, so that
// Grafana reads it as it reads a Prometheus. Samples come over OTLP (Append), by scraping (Scraper), or as an exposition
// that Atoll writes of itself (AppendText, Text).
//
// # Durability
//
// When Append returns nil, what it did not count as dropped is in the database's log and the log is synced: it survives
// kill -9 and a power cut. Calls at the same time share a sync. Expositions and scrapes are in the log when the call returns, and
// survive kill -9, but nobody waits for a sync of theirs: a power cut loses those since the latest sync that anybody waited for,
// or that the system made by itself (about half a minute). They come again in seconds.
//
// The log is repaired when the store is opened: what follows a damaged record is cut off. Blocks that cannot be opened are
// moved to the folder torn, and if the logs of the newest hours cannot be read at all, so are they. Stats names all of that. A
// store never refuses to open for it.
//
// # Names
//
// Names are Prometheus' translation of OTLP: http.server.request.duration in s is http_server_request_duration_seconds, a monotonic
// sum ends in _total, a gauge of unit 1 in _ratio. Labels are the attributes of the point, with service and replica of the
// resource; other attributes of the resource are not kept. Attributes that are called service or replica become exported_service and
// exported_replica. Histograms are kept as _bucket, _sum and _count, with bounds written as in OpenMetrics (le="1.0", as of
// those that are scraped); exponential ones as native histograms, at scale 8 at most; summaries by quantile. Exemplars are not kept.
//
// Delta temporality is added up in memory: 20,000 series at most. When there are more, those that are silent for an
// hour are forgotten; if there are none, points of new ones are dropped. The sums begin from zero when the store is
// opened, which rate() reads as a counter that began again. A delta point that is not newer than the latest of its series
// has been counted before and is dropped; so an export that is sent twice counts once.
//
// # Bounds
//
// Series in memory are bounded in all and by service. Above nine tenths of all a service that has more than an equal share gets no
// more, so that the loudest loses first; series that are there go on. A service may send only so many samples a second. Samples more
// than 10 minutes ahead of the clock, and those that are older than the window, are dropped: one sample from the year 2100 would
// otherwise make all others too old. All drops are counted by service and cause; none is an error.
//
// On disk the oldest block goes first, by age or size. The newest hour or two, which are not in a block yet, are counted in the
// size but not removed; the rates bound them.
//
// A query may hold only so many samples and take only so long; four run at once, 64 wait, the others are told that it is busy.
package metric
