package manifest

import (
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// App is an application as its atoll.yaml and the service.yaml files it names describe it, with one
// environment laid over, every variable put in and every default filled in. It is never changed after Load:
// a new manifest is a new App.
type App struct {
	Name         string                 `key:"app" required:"true" doc:"Name of the application: lower-case letters, digits and hyphens."`
	Services     []*Service             `key:"services" required:"true" doc:"Folders that hold a service.yaml (globs are allowed), or services written out in place."`
	Gateway      Gateway                `key:"gateway" doc:"The edge: where clients from outside come in."`
	Postgres     string                 `key:"postgres" doc:"URL of the PostgreSQL server on which services with database: postgres get their databases, with a role that may create databases and roles. Without it the environment variable ATOLL_POSTGRES is read; without that, up starts a private server."`
	Events       Events                 `key:"events" doc:"Where events are kept, and for how long."`
	SagaFiles    []string               `key:"sagas" doc:"Files of saga definitions, such as sagas/*.yaml (globs are allowed); each defines one saga."`
	SagaStore    SagaStore              `key:"saga_store" doc:"Where the instances of sagas are kept, and for how long."`
	Console      Console                `key:"console" doc:"The web console."`
	Telemetry    Telemetry              `key:"telemetry" doc:"Traces, metrics and logs: where they come in, how long they are kept, where they go on to."`
	Alerts       map[string]*Alert      `key:"alerts" doc:"Alerts by name, beside the default ones: a query and a threshold, or an objective for a service."`
	Alerting     Alerting               `key:"alerting" doc:"Who is told of alerts."`
	Environments map[string]Environment `key:"environments" doc:"Overlays by name, chosen by --environment: what they set replaces what stands above; maps are merged, lists are replaced."`

	Dir         string            `key:"-"` // absolute path of the folder of atoll.yaml
	Environment string            `key:"-"` // name of the overlay in force, or ""
	Env         map[string]string `key:"-"` // variables of .env and of Atoll's own environment, the latter winning
	Sagas       []*Saga           `key:"-"` // what SagaFiles define, by name
}

// Environment is an overlay.
type Environment struct {
	Gateway   *Gateway            `key:"gateway" doc:"Overrides of the gateway."`
	Postgres  string              `key:"postgres" doc:"Override of postgres."`
	Events    *Events             `key:"events" doc:"Overrides of events."`
	SagaStore *SagaStore          `key:"saga_store" doc:"Overrides of saga_store."`
	Telemetry *Telemetry          `key:"telemetry" doc:"Overrides of telemetry."`
	Alerts    map[string]*Alert   `key:"alerts" doc:"Overrides of alerts by name, and further alerts."`
	Alerting  *Alerting           `key:"alerting" doc:"Overrides of alerting."`
	Services  map[string]*Service `key:"services" doc:"Overrides of services, by the service's name; any key of a service but its name may be overridden."`
}

// Protocol is what a service speaks on its port.
type Protocol string

// The protocols.
const (
	ProtocolHTTP Protocol = "http" // HTTP/1.1, also what is carried in it: SSE, WebSocket
	ProtocolGRPC Protocol = "grpc" // HTTP/2 with prior knowledge (h2c)
	ProtocolTCP  Protocol = "tcp"  // bytes; may be called, cannot be routed
)

// Service is one service, owned by one team.
type Service struct {
	Name       string                  `key:"service" required:"true" doc:"Name of the service: lower-case letters, digits and hyphens, at most 40."`
	Owner      string                  `key:"owner" doc:"The team that answers for the service."`
	Summary    string                  `key:"summary" doc:"What the service is for, in one sentence."`
	Build      string                  `key:"build" doc:"Command that builds the service, run in its folder before the first start and after each change of a file."`
	Run        string                  `key:"run" required:"true" doc:"Command that runs one replica, in the service's folder."`
	API        string                  `key:"api" doc:"The service's contract: path of an OpenAPI document or a .proto file."`
	Protocol   Protocol                `key:"protocol" enum:"http,grpc,tcp" default:"http" doc:"What the service speaks on its port."`
	Port       int                     `key:"port" doc:"The port of a program that insists on one. Without it each replica gets a free one, in PORT."`
	Ready      Readiness               `key:"ready" default:"tcp" doc:"When a replica counts as ready: a path that answers 2xx to GET, grpc (the gRPC health service), or tcp (the port accepts)."`
	Metrics    string                  `key:"metrics" doc:"Path that metrics are read from, in the text format of Prometheus, on the service's port."`
	Calls      []Call                  `key:"calls" doc:"Services that this one may call; each gives NAME_URL and NAME_ADDR. Nothing else can be called."`
	Publishes  []Publish               `key:"publishes" doc:"Topics that this service may publish events to, by POST to EVENTS_URL/TOPIC or over NATS_URL; each a name or a mapping. Nothing else can be published."`
	Subscribes map[string]Subscription `key:"subscribes" doc:"Topics whose events come to this service, each with the path that takes them, with nats, or with a mapping."`
	Schedules  []Schedule              `key:"schedules" doc:"Events that are published by the clock in this service's name."`
	Sagas      []string                `key:"sagas" doc:"Sagas that this service may start, query and cancel, by requests to SAGAS_URL/NAME."`
	Outbox     bool                    `key:"outbox" doc:"Publish what the service puts into the table atoll_outbox of its own database, once its transaction has committed."`
	Database   Database                `key:"database" doc:"A database of the service's own, in DATABASE_URL: sqlite, postgres, or the URL of one that exists already."`
	Secrets    []string                `key:"secrets" doc:"Secrets that the service gets, each as an environment variable in upper case."`
	Env        map[string]string       `key:"env" doc:"Environment variables of the service; values may hold ${calls.NAME.url}, ${calls.NAME.addr} and ${env.NAME}."`
	Replicas   Replicas                `key:"replicas" default:"1" doc:"How many copies run: a number, or a range such as 3..12."`
	Limits     Limits                  `key:"limits" doc:"What one replica may use."`
	Grace      Duration                `key:"grace" default:"10s" doc:"How long a replica may take to end after SIGTERM before it is killed."`
	StartLimit Duration                `key:"start_limit" default:"60s" doc:"How long a replica may take to become ready before it counts as crashed."`
	Watch      Watch                   `key:"watch" doc:"Which files make up the service, so that a change rebuilds it."`

	Dir     string            `key:"dir" doc:"Only of a service written in place: its folder, relative to atoll.yaml."` // absolute after Load
	Written map[string]string `key:"-"`                                                                                 // texts of run, build and "env.NAME" as the manifest has them, variables not put in

	At fault.Position `key:"-"` // where the service is declared
}

// ReadinessKind is how readiness is asked for.
type ReadinessKind string

// The kinds of readiness.
const (
	ReadyHTTP ReadinessKind = "http"
	ReadyGRPC ReadinessKind = "grpc"
	ReadyTCP  ReadinessKind = "tcp"
)

// Readiness tells when a replica is ready.
type Readiness struct {
	Kind ReadinessKind
	Path string // of ReadyHTTP
}

// Call is one service that another may call, and how patient the caller is.
type Call struct {
	Service    string   `key:"service" required:"true" doc:"Name of the service that may be called."`
	Timeout    Duration `key:"timeout" default:"30s" doc:"How long one call may take until its response begins, tries and waiting included; 0s means no limit."`
	Tries      int      `key:"tries" default:"3" doc:"How often a call that is safe to repeat is tried at most."`
	TryTimeout Duration `key:"try_timeout" doc:"How long one try may take until its response begins; default what timeout leaves."`
}

// DatabaseKind is where a service's database comes from.
type DatabaseKind string

// The kinds of databases.
const (
	DatabaseNone     DatabaseKind = ""
	DatabaseSQLite   DatabaseKind = "sqlite"
	DatabasePostgres DatabaseKind = "postgres"
	DatabaseExisting DatabaseKind = "existing"
)

// Database is the database of a service.
type Database struct {
	Kind DatabaseKind
	URL  string // of DatabaseExisting
}

// Replicas is a number of replicas, or a range of them. Without a range Min and Max are equal.
type Replicas struct{ Min, Max int }

// Limits is what one replica may use; zero means no limit.
type Limits struct {
	Memory Size    `key:"memory" doc:"Memory of one replica, such as 256MB or 1GiB."`
	CPU    float64 `key:"cpu" doc:"Processors that one replica may keep busy, such as 0.5."`
}

// Watch tells which files belong to a service.
type Watch struct {
	Off     bool     `key:"off" doc:"Do not watch this service's files."`
	Exclude []string `key:"exclude" doc:"Patterns, as in .gitignore, of files whose change does not matter. What .gitignore names is excluded already."`
	Also    []string `key:"also" doc:"Further folders that the service is built from, relative to its own."`
}

// Gateway is the edge of the application.
type Gateway struct {
	Listen         string          `key:"listen" default:"127.0.0.1:8080" doc:"Address and port to listen on; port 0 takes a free one."`
	TLS            *TLS            `key:"tls" doc:"Serve TLS (HTTP/1.1 and HTTP/2) instead of plain text."`
	Auth           map[string]Auth `key:"auth" doc:"Ways to prove who a client is, by a name that routes refer to."`
	Routes         []Route         `key:"routes" doc:"Which requests go to which service. The most specific route wins, whatever the order."`
	CORS           *CORS           `key:"cors" doc:"Cross-origin requests that browsers may make; a route may have its own."`
	Body           Size            `key:"body" default:"10MB" doc:"Largest request body; a route may have its own. A stream without a length is cut off there."`
	Headers        Size            `key:"headers" default:"64KB" doc:"Largest request head."`
	HeaderTimeout  Duration        `key:"header_timeout" default:"10s" doc:"How long a client may take to send a request's head."`
	IdleTimeout    Duration        `key:"idle_timeout" default:"120s" doc:"How long an idle connection is kept."`
	Timeout        Duration        `key:"timeout" default:"60s" doc:"How long a request may take until its response begins, tries and waiting included; a route may have its own; 0s means no limit."`
	TrustedProxies []string        `key:"trusted_proxies" doc:"Networks (CIDR) of proxies in front, whose X-Forwarded-For is believed."`
	Security       *bool           `key:"security_headers" default:"true" doc:"Add X-Content-Type-Options, X-Frame-Options, Referrer-Policy and, under TLS, Strict-Transport-Security where the service did not set them."`
	AccessLog      *bool           `key:"access_log" default:"true" doc:"Write a line for each request."`
}

// TLS is a certificate and its key, in PEM files.
type TLS struct {
	Cert string `key:"cert" required:"true" doc:"File of the certificate chain (PEM)."`
	Key  string `key:"key" required:"true" doc:"File of the private key (PEM)."`
}

// Auth is one way to prove who a client is; exactly one field is set.
type Auth struct {
	JWT    *JWT    `key:"jwt" doc:"A bearer token signed by an issuer."`
	APIKey *APIKey `key:"apiKey" doc:"A key in a header."`
}

// JWT says which tokens are taken.
type JWT struct {
	Issuer     string   `key:"issuer" required:"true" doc:"The iss claim that a token must have."`
	Audience   string   `key:"audience" required:"true" doc:"An aud that a token must have."`
	JWKS       string   `key:"jwks" required:"true" doc:"The issuer's public keys: a file or an https URL (http only for loopback)."`
	Algorithms []string `key:"algorithms" doc:"Signature algorithms that are taken. Default: RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA."`
	Leeway     Duration `key:"leeway" default:"30s" doc:"Tolerance for clocks that differ."`
}

// APIKey says where a key is found and which keys are good.
type APIKey struct {
	Header string `key:"header" default:"X-Api-Key" doc:"Header that holds the key."`
	Keys   string `key:"keys" required:"true" doc:"Name of the secret that holds the keys: one a line or separated by commas, each a key as NAME:KEY or NAME:sha256:HEX."`
}

// Route sends requests to a service, publishes them as events, or starts sagas with them.
type Route struct {
	Path       string            `key:"path" required:"true" doc:"Path that must match: * stands for one segment, ** at the end for the rest."`
	To         string            `key:"to" doc:"Name of the service that gets the requests. A route has exactly one of this, publish and start."`
	Publish    string            `key:"publish" doc:"Topic to which the body of each request is published as an event, instead of going to a service. The client gets 202 when the event is durable. Without methods the route takes POST only."`
	Start      string            `key:"start" doc:"Saga that each request starts, with the request's body as its input. The client gets 202 when the instance is durable. Without methods the route takes POST only."`
	Webhook    *Webhook          `key:"webhook" doc:"Signature that requests must bear; it is verified over the whole body before anything else is done with the request."`
	Host       string            `key:"host" doc:"Host that must match; *.example.com stands for every name below."`
	Methods    []string          `key:"methods" doc:"Methods that match; default all."`
	Header     map[string]string `key:"header" doc:"Headers that must be there with exactly this value; * means any."`
	Query      map[string]string `key:"query" doc:"Query parameters that must be there with exactly this value; * means any."`
	Strip      string            `key:"strip" doc:"Prefix of the path to take away before the service sees it."`
	Rewrite    string            `key:"rewrite" doc:"Prefix to put in front after strip."`
	Auth       []string          `key:"auth" doc:"Names of the ways to prove who the client is, one of which must succeed."`
	Limit      []Limit           `key:"limit" doc:"Limits such as 50/s per subject."`
	Timeout    *Duration         `key:"timeout" doc:"How long a request may take until its response begins; default the gateway's."`
	Tries      int               `key:"tries" default:"3" doc:"How often a request that is safe to repeat is tried at most."`
	TryTimeout Duration          `key:"try_timeout" doc:"How long one try may take until its response begins; default what timeout leaves."`
	Body       Size              `key:"body" doc:"Largest request body; default the gateway's."`
	CORS       *CORS             `key:"cors" doc:"Cross-origin requests; default the gateway's."`

	At fault.Position `key:"-"` // where the route is declared
}

// LimitBy is what requests are counted by.
type LimitBy string

// What requests can be counted by.
const (
	LimitByAddress LimitBy = "address" // the client's address
	LimitBySubject LimitBy = "subject" // who the client proved to be
	LimitByKey     LimitBy = "key"     // the API key
	LimitByHeader  LimitBy = "header"  // the value of a header
	LimitByRoute   LimitBy = "route"   // all requests of the route together
)

// Limit is a rate: "50/s per subject", "1000/m burst 50 per header X-Tenant".
type Limit struct {
	Count  int           // requests
	Per    time.Duration // in this time
	Burst  int           // how many may come at once; default Count
	By     LimitBy       // default LimitByAddress
	Header string        // of LimitByHeader
}

// CORS is which cross-origin requests browsers may make.
type CORS struct {
	Origins     []string `key:"origins" required:"true" doc:"Origins that are allowed, such as https://app.example.com; * means any, without credentials."`
	Methods     []string `key:"methods" doc:"Methods that are allowed. Default GET, HEAD, POST, PUT, PATCH, DELETE."`
	Headers     []string `key:"headers" doc:"Request headers that are allowed. Default those that the browser asks for."`
	Expose      []string `key:"expose" doc:"Response headers that the page may read."`
	Credentials bool     `key:"credentials" doc:"Allow cookies and authorization."`
	MaxAge      Duration `key:"max_age" default:"10m" doc:"How long a browser may remember the answer."`
}

// Duration is a time span, written as Go writes it: 250ms, 10s, 1h30m.
type Duration time.Duration

// Std is the span as the standard library has it.
func (d Duration) Std() time.Duration { return time.Duration(d) }

// Size is a number of bytes, written 512, 64KB, 10MB, 1GB (powers of 1000) or 64KiB, 10MiB, 1GiB (of 1024).
type Size int64
