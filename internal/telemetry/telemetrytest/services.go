package telemetrytest

import (
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"

	"github.com/atollhq/atoll/internal/telemetry"
)

// language is what the services written in one language have in common.
type language struct {
	name, sdk      string // telemetry.sdk.language and version
	runtime        string
	runtimeVersion string
	executable     string
	command        string // with %s for the service
	http, httpOut  telemetry.Scope
	db, cache      telemetry.Scope
	messages, rpc  telemetry.Scope
	exceptions     []string
	file           string // suffix of source files
	frame          string // of a stack trace: %[1]s module, %[2]s function, %[3]d line
	firstLine      string // of a stack trace: %[1]s exception, %[2]s message
	atTail         bool   // the exception comes last
}

func languages() map[string]*language {
	list := []*language{
		{
			name: "java", sdk: "1.51.0", runtime: "OpenJDK Runtime Environment", runtimeVersion: "21.0.8+9-LTS", executable: "/opt/java/openjdk/bin/java",
			command: "/opt/java/openjdk/bin/java -javaagent:/otel/opentelemetry-javaagent.jar -XX:MaxRAMPercentage=70 -jar /app/%s.jar",
			http:    telemetry.Scope{Name: "io.opentelemetry.tomcat-10.0", Version: "2.17.0-alpha"}, httpOut: telemetry.Scope{Name: "io.opentelemetry.java-http-client", Version: "2.17.0-alpha"},
			db: telemetry.Scope{Name: "io.opentelemetry.jdbc", Version: "2.17.0-alpha"}, cache: telemetry.Scope{Name: "io.opentelemetry.lettuce-5.1", Version: "2.17.0-alpha"},
			messages: telemetry.Scope{Name: "io.opentelemetry.kafka-clients-0.11", Version: "2.17.0-alpha"}, rpc: telemetry.Scope{Name: "io.opentelemetry.grpc-1.6", Version: "2.17.0-alpha"},
			exceptions: []string{"java.net.SocketTimeoutException", "java.lang.IllegalStateException", "org.postgresql.util.PSQLException", "java.util.concurrent.TimeoutException", "java.lang.NullPointerException"},
			file:       ".java", firstLine: "%[1]s: %[2]s", frame: "\tat com.example.%[1]s.%[2]s(%[2]s.java:%[3]d)",
		},
		{
			name: "go", sdk: "1.38.0", runtime: "go", runtimeVersion: "go1.26.8", executable: "%s", command: "/usr/local/bin/%s --config=/etc/app/config.yaml",
			http: telemetry.Scope{Name: "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", Version: "0.63.0"}, httpOut: telemetry.Scope{Name: "go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp", Version: "0.63.0"},
			db: telemetry.Scope{Name: "github.com/XSAM/otelsql", Version: "0.40.0"}, cache: telemetry.Scope{Name: "github.com/redis/go-redis/extra/redisotel", Version: "9.14.0"},
			messages: telemetry.Scope{Name: "github.com/twmb/franz-go/plugin/kotel", Version: "1.6.0"}, rpc: telemetry.Scope{Name: "go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc", Version: "0.63.0"},
			exceptions: []string{"*net.OpError", "*errors.errorString", "*pgconn.PgError", "context.deadlineExceededError"},
			file:       ".go", firstLine: "goroutine 1 [running]: %[1]s: %[2]s", frame: "example.com/shop/%[1]s.%[2]s(0xc000%[3]04x)\n\t/src/%[1]s/%[2]s.go:%[3]d +0x%[3]x",
		},
		{
			name: "nodejs", sdk: "2.1.0", runtime: "nodejs", runtimeVersion: "22.19.0", executable: "/usr/local/bin/node", command: "/usr/local/bin/node --require @opentelemetry/auto-instrumentations-node/register /app/%s/server.js",
			http: telemetry.Scope{Name: "@opentelemetry/instrumentation-http", Version: "0.204.0"}, httpOut: telemetry.Scope{Name: "@opentelemetry/instrumentation-undici", Version: "0.15.0"},
			db: telemetry.Scope{Name: "@opentelemetry/instrumentation-pg", Version: "0.57.0"}, cache: telemetry.Scope{Name: "@opentelemetry/instrumentation-ioredis", Version: "0.52.0"},
			messages: telemetry.Scope{Name: "@opentelemetry/instrumentation-kafkajs", Version: "0.14.0"}, rpc: telemetry.Scope{Name: "@opentelemetry/instrumentation-grpc", Version: "0.204.0"},
			exceptions: []string{"TypeError", "Error", "FetchError", "AbortError"},
			file:       ".js", firstLine: "%[1]s: %[2]s", frame: "    at async %[2]s (/app/src/%[1]s/%[2]s.js:%[3]d:17)",
		},
		{
			name: "python", sdk: "1.37.0", runtime: "cpython", runtimeVersion: "3.13.7", executable: "/usr/local/bin/python3.13", command: "/usr/local/bin/python3.13 -m uvicorn %s.main:app --host 0.0.0.0 --port 8000",
			http: telemetry.Scope{Name: "opentelemetry.instrumentation.fastapi", Version: "0.58b0"}, httpOut: telemetry.Scope{Name: "opentelemetry.instrumentation.httpx", Version: "0.58b0"},
			db: telemetry.Scope{Name: "opentelemetry.instrumentation.psycopg", Version: "0.58b0"}, cache: telemetry.Scope{Name: "opentelemetry.instrumentation.redis", Version: "0.58b0"},
			messages: telemetry.Scope{Name: "opentelemetry.instrumentation.aiokafka", Version: "0.58b0"}, rpc: telemetry.Scope{Name: "opentelemetry.instrumentation.grpc", Version: "0.58b0"},
			exceptions: []string{"ValueError", "KeyError", "httpx.ReadTimeout", "psycopg.OperationalError"}, atTail: true,
			file: ".py", firstLine: "%[1]s: %[2]s", frame: "  File \"/app/%[1]s/%[2]s.py\", line %[3]d, in %[2]s\n    return await self.%[2]s(request)",
		},
		{
			name: "dotnet", sdk: "1.13.0", runtime: ".NET", runtimeVersion: "9.0.9", executable: "/usr/bin/dotnet", command: "dotnet /app/%s.dll",
			http: telemetry.Scope{Name: "Microsoft.AspNetCore"}, httpOut: telemetry.Scope{Name: "System.Net.Http"},
			db: telemetry.Scope{Name: "Npgsql", Version: "9.0.3"}, cache: telemetry.Scope{Name: "OpenTelemetry.Instrumentation.StackExchangeRedis", Version: "1.12.0"},
			messages: telemetry.Scope{Name: "Confluent.Kafka.Extensions.Diagnostics", Version: "0.5.0"}, rpc: telemetry.Scope{Name: "OpenTelemetry.Instrumentation.GrpcNetClient", Version: "1.12.0"},
			exceptions: []string{"System.TimeoutException", "System.InvalidOperationException", "Npgsql.NpgsqlException"},
			file:       ".cs", firstLine: "%[1]s: %[2]s", frame: "   at Shop.%[1]s.%[2]s(CancellationToken ct) in /src/%[1]s/%[2]s.cs:line %[3]d",
		},
	}
	all := map[string]*language{}
	for _, l := range list {
		all[l.name] = l
	}
	for name, like := range map[string][2]string{"ruby": {"python", "ruby"}, "php": {"nodejs", "php"}, "rust": {"go", "rustc"}, "cpp": {"go", "gcc"}} {
		l := *all[like[0]]
		l.name, l.runtime = name, like[1]
		l.http.Name, l.httpOut.Name = "opentelemetry-"+name+"-http", "opentelemetry-"+name+"-http-client"
		l.rpc.Name = "opentelemetry-" + name + "-grpc"
		all[name] = &l
	}
	return all
}

