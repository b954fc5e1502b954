package manifest

import (
	"fmt"
	"reflect"
	"strings"
)

// Reference is the reference of all keys in Markdown, made of the tags that the decoder reads.
func Reference() string {
	var b strings.Builder
	b.WriteString("# Manifest reference\n\n<!-- Generated from internal/manifest/types.go by `make generate`. -->\n\n" +
		"Every key of `atoll.yaml`, `service.yaml` and the files of sagas. Unknown keys are refused. A list of one may be written as its\n" +
		"item. Text may hold `${env.NAME}` and `${env.NAME:-default}`; `env` and `run` of a service also\n" +
		"`${calls.NAME.url}` and `${calls.NAME.addr}`. In the file of a saga `${…}` holds an expression in CEL instead.\n")
	sections := []struct {
		title string
		typ   reflect.Type
	}{
		{"atoll.yaml: the application", reflect.TypeFor[App]()},
		{"events", reflect.TypeFor[Events]()},
		{"keep of events", reflect.TypeFor[Keep]()},
		{"service.yaml: one service", reflect.TypeFor[Service]()},
		{"An entry of calls", reflect.TypeFor[Call]()},
		{"An entry of publishes", reflect.TypeFor[Publish]()},
		{"A topic of subscribes", reflect.TypeFor[Subscription]()},
		{"An entry of schedules", reflect.TypeFor[Schedule]()},
		{"limits of a service", reflect.TypeFor[Limits]()},
		{"watch of a service", reflect.TypeFor[Watch]()},
		{"gateway", reflect.TypeFor[Gateway]()},
		{"An entry of gateway.routes", reflect.TypeFor[Route]()},
		{"webhook of a route", reflect.TypeFor[Webhook]()},
		{"An entry of gateway.auth", reflect.TypeFor[Auth]()},
		{"jwt", reflect.TypeFor[JWT]()},
		{"apiKey", reflect.TypeFor[APIKey]()},
		{"cors", reflect.TypeFor[CORS]()},
		{"tls", reflect.TypeFor[TLS]()},
		{"telemetry", reflect.TypeFor[Telemetry]()},
		{"otlp of telemetry", reflect.TypeFor[OTLP]()},
		{"keep of telemetry", reflect.TypeFor[TelemetryKeep]()},
		{"metrics of telemetry", reflect.TypeFor[TelemetryMetric]()},
		{"limits of telemetry", reflect.TypeFor[TelemetryLimits]()},
		{"An entry of telemetry.forward", reflect.TypeFor[Forward]()},
		{"An entry of alerts", reflect.TypeFor[Alert]()},
		{"slo of an alert", reflect.TypeFor[SLO]()},
		{"alerting", reflect.TypeFor[Alerting]()},
		{"An entry of alerting.notify", reflect.TypeFor[Notify]()},
		{"email", reflect.TypeFor[Email]()},
		{"An entry of environments", reflect.TypeFor[Environment]()},
		{"saga_store", reflect.TypeFor[SagaStore]()},
		{"The file of a saga", reflect.TypeFor[Saga]()},
		{"An entry of a saga's start", reflect.TypeFor[SagaStart]()},
		{"An entry of a saga's steps", reflect.TypeFor[SagaStep]()},
		{"do of a step", reflect.TypeFor[SagaCall]()},
		{"async of do", reflect.TypeFor[SagaAsync]()},
		{"undo of a step", reflect.TypeFor[SagaUndo]()},
		{"child of a step", reflect.TypeFor[SagaChild]()},
		{"wait of a step", reflect.TypeFor[SagaWait]()},
		{"retry of a step", reflect.TypeFor[SagaRetry]()},
		{"each of a step", reflect.TypeFor[SagaEach]()},
	}
	for _, s := range sections {
		fmt.Fprintf(&b, "\n## %s\n\n| key | type | default | what it says |\n| --- | --- | --- | --- |\n", s.title)
		for _, f := range fieldsOf(s.typ) {
			def := "`" + f.def + "`"
			switch {
			case f.required:
				def = "required"
			case f.def == "":
				def = ""
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.key, wantedByField(f), def, strings.ReplaceAll(f.doc, "|", "\\|"))
		}
	}
	return b.String()
}

func wantedByField(f field) string {
	if len(f.enum) > 0 {
		return "`" + strings.Join(f.enum, "`, `") + "`"
	}
	if f.typ.Kind() == reflect.Slice {
		return "list of " + strings.TrimPrefix(wanted(f.typ.Elem()), "a ")
	}
	return strings.TrimPrefix(wanted(f.typ), "a ")
}
