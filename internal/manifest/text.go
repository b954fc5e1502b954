package manifest

import (
	"fmt"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// The types of this file are written as one word of text. Their UnmarshalText answers a *fault.Error without a
// position, which the decoder adds.

// UnmarshalText reads "250ms", "10s", "1h30m".
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fault.New(fault.CodeBadDuration, "%q is not a time span", text).
			Fix("write a number and a unit (ms, s, m, h), such as 250ms, 10s or 1h30m")
	}
	*d = Duration(v)
	return nil
}

// MarshalText is the span as Go writes it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// String is the span as Go writes it.
func (d Duration) String() string { return time.Duration(d).String() }

const sizePattern = `^([0-9]+)(B|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$`

var sizeForm = regexp.MustCompile(sizePattern)

// unit is the number of bytes that a unit of size stands for.
func unit(name string) int64 {
	base := int64(1000)
	if strings.HasSuffix(name, "iB") {
		base = 1024
	}
	power := strings.Index("KMGT", name[:min(1, len(name))]) + 1
	if name == "" || name == "B" {
		power = 0
	}
	n := int64(1)
	for range power {
		n *= base
	}
	return n
}

// UnmarshalText reads "512", "64KB", "10MiB".
func (s *Size) UnmarshalText(text []byte) error {
	bad := fault.New(fault.CodeBadSize, "%q is not a size", text).
		Fix("write a whole number and a unit, such as 64KB, 10MB or 1GiB")
	m := sizeForm.FindSubmatch(text)
	if m == nil {
		return bad
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	u := unit(string(m[2]))
	if err != nil || n > math.MaxInt64/u {
		return bad
	}
	*s = Size(n * u)
	return nil
}

// String is the size in the largest unit that divides it.
func (s Size) String() string {
	for _, name := range []string{"TiB", "TB", "GiB", "GB", "MiB", "MB", "KiB", "KB"} {
		if u := Size(unit(name)); s >= u && s%u == 0 {
			return strconv.FormatInt(int64(s/u), 10) + name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// MarshalText is String.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

const (
	replicasPattern = `^[0-9]+(\.\.[0-9]+)?$`
	maxReplicas     = 1000
)

// UnmarshalText reads "2" or "3..12".
func (r *Replicas) UnmarshalText(text []byte) error {
	low, high, isRange := strings.Cut(string(text), "..")
	if !isRange {
		high = low
	}
	lo, err1 := strconv.Atoi(low)
	hi, err2 := strconv.Atoi(high)
	if err1 != nil || err2 != nil || lo < 0 || hi < lo || hi > maxReplicas {
		return fault.New(fault.CodeBadValue, "%q is not a number of replicas", text).
			Fix("write a number such as 2, or a range from low to high such as 3..12, of at most %d", maxReplicas)
	}
	*r = Replicas{Min: lo, Max: hi}
	return nil
}

// String is "2" or "3..12".
func (r Replicas) String() string {
	if r.Min == r.Max {
		return strconv.Itoa(r.Min)
	}
	return fmt.Sprintf("%d..%d", r.Min, r.Max)
}

const readinessPattern = `^(tcp|grpc|/[^\s]*)$`

// UnmarshalText reads "/path", "grpc" or "tcp".
func (r *Readiness) UnmarshalText(text []byte) error {
	switch s := string(text); {
	case s == "tcp":
		*r = Readiness{Kind: ReadyTCP}
	case s == "grpc":
		*r = Readiness{Kind: ReadyGRPC}
	case strings.HasPrefix(s, "/") && !strings.ContainsAny(s, " \t\r\n"):
		*r = Readiness{Kind: ReadyHTTP, Path: s}
	default:
		return fault.New(fault.CodeBadValue, "%q does not say when a replica is ready", text).
			Fix("write a path such as /healthz, or grpc, or tcp")
	}
	return nil
}

// String is what the manifest says.
func (r Readiness) String() string {
	if r.Kind == ReadyHTTP {
		return r.Path
	}
	return string(r.Kind)
}

const databasePattern = `^(sqlite|postgres|[a-z][a-z0-9+]*://.+)$`

// UnmarshalText reads "sqlite", "postgres" or a URL.
func (d *Database) UnmarshalText(text []byte) error {
	switch s := string(text); s {
	case "sqlite", "postgres":
		*d = Database{Kind: DatabaseKind(s)}
	default:
		u, err := url.Parse(s)
		if err != nil || u.Scheme == "" || (u.Host == "" && u.Path == "") {
			return fault.New(fault.CodeBadValue, "this is not a database").
				Fix("write sqlite, postgres, or the URL of a database that exists, such as postgres://user@host/name")
		}
		*d = Database{Kind: DatabaseExisting, URL: s}
	}
	return nil
}

const limitPattern = `^[1-9][0-9]*/(s|m|h|d)( burst [1-9][0-9]*)?( per (address|subject|key|route|header [A-Za-z0-9-]+))?$`

var limitForm = regexp.MustCompile(`^([1-9][0-9]{0,8})/([smhd])(?: burst ([1-9][0-9]{0,8}))?(?: per (address|subject|key|route|header ([A-Za-z0-9-]+)))?$`)

// UnmarshalText reads "50/s per subject" or "1000/m burst 50 per header X-Tenant".
func (l *Limit) UnmarshalText(text []byte) error {
	m := limitForm.FindStringSubmatch(string(text))
	if m == nil {
		return fault.New(fault.CodeBadLimit, "%q is not a limit", text).
			Fix("write COUNT/s, /m, /h or /d, then if need be \"burst COUNT\" and \"per address\", " +
				"\"per subject\", \"per key\", \"per route\" or \"per header NAME\", such as 50/s per subject")
	}
	per := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour}
	out := Limit{Per: per[m[2]], By: LimitByAddress, Header: m[5]}
	out.Count, _ = strconv.Atoi(m[1]) // the form holds at most nine digits
	out.Burst = out.Count
	if m[3] != "" {
		out.Burst, _ = strconv.Atoi(m[3])
	}
	switch {
	case m[5] != "":
		out.By = LimitByHeader
	case m[4] != "":
		out.By = LimitBy(m[4])
	}
	*l = out
	return nil
}

// String is the limit as a manifest writes it.
func (l Limit) String() string {
	units := map[time.Duration]string{time.Second: "s", time.Minute: "m", time.Hour: "h", 24 * time.Hour: "d"}
	s := fmt.Sprintf("%d/%s", l.Count, units[l.Per])
	if l.Burst != l.Count {
		s += fmt.Sprintf(" burst %d", l.Burst)
	}
	s += " per " + string(l.By)
	if l.By == LimitByHeader {
		s += " " + l.Header
	}
	return s
}

// UnmarshalText reads the name of a service.
func (c *Call) UnmarshalText(text []byte) error {
	c.Service = string(text)
	return nil
}

func (*Call) shortForm() string { return "the name of a service" }

// UnmarshalText reads the name of a topic.
func (p *Publish) UnmarshalText(text []byte) error {
	p.Topic = string(text)
	return nil
}

func (*Publish) shortForm() string { return "the name of a topic" }

// UnmarshalText reads where the events go.
func (s *Subscription) UnmarshalText(text []byte) error {
	s.To = string(text)
	return nil
}

func (*Subscription) shortForm() string { return "a path or nats" }

// Outbox tells whether a service's outbox can be in the database.
func (d Database) Outbox() bool {
	scheme, _, _ := strings.Cut(d.URL, "://")
	switch d.Kind {
	case DatabaseSQLite, DatabasePostgres:
		return true
	case DatabaseExisting:
		return slices.Contains([]string{"postgres", "postgresql", "mysql", "mariadb"}, scheme)
	default:
		return false
	}
}