// service is a service of the shop.
type service struct {
	number   int
	name     string
	lang     *language
	port     int64
	replicas []*telemetry.Resource
	hosts    []string // of the replicas
	scopes   scopes
}

// scopes are shared by all spans of a service.
type scopes struct{ http, httpOut, db, cache, messages, rpc, own *telemetry.Scope }

func newServices(r *rand.Rand) []*service {
	langs := languages()
	var all []*service
	for i, line := range []string{
		"web nodejs 3 4.18.2", "bff nodejs 3 2.40.0", "checkout go 3 1.92.4", "orders java 3 5.6.1", "payments java 2 3.14.0", "cart dotnet 2 2.8.17", "catalog go 3 7.3.0",
		"search python 2 0.44.1", "pricing go 2 1.30.2", "inventory java 2 4.1.9", "shipping rust 2 0.19.3", "notifications nodejs 2 1.12.5", "email ruby 1 3.3.1", "users go 2 6.0.12",
		"auth go 2 8.2.0", "recommendations python 2 0.9.8", "reviews php 1 2.2.6", "ads java 1 1.77.0", "invoices dotnet 1 3.0.4", "fraud python 2 1.5.0", "loyalty go 1 0.31.7",
		"warehouse java 1 2.19.2", "media go 2 1.4.4", "reports python 1 0.7.3", "currency cpp 1 1.1.0",
	} {
		f := strings.Fields(line)
		s := &service{number: i, name: f[0], lang: langs[f[1]], port: int64(8000 + 10*i)}
		l := s.lang
		own := telemetry.Scope{Name: "shop/" + s.name, Version: f[3]}
		s.scopes = scopes{http: &l.http, httpOut: &l.httpOut, db: &l.db, cache: &l.cache, messages: &l.messages, rpc: &l.rpc, own: &own}
		n, err := strconv.Atoi(f[2])
		if err != nil {
			panic(err) // the table above is wrong
		}
		for range n {
			s.add(r, f[3])
		}
		all = append(all, s)
	}
	return all
}

// add adds a replica.
func (s *service) add(r *rand.Rand, version string) {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	host := fmt.Sprintf("%s-%s-%s", s.name, hex.EncodeToString(b[:5]), hex.EncodeToString(b[5:7])+"k")
	executable := s.lang.executable
	if executable == "%s" {
		executable = s.name
	}
	text := map[string]string{
		"deployment.environment.name": "production", "service.namespace": "shop", "service.version": version,
		"telemetry.sdk.name": "opentelemetry", "telemetry.sdk.language": s.lang.name, "telemetry.sdk.version": s.lang.sdk,
		"host.name": host, "host.arch": "amd64", "host.id": hex.EncodeToString(b[:]), "os.type": "linux", "os.description": "Debian GNU/Linux 12 (bookworm) Linux 6.1.0-39-cloud-amd64",
		"process.executable.name": executable, "process.command_line": strings.ReplaceAll(s.lang.command, "%s", s.name),
		"process.runtime.name": s.lang.runtime, "process.runtime.version": s.lang.runtimeVersion, "process.owner": "app",
	}
	attrs := []telemetry.Attr{{Key: "process.pid", Value: telemetry.Int(int64(1 + r.IntN(4000)))}}
	for k, v := range text {
		attrs = append(attrs, telemetry.Attr{Key: k, Value: telemetry.String(v)})
	}
	slices.SortFunc(attrs, func(a, b telemetry.Attr) int { return strings.Compare(a.Key, b.Key) })
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	id := fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
	s.replicas = append(s.replicas, &telemetry.Resource{Service: s.name, Replica: id, Attrs: attrs})
	s.hosts = append(s.hosts, host)
}
