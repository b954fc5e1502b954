// Package api is what the control API says: the shapes that its server answers and its clients read, as
// openapi.yaml beside package control describes them. Fields are added, never renamed or taken away.
package api

import (
	"time"

	"github.com/atollhq/atoll/internal/fault"
)

// App is a running application.
type App struct {
	App         string    `json:"app"`
	Dir         string    `json:"dir"`
	Environment string    `json:"environment,omitempty"`
	Copy        string    `json:"copy,omitempty"` // of an isolated copy
	Version     string    `json:"version"`        // of Atoll
	PID         int       `json:"pid"`
	Started     time.Time `json:"started"`
	Gateway     string    `json:"gateway"`           // URL
	Console     string    `json:"console,omitempty"` // URL
	State       string    `json:"state"`             // starting, running, stopping
	MemoryBytes int64     `json:"memory_bytes"`
}

// Service is one service of the application and what became of it.
type Service struct {
	Service    string            `json:"service"`
	Owner      string            `json:"owner,omitempty"`
	Summary    string            `json:"summary,omitempty"`
	Dir        string            `json:"dir"`
	Build      string            `json:"build,omitempty"`
	Run        string            `json:"run"`
	API        string            `json:"api,omitempty"`
	Protocol   string            `json:"protocol"`
	Port       int               `json:"port,omitempty"` // that the program insists on
	Ready      string            `json:"ready"`
	Database   string            `json:"database,omitempty"`
	Replicas   int               `json:"replicas"` // wanted
	Calls      []Call            `json:"calls"`
	CalledBy   []string          `json:"called_by"`
	Routes     []Route           `json:"routes"`
	Publishes  []string          `json:"publishes"`
	Subscribes map[string]string `json:"subscribes"`
	Sagas      []string          `json:"sagas"`   // that it may start
	Takes      []SagaUse         `json:"takes"`   // steps of sagas that call it
	Secrets    []string          `json:"secrets"` // names only
	Env        map[string]string `json:"env"`     // as the manifest has it; values that hold secrets are hidden
	Running    []Replica         `json:"running"`
}

// SagaUse is what a service does in a saga.
type SagaUse struct {
	Saga  string   `json:"saga"`
	Steps []string `json:"steps"` // that it takes or undoes
}

// Call is a service that another may call.
type Call struct {
	Service string `json:"service"`
	Addr    string `json:"addr"` // where the caller finds it: host:port
	Timeout string `json:"timeout"`
	Tries   int    `json:"tries"`
}

// Route leads from the gateway to a service.
type Route struct {
	Path    string   `json:"path"`
	Host    string   `json:"host,omitempty"`
	Methods []string `json:"methods,omitempty"`
	Auth    []string `json:"auth,omitempty"`
	Limits  []string `json:"limits,omitempty"`
	Strip   string   `json:"strip,omitempty"`   // prefix that is taken away before the service sees the path
	Rewrite string   `json:"rewrite,omitempty"` // prefix that is put in its place
}

// Replica is one running copy of a service.
type Replica struct {
	Service     string    `json:"service"`
	Replica     string    `json:"replica"`
	State       string    `json:"state"`
	PID         int       `json:"pid"` // 0 when there is no process
	URL         string    `json:"url"` // where it listens
	Version     string    `json:"version"`
	Restarts    int       `json:"restarts"`
	ReadyMS     int64     `json:"ready_ms"` // from start to ready; 0 before
	MemoryBytes int64     `json:"memory_bytes"`
	CPUMS       int64     `json:"cpu_ms"`
	Since       time.Time `json:"since"`
	Reason      string    `json:"reason,omitempty"`
	Errors      int64     `json:"errors"` // requests that it answered with 5xx or not at all
}

// Event is something that happened: a change of a replica's state, a reload, a notice.
type Event struct {
	Seq     int64        `json:"seq"` // rises by one
	Time    time.Time    `json:"time"`
	Kind    string       `json:"kind"` // replica, reload, notice
	Service string       `json:"service,omitempty"`
	Replica string       `json:"replica,omitempty"`
	From    string       `json:"from,omitempty"`
	To      string       `json:"to,omitempty"`
	URL     string       `json:"url,omitempty"`
	ReadyMS int64        `json:"ready_ms,omitempty"`
	Text    string       `json:"text"`
	Fault   *fault.Error `json:"fault,omitempty"`
	Final   bool         `json:"final,omitempty"` // it is not tried again until something changes
	Loop    bool         `json:"loop,omitempty"`  // it crashes again and again
	Lines   []string     `json:"lines,omitempty"` // the last lines of output behind it
	Missed  int64        `json:"missed,omitempty"`
}

// The kinds of events.
const (
	EventReplica = "replica"
	EventReload  = "reload"
	EventNotice  = "notice"
)

// Scale asks for a number of replicas.
type Scale struct {
	Replicas int `json:"replicas"`
}

// Findings is what a check or a reload found.
type Findings struct {
	Findings fault.List `json:"findings"`
}

// Run is how to reach a running application: the contents of the file run.json in its state folder.
type Run struct {
	PID    int    `json:"pid"`
	Socket string `json:"socket"` // path of the unix socket
	Addr   string `json:"addr"`   // loopback TCP
	Token  string `json:"token"`  // for TCP
	App    App    `json:"app"`
}

// RunFile is the name of the file that holds Run.
const RunFile = "run.json"
